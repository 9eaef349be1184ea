//! An item of a data event, read: its typed columns, its key, its scores, and what could not be read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::columns::{Column, Scalar, Shape};
use super::key::{NaturalKey, natural_key};
use super::scan::{Scanned, scan, unescaped};
use super::schema::schema;
use super::{UPLOAD_TYPE_DELETED, lenient};
use crate::event::DataKind;

/// Bytes of one score that are kept; the largest are maps of contributors.
const SCORE_BYTES_MAX: usize = 16_384;

/// What one item says. `Debug` shows no value.
#[derive(Clone)]
pub struct Reading {
    pub kind: DataKind,
    /// One per column of the kind, in their order.
    pub values: Vec<Option<Scalar>>,
    /// As delivered, with the offset of the place.
    pub start_time: Option<String>,
    pub end_time: Option<String>,
    /// `None` where the item has no usable key: it is still kept.
    pub key: Option<NaturalKey>,
    /// Terra marks it as deleted.
    pub deleted: bool,
    /// Members of `data_enrichment` that are not null, as JSON text.
    pub scores: BTreeMap<String, String>,
    /// A digest per top-level member, scores left out.
    pub fingerprint: BTreeMap<String, u64>,
    pub unread: Vec<Unread>,
    pub strange: Vec<Strange>,
}

/// A part of an item that could not be read as what it should be. The document has it as delivered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unread {
    /// Members joined by dots.
    pub path: String,
    pub problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    NotAnObject,
    NoNaturalKey,
    ImpossibleDate,
    /// No number of ours can hold it.
    NumberOutOfRange,
    /// Another shape than its column has.
    WrongShape,
    /// A NUL, another control character, or half a surrogate pair; a column has it without them.
    UnprintableText,
    /// The name comes twice in one object; the last one counts.
    DuplicateName,
    /// A list was expected; the object was taken as its only element.
    ObjectInsteadOfList,
}

/// Something that Terra's schema does not have: a new member, or a known one in another shape.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Strange {
    pub path: String,
    /// `object`, `array`, `number`, `string`, `boolean`.
    pub found: String,
}

/// Reads one item. Never fails: what cannot be read is named in `unread`, and takes nothing else down with it.
///
/// - Shapes: `text` is valid JSON, nested at most [`crate::event::DEPTH_MAX`] levels.
pub fn read(kind: DataKind, text: &str) -> Reading {
    let schema = schema(kind);
    let scanned = scan(schema, text);
    let mut unread: Vec<Unread> =
        scanned.twice.iter().map(|path| Unread { path: path.clone(), problem: Problem::DuplicateName }).collect();
    let misshapen = scanned.misshapen.iter().map(|path| Unread { path: path.clone(), problem: Problem::WrongShape });
    unread.extend(misshapen);
    if !text.starts_with('{') {
        unread.push(Unread { path: String::new(), problem: Problem::NotAnObject });
    }
    let columns = schema.columns.iter().zip(&schema.column_slots);
    let values: Vec<Option<Scalar>> =
        columns.map(|(column, slots)| first(&scanned, slots).and_then(|raw| value(column, raw, &mut unread))).collect();
    let (start, end) = (first(&scanned, &schema.start_slots), first(&scanned, &schema.end_slots));
    let (start_time, end_time) = (start.and_then(lenient::short_text), end.and_then(lenient::short_text));
    for (time, path) in [(&start_time, "start_time"), (&end_time, "end_time")] {
        if time.as_deref().is_some_and(|time| !super::times::is_possible(time)) {
            unread.push(Unread { path: path.to_owned(), problem: Problem::ImpossibleDate });
        }
    }
    let ids = schema.key_slots.iter().filter_map(|slot| scanned.slots[usize::from(*slot)]);
    let key = natural_key(kind, text, ids, start_time.as_deref(), end_time.as_deref());
    if key.is_none() {
        unread.push(Unread { path: String::new(), problem: Problem::NoNaturalKey });
    }
    Reading {
        kind,
        deleted: is_deleted(kind, schema.columns, &values),
        values,
        start_time,
        end_time,
        key,
        scores: scores(&scanned),
        fingerprint: scanned.fingerprint,
        unread,
        strange: scanned.strange.into_iter().map(|(path, found)| Strange { path, found: found.to_owned() }).collect(),
    }
}

fn first<'a>(scanned: &Scanned<'a>, slots: &[u16]) -> Option<&'a str> {
    slots.iter().find_map(|slot| scanned.slots[usize::from(*slot)])
}

/// The value of a score's column, from the JSON text of the score.
pub fn score_value(column: &Column, raw: &str) -> Option<Scalar> {
    value(column, raw, &mut Vec::new())
}

/// The value of a column; what is there and cannot be one is noted.
fn value(column: &Column, raw: &str, unread: &mut Vec<Unread>) -> Option<Scalar> {
    let value = match column.shape {
        Shape::Number => lenient::number(raw).map(Scalar::Number),
        Shape::Integer => lenient::integer(raw).map(Scalar::Integer),
        Shape::Flag => lenient::boolean(raw).map(Scalar::Flag),
        Shape::Text => lenient::word(raw).map(Scalar::Text),
    };
    let mut note = |problem| unread.push(Unread { path: column.path.to_owned(), problem });
    if value.is_none() && raw != "\"\"" {
        note(match column.shape {
            Shape::Number | Shape::Integer if lenient::is_number(raw) => Problem::NumberOutOfRange,
            Shape::Text if raw.starts_with('"') => Problem::UnprintableText,
            Shape::Number | Shape::Integer | Shape::Flag | Shape::Text => Problem::WrongShape,
        });
    } else if column.shape == Shape::Text && raw.contains('\\') && unescaped(raw).chars().any(char::is_control) {
        note(Problem::UnprintableText);
    }
    value
}

/// Only activities and days are ever marked: in `sleep` the same number means something else.
fn is_deleted(kind: DataKind, columns: &[Column], values: &[Option<Scalar>]) -> bool {
    matches!(kind, DataKind::Activity | DataKind::Daily)
        && columns.iter().zip(values).any(|(column, value)| {
            column.name() == "upload_type" && *value == Some(Scalar::Integer(UPLOAD_TYPE_DELETED))
        })
}

fn scores(scanned: &Scanned<'_>) -> BTreeMap<String, String> {
    let kept = scanned.scores.iter().filter(|(name, raw)| name.len() + raw.len() <= SCORE_BYTES_MAX);
    kept.map(|(name, raw)| (name.replace('\0', "\u{fffd}"), (*raw).to_owned())).collect()
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.values.iter().flatten().count();
        write!(f, "Reading({}, {known} values, {} unread)", self.kind.label(), self.unread.len())
    }
}

#[cfg(test)]
mod tests;
