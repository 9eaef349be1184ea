//! Terra's own schema of each kind, as a tree of names: what a member may be, and which columns take it.
//!
//! The lists beside this file (`schema/<kind>.txt`) are derived from tryterra/openapi, `dist/core/v2-bundled.yaml` of
//! 2026-07: one line per member, its path and the shapes it may have. `[]` is any element of a list, `*` any name in a
//! map, `@path` the same members again. What a payload holds beyond them is drift, never an error.

use std::sync::LazyLock;

use super::columns::{Column, columns};
use crate::event::DataKind;

/// Shapes a JSON value may have, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shapes(u8);

impl Shapes {
    pub(super) const OBJECT: Shapes = Shapes(1);
    pub(super) const ARRAY: Shapes = Shapes(2);
    pub(super) const NUMBER: Shapes = Shapes(4);
    pub(super) const STRING: Shapes = Shapes(8);
    pub(super) const BOOLEAN: Shapes = Shapes(16);
    const ANY: Shapes = Shapes(31);

    pub(super) fn allows(self, other: Shapes) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_nested(self) -> bool {
        self.allows(Shapes(Shapes::OBJECT.0 | Shapes::ARRAY.0))
    }

    /// The word for one shape.
    pub(super) fn label(self) -> &'static str {
        match self {
            Shapes::OBJECT => "object",
            Shapes::ARRAY => "array",
            Shapes::NUMBER => "number",
            Shapes::STRING => "string",
            _ => "boolean",
        }
    }

    fn parse(word: &str) -> Shapes {
        match word {
            "object" => Shapes::OBJECT,
            "array" => Shapes::ARRAY,
            "number" => Shapes::NUMBER,
            "string" => Shapes::STRING,
            "boolean" => Shapes::BOOLEAN,
            _ => Shapes::ANY,
        }
    }
}

/// Place of a node in its schema. 0 is the item itself.
pub(super) type NodeId = u16;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) shapes: Shapes,
    /// Sorted by name.
    children: Vec<(Box<str>, NodeId)>,
    /// Elements of a list, or values of a map with free names.
    pub(super) each: Option<NodeId>,
    pub(super) is_map: bool,
    /// Slots that take this member's value.
    pub(super) slots: Vec<u16>,
}

impl Node {
    /// The child of that name, and its place among its siblings.
    pub(super) fn child(&self, name: &str) -> Option<(usize, NodeId)> {
        let place = self.children.binary_search_by(|(child, _)| (**child).cmp(name)).ok()?;
        Some((place, self.children[place].1))
    }
}

/// Where the parts of a record that are no columns are found.
#[derive(Debug, Clone, Copy)]
struct Parts {
    start: &'static [&'static str],
    end: &'static [&'static str],
    /// Places of the natural key, the first that has one counts.
    keys: &'static [&'static str],
}

const SPAN: Parts = Parts { start: &["metadata.start_time"], end: &["metadata.end_time"], keys: &[] };

fn parts(kind: DataKind) -> Parts {
    match kind {
        DataKind::Activity | DataKind::Sleep | DataKind::HealthObservation => {
            Parts { keys: &["metadata.summary_id"], ..SPAN }
        }
        DataKind::Daily | DataKind::Body | DataKind::Nutrition | DataKind::Menstruation => SPAN,
        DataKind::Athlete => Parts { start: &[], end: &[], keys: &[] },
        DataKind::PlannedWorkout => Parts {
            start: &["planned_date", "details.metadata.planned_date", "metadata.start_time"],
            end: &["metadata.end_time"],
            keys: &[
                "planned_workout_id",
                "metadata.id",
                "details.metadata.id",
                "provider_workout_id",
                "metadata.summary_id",
            ],
        },
        DataKind::Hormone => Parts { start: &["timestamp"], end: &[], keys: &["timestamp"] },
        DataKind::LabReport => Parts {
            start: &["data.report_date", "report_date", "occurred_at"],
            end: &[],
            keys: &["data.session_id", "session_id", "upload_id", "data.upload_id", "event_id"],
        },
    }
}

/// The schema of one kind.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(super) nodes: Vec<Node>,
    pub(super) columns: &'static [Column],
    /// For each column the slots it may be in, the one that counts first; then start, end and key.
    pub(super) column_slots: Vec<Vec<u16>>,
    pub(super) start_slots: Vec<u16>,
    pub(super) end_slots: Vec<u16>,
    pub(super) key_slots: Vec<u16>,
    pub(super) slots: u16,
    /// `data_enrichment`, whose members are merged one by one.
    pub(super) enrichment: Option<NodeId>,
}

impl Schema {
    fn new(kind: DataKind, lines: &str) -> Schema {
        let columns = columns(kind);
        let mut schema = Schema {
            nodes: vec![Node { shapes: Shapes::OBJECT, ..Node::default() }],
            columns,
            column_slots: Vec::new(),
            start_slots: Vec::new(),
            end_slots: Vec::new(),
            key_slots: Vec::new(),
            slots: 0,
            enrichment: None,
        };
        for line in lines.lines() {
            let (path, shapes) = line.split_once(' ').unwrap_or((line, ""));
            match shapes.strip_prefix('@') {
                Some(same) => schema.repeat(path, same),
                None => {
                    let node = schema.grow(path);
                    let known = shapes.split('|').fold(0, |bits, word| bits | Shapes::parse(word).0);
                    schema.nodes[usize::from(node)].shapes = Shapes(known);
                }
            }
        }
        schema.column_slots =
            columns.iter().map(|column| column.paths().map(|path| schema.slot(path)).collect()).collect();
        let Parts { start, end, keys } = parts(kind);
        schema.start_slots = start.iter().map(|path| schema.slot(path)).collect();
        schema.end_slots = end.iter().map(|path| schema.slot(path)).collect();
        schema.key_slots = keys.iter().map(|path| schema.slot(path)).collect();
        schema.enrichment = schema.nodes[0].child("data_enrichment").map(|(_, node)| node);
        schema
    }

