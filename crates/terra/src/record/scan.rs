//! One pass over the text of an item: its values, its scores, a fingerprint of each member, and what is strange.
//!
//! The text is known to be JSON (`RawValue` has checked it), so this reads on without looking back and builds no tree:
//! a night with a heart rate per second costs its bytes, not a node per sample. Numbers are never parsed here, so that
//! none is too large; of equal keys the last counts, as everywhere.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::schema::{NodeId, Schema, Shapes};
use crate::json::after_string;
use crate::text;

mod digest;

use digest::Digest;

/// Names of one object that are compared to find one that comes twice; there is a column for none of the others.
const UNKNOWN_NAMES_MAX: usize = 32;
/// Different things that are noted of one item.
const NOTES_MAX: usize = 64;
/// Characters of a name that we repeat.
const NAME_CHARS_MAX: usize = 64;

/// What one pass finds.
#[derive(Debug, Default)]
pub(super) struct Scanned<'a> {
    /// The text of each slot's value; of several in a list the last.
    pub(super) slots: Vec<Option<&'a str>>,
    /// Members of `data_enrichment` that are not null.
    pub(super) scores: BTreeMap<Cow<'a, str>, &'a str>,
    /// Per top-level member, scores left out; null and absent are the same.
    pub(super) fingerprint: BTreeMap<String, u64>,
    /// Paths whose name comes twice in one object.
    pub(super) twice: Vec<String>,
    /// Paths where a column looks for a word and an object or a list stands.
    pub(super) misshapen: Vec<String>,
    /// Paths that the schema does not have, or not in this shape.
    pub(super) strange: Vec<(String, &'static str)>,
}

pub(super) fn scan<'a>(schema: &Schema, text: &'a str) -> Scanned<'a> {
    let slots = vec![None; usize::from(schema.slots)];
    let mut scan = Scan { schema, text, bytes: text.as_bytes(), at: 0, found: Scanned { slots, ..Scanned::default() } };
    scan.item();
    scan.found
}

struct Scan<'s, 'a> {
    schema: &'s Schema,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    found: Scanned<'a>,
}

