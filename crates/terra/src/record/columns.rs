//! The typed columns of each kind: what people read of a record, beside Terra's whole object.
//!
//! One table per kind drives everything that has to agree: what is read from an item, the columns of both stores, the
//! fields of the API. A member that no column takes is not lost: it stays in the document.

use std::fmt;

use serde::Serialize;

use crate::event::DataKind;

mod activity;
mod athlete;
mod body;
mod daily;
mod health_observation;
mod hormone;
mod lab_report;
mod menstruation;
mod nutrition;
mod planned_workout;
mod sleep;

/// One column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Where it is in Terra's object: names joined by dots, `[]` for each element of a list (the last one that has a
    /// value counts).
    pub path: &'static str,
    /// A second place, where Terra has had two; the first one counts if both are there.
    also: Option<&'static str>,
    /// A name of ours, where Terra's leaf name is vague without the objects around it.
    renamed: Option<&'static str>,
    pub shape: Shape,
    /// Unit, or meaning.
    pub meaning: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    Number,
    /// A whole number; a fraction is rounded.
    Integer,
    /// At most 256 characters, without control characters.
    Text,
    Flag,
}

/// The value of a column. `Debug` shows the shape and no value.
#[derive(Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// Always finite.
    Number(f64),
    Integer(i64),
    Text(String),
    Flag(bool),
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scalar::Number(_) => "Number",
            Scalar::Integer(_) => "Integer",
            Scalar::Text(_) => "Text",
            Scalar::Flag(_) => "Flag",
        })
    }
}

impl Column {
    /// Terra's leaf name, or ours: how the API calls it.
    pub fn name(&self) -> &'static str {
        self.renamed.unwrap_or_else(|| self.path.rsplit('.').next().unwrap_or(self.path))
    }

    /// The name in lower case: how both stores call it.
    pub fn sql_name(&self) -> String {
        self.name().to_lowercase()
    }

    /// For a score of Terra's: its name in `data_enrichment`.
    pub fn score(&self) -> Option<&'static str> {
        self.path.strip_prefix("data_enrichment.")
    }

    /// Every place it may be in, the one that counts first.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.path).chain(self.also)
    }

    const fn named(self, name: &'static str) -> Column {
        Column { renamed: Some(name), ..self }
    }

    const fn or(self, path: &'static str) -> Column {
        Column { also: Some(path), ..self }
    }
}

const fn column(path: &'static str, shape: Shape, meaning: &'static str) -> Column {
    Column { path, also: None, renamed: None, shape, meaning }
}

const fn number(path: &'static str, meaning: &'static str) -> Column {
    column(path, Shape::Number, meaning)
}

const fn integer(path: &'static str, meaning: &'static str) -> Column {
    column(path, Shape::Integer, meaning)
}

const fn text(path: &'static str, meaning: &'static str) -> Column {
    column(path, Shape::Text, meaning)
}

const fn flag(path: &'static str, meaning: &'static str) -> Column {
    column(path, Shape::Flag, meaning)
}

const BPM: &str = "beats per minute";
const METERS: &str = "m";
const SECONDS: &str = "s";
const KCAL: &str = "kcal";
const PERCENT: &str = "percent";
const MS: &str = "ms";
const GRAMS: &str = "g";
const MILLIGRAMS: &str = "mg";
const COUNT: &str = "count";
const AS_NAMED: &str = "as Terra names it";
const TERRAS_SCORE: &str = "Terra's enrichment score: the non-null value of greatest order";
const PROVIDERS_SCORE: &str = "the provider's own score";
const LOCALIZATION: &str = "0 times are UTC, 1 times are local";

/// The columns of a kind, in the order in which they are read, stored and shown.
pub fn columns(kind: DataKind) -> &'static [Column] {
    match kind {
        DataKind::Activity => &activity::COLUMNS,
        DataKind::Sleep => &sleep::COLUMNS,
        DataKind::Daily => &daily::COLUMNS,
        DataKind::Body => &body::COLUMNS,
        DataKind::Nutrition => &nutrition::COLUMNS,
        DataKind::Menstruation => &menstruation::COLUMNS,
        DataKind::Athlete => &athlete::COLUMNS,
        DataKind::PlannedWorkout => &planned_workout::COLUMNS,
        DataKind::Hormone => &hormone::COLUMNS,
        DataKind::HealthObservation => &health_observation::COLUMNS,
        DataKind::LabReport => &lab_report::COLUMNS,
    }
}

/// Fills the columns of Terra's scores: `score` gives the JSON text of one by its name in `data_enrichment`.
pub fn score_values<'s>(kind: DataKind, values: &mut [Option<Scalar>], score: impl Fn(&str) -> Option<&'s str>) {
    for (column, value) in columns(kind).iter().zip(values) {
        if let Some(name) = column.score() {
            *value = score(name).and_then(|raw| super::score_value(column, raw));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_do_not_hide_what_every_record_has() {
        const OF_EVERY_RECORD: [&str; 18] = [
            "id",
            "kind",
            "key",
            "connection",
            "environment",
            "terra_user_id",
            "provider",
            "start_time",
            "end_time",
            "deleted",
            "order_inferred",
            "updated_at",
            "document",
            "natural_key",
            "record_order",
            "day",
            "enrichment",
            "fingerprint",
        ];
        for kind in DataKind::ALL {
            let mut seen: BTreeSet<String> = OF_EVERY_RECORD.iter().map(|name| (*name).to_owned()).collect();
            for column in columns(kind) {
                assert!(seen.insert(column.sql_name()), "{kind:?}: {}", column.name());
            }
        }
    }

    #[test]
    fn every_column_is_a_member_of_terras_schema() {
        for kind in DataKind::ALL {
            let schema = crate::record::schema::schema(kind);
            for column in columns(kind) {
                for path in column.paths() {
                    assert!(schema.knows(path), "{kind:?}: {path}");
                }
            }
        }
    }

    #[test]
    fn values_do_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Some(Scalar::Number(61.5))), "Some(Number)");
    }
}