    /// The node of a path, made where it is not there yet.
    fn grow(&mut self, path: &str) -> NodeId {
        let mut at: NodeId = 0;
        for step in steps(path) {
            at = match self.step(at, step) {
                Some(next) => next,
                None => self.add(at, step),
            };
        }
        at
    }

    fn step(&self, at: NodeId, step: &str) -> Option<NodeId> {
        let node = &self.nodes[usize::from(at)];
        if step == "[]" || step == "*" { node.each } else { node.child(step).map(|(_, next)| next) }
    }

    fn add(&mut self, at: NodeId, step: &str) -> NodeId {
        let id = NodeId::try_from(self.nodes.len()).expect("invariant: a schema has some hundred members");
        let parent = &mut self.nodes[usize::from(at)];
        let dot = if parent.path.is_empty() || step == "[]" { "" } else { "." };
        let path = format!("{}{dot}{step}", parent.path);
        if step == "[]" || step == "*" {
            parent.each = Some(id);
            parent.is_map = step == "*";
        } else {
            let place = parent.children.partition_point(|(name, _)| **name < *step);
            parent.children.insert(place, (step.into(), id));
        }
        // Until its own line says more, a node on the way to others may be anything.
        self.nodes.push(Node { path, shapes: Shapes::ANY, ..Node::default() });
        id
    }

    /// `path` has the members of `same`: a tree within itself.
    fn repeat(&mut self, path: &str, same: &str) {
        let target = self.grow(same);
        let parent = self.grow(path.strip_suffix("[]").unwrap_or(path));
        self.nodes[usize::from(parent)].each = Some(target);
    }

    fn slot(&mut self, path: &str) -> u16 {
        let node = self.grow(path);
        let slot = self.slots;
        self.slots += 1;
        self.nodes[usize::from(node)].slots.push(slot);
        slot
    }

    /// True where Terra's schema, or a place we look into, has this path.
    #[cfg(test)]
    pub(crate) fn knows(&self, path: &str) -> bool {
        steps(path).try_fold(0, |at, step| self.step(at, step)).is_some()
    }
}

/// `a.b[].c` → `a`, `b`, `[]`, `c`.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').flat_map(|part| {
        let (name, lists) = part.split_at(part.find("[]").unwrap_or(part.len()));
        std::iter::once(name).chain((0..lists.len() / 2).map(|_| "[]"))
    })
}

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let lines = |kind| match kind {
        DataKind::Activity => include_str!("schema/activity.txt"),
        DataKind::Sleep => include_str!("schema/sleep.txt"),
        DataKind::Daily => include_str!("schema/daily.txt"),
        DataKind::Body => include_str!("schema/body.txt"),
        DataKind::Nutrition => include_str!("schema/nutrition.txt"),
        DataKind::Menstruation => include_str!("schema/menstruation.txt"),
        DataKind::Athlete => include_str!("schema/athlete.txt"),
        DataKind::PlannedWorkout => include_str!("schema/planned_workout.txt"),
        DataKind::Hormone => include_str!("schema/hormone.txt"),
        DataKind::HealthObservation => include_str!("schema/health_observation.txt"),
        DataKind::LabReport => include_str!("schema/lab_report.txt"),
    };
    DataKind::ALL.into_iter().map(|kind| Schema::new(kind, lines(kind))).collect()
});

/// The schema of a kind; built once.
pub(crate) fn schema(kind: DataKind) -> &'static Schema {
    &SCHEMAS[kind as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_step_by_step() {
        assert_eq!(steps("a.b[].c").collect::<Vec<_>>(), ["a", "b", "[]", "c"]);
        assert_eq!(steps("a[][]").collect::<Vec<_>>(), ["a", "[]", "[]"]);
    }

    #[test]
    fn each_kind_has_its_own_schema() {
        for kind in DataKind::ALL {
            assert_eq!(schema(kind).columns, columns(kind), "{kind:?}");
        }
        assert!(schema(DataKind::Activity).knows("heart_rate_data.detailed.hr_samples[].bpm"));
        assert!(schema(DataKind::Daily).knows("data_enrichment.strain_contributors.*"));
        assert!(!schema(DataKind::Hormone).knows("metadata"));
    }

    #[test]
    fn a_tree_within_itself_has_no_end() {
        assert!(schema(DataKind::PlannedWorkout).knows("details.steps[].steps[].steps[].durations[].reps"));
    }

    #[test]
    fn no_more_children_than_the_scan_can_count() {
        for kind in DataKind::ALL {
            assert!(schema(kind).nodes.iter().all(|node| node.children.len() <= 128), "{kind:?}");
        }
    }
}