impl<'a> Scan<'_, 'a> {
    /// The item itself: an object, whose members are digested one by one.
    fn item(&mut self) {
        if self.next() != b'{' {
            return;
        }
        self.at += 1;
        let mut names = Names::default();
        while let Some(name) = self.name() {
            let child = self.child(0, &name, &mut names);
            let digest = self.value(child);
            let member = if name.contains('\0') { name.replace('\0', "\u{fffd}") } else { name.into_owned() };
            if child.is_some() && child == self.schema.enrichment {
                continue;
            }
            if digest == Digest::NULL {
                self.found.fingerprint.remove(&member);
            } else {
                self.found.fingerprint.insert(member, digest);
            }
        }
    }

    /// Reads one value; `node` is its place in the schema, `None` below what the schema does not know.
    fn value(&mut self, node: Option<NodeId>) -> u64 {
        match self.next() {
            b'{' => {
                self.expect(node, Shapes::OBJECT);
                self.object(node)
            }
            b'[' => {
                self.expect(node, Shapes::ARRAY);
                self.list(node)
            }
            b'"' => {
                self.expect(node, Shapes::STRING);
                let text = self.string();
                self.take(node, text);
                Digest::text(text.as_bytes())
            }
            first => {
                let text = self.word();
                match first {
                    b'n' => return Digest::NULL,
                    b't' | b'f' => self.expect(node, Shapes::BOOLEAN),
                    _ => self.expect(node, Shapes::NUMBER),
                }
                self.take(node, text);
                Digest::number(text)
            }
        }
    }

    fn object(&mut self, node: Option<NodeId>) -> u64 {
        self.at += 1;
        let mut digest = Digest::object();
        let mut names = Names::default();
        let is_enrichment = node.is_some() && node == self.schema.enrichment;
        while let Some(name) = self.name() {
            let child = node.and_then(|node| self.child(node, &name, &mut names));
            let start = self.at;
            let value = self.value(child);
            digest.member(name.as_bytes(), value);
            if is_enrichment {
                self.score(name, start, value);
            }
        }
        digest.finish()
    }

    fn list(&mut self, node: Option<NodeId>) -> u64 {
        self.at += 1;
        let each = node.and_then(|node| self.schema.nodes[usize::from(node)].each);
        let mut digest = Digest::list();
        loop {
            match self.next() {
                b']' | 0 => break,
                b',' => self.at += 1,
                _ => {
                    let value = self.value(each);
                    digest.element(value);
                }
            }
        }
        self.at += 1;
        digest.finish()
    }

    /// The next name of an object, its colon passed; `None` at the object's end, which is passed too.
    fn name(&mut self) -> Option<Cow<'a, str>> {
        if self.next() == b',' {
            self.at += 1;
        }
        if self.next() != b'"' {
            self.at += 1;
            return None;
        }
        let quoted = self.string();
        self.next();
        self.at += 1; // the colon
        self.next();
        Some(unescaped(quoted))
    }

    /// The node of a member; notes names that come twice, and those the schema does not have.
    fn child(&mut self, node: NodeId, name: &str, names: &mut Names) -> Option<NodeId> {
        let parent = &self.schema.nodes[usize::from(node)];
        if let Some((place, child)) = parent.child(name) {
            if names.again(place) {
                self.twice(node, name);
                self.forget(child);
            }
            return Some(child);
        }
        if names.unknown_again(name) {
            self.twice(node, name);
        }
        if parent.is_map {
            return parent.each;
        }
        if parent.shapes.allows(Shapes::OBJECT) {
            let found = shape_at(self.bytes, self.at);
            if let Some(found) = found {
                self.strange(path_of(&parent.path, name), found);
            }
        }
        None
    }

    /// An earlier value of the same name does not count any more, nor does anything in it.
    fn forget(&mut self, node: NodeId) {
        let node = &self.schema.nodes[usize::from(node)];
        for slot in &node.slots {
            self.found.slots[usize::from(*slot)] = None;
        }
        let prefix = &node.path;
        for below in
            self.schema.nodes.iter().filter(|below| {
                below.path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with(['.', '[']))
            })
        {
            for slot in &below.slots {
                self.found.slots[usize::from(*slot)] = None;
            }
        }
        if self.schema.enrichment.is_some_and(|enrichment| self.schema.nodes[usize::from(enrichment)].path == *prefix) {
            self.found.scores.clear();
        }
    }

    fn take(&mut self, node: Option<NodeId>, text: &'a str) {
        let Some(node) = node else { return };
        for slot in &self.schema.nodes[usize::from(node)].slots {
            self.found.slots[usize::from(*slot)] = Some(text);
        }
    }

    fn score(&mut self, name: Cow<'a, str>, start: usize, digest: u64) {
        if digest == Digest::NULL {
            self.found.scores.remove(&name);
        } else {
            self.found.scores.insert(name, self.since(start).trim());
        }
    }

    fn expect(&mut self, node: Option<NodeId>, found: Shapes) {
        let Some(node) = node else { return };
        let node = &self.schema.nodes[usize::from(node)];
        if !node.shapes.allows(found) {
            if !node.slots.is_empty() && found.is_nested() && self.found.misshapen.len() < NOTES_MAX {
                self.found.misshapen.push(node.path.clone());
            }
            self.strange(node.path.clone(), found.label());
        }
    }

    fn strange(&mut self, path: String, found: &'static str) {
        let strange = &mut self.found.strange;
        if strange.len() < NOTES_MAX && !strange.iter().any(|(known, shape)| *known == path && *shape == found) {
            strange.push((path, found));
        }
    }

    fn twice(&mut self, node: NodeId, name: &str) {
        let path = path_of(&self.schema.nodes[usize::from(node)].path, name);
        if self.found.twice.len() < NOTES_MAX && !self.found.twice.contains(&path) {
            self.found.twice.push(path);
        }
    }

    /// Passes blanks; the byte that comes next, 0 at the end.
    fn next(&mut self) -> u8 {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return *byte;
            }
            self.at += 1;
        }
        0
    }

    /// A string with its quotes.
    fn string(&mut self) -> &'a str {
        let start = self.at;
        self.at = after_string(self.bytes, start);
        self.since(start)
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> &'a str {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            if matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') {
                break;
            }
            self.at += 1;
        }
        // Not JSON: passed, or this would never end.
        if self.at == start {
            self.at += 1;
        }
        self.since(start)
    }

    /// The text from `start` to here; of JSON both are at the border of a token.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at.min(self.text.len())).unwrap_or_default()
    }
}

/// Which names an object has had.
#[derive(Default)]
struct Names {
    known: u128,
    unknown: Vec<String>,
}

impl Names {
    fn again(&mut self, place: usize) -> bool {
        let bit = 1_u128 << (place % 128);
        let again = self.known & bit != 0;
        self.known |= bit;
        again
    }

    fn unknown_again(&mut self, name: &str) -> bool {
        if self.unknown.iter().any(|known| known == name) {
            return true;
        }
        if self.unknown.len() < UNKNOWN_NAMES_MAX {
            self.unknown.push(name.to_owned());
        }
        false
    }
}

fn shape_at(bytes: &[u8], at: usize) -> Option<&'static str> {
    Some(match bytes.get(at)? {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "boolean",
        b'n' => return None,
        _ => "number",
    })
}

/// A name that is not in the schema, fit for a page.
fn path_of(parent: &str, name: &str) -> String {
    let name = text::displayable(name, NAME_CHARS_MAX).unwrap_or_else(|| "?".to_owned());
    if parent.is_empty() { name } else { format!("{parent}.{name}") }
}

/// A string without its quotes. One that spells half a surrogate pair keeps its escapes.
pub(super) fn unescaped(quoted: &str) -> Cow<'_, str> {
    let inside = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    serde_json::from_str(quoted).map_or(Cow::Borrowed(inside), Cow::Owned)
}

#[cfg(test)]
mod tests;
