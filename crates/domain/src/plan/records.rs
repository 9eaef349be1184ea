//! The records of a delivery, and what of it could not be read or is not in Terra's schema.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use terra::event::DataKind;
use terra::record::{Problem, Reading, Unread, read};

use super::Plan;
use crate::id::AliasKey;
use crate::order::Order;
use crate::record::{Fingerprint, Record, RecordKey};

/// Parts of one delivery that are named in the ledger; more are only counted.
const UNREAD_MAX: usize = 50;
/// Different sightings that one delivery reports.
const SIGHTINGS_MAX: usize = 200;

/// What of a delivery could not be read. The rest of it was applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadParts {
    pub count: u32,
    pub first: Vec<UnreadPart>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadPart {
    /// Place in `data`, from 0; `None` where the whole of it is meant.
    pub item: Option<u32>,
    #[serde(flatten)]
    pub part: Unread,
}

impl UnreadParts {
    fn note(&mut self, item: Option<usize>, part: Unread) {
        self.count += 1;
        if self.first.len() < UNREAD_MAX {
            self.first.push(UnreadPart { item: item.and_then(|item| u32::try_from(item).ok()), part });
        }
    }
}

/// Something in a payload that Terra's schema does not have, without its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Sighting {
    /// Terra's name of the event.
    pub kind: String,
    pub provider: Option<String>,
    /// Members joined by dots; empty for a kind of event that is new as a whole.
    pub path: String,
    /// `object`, `array`, `number`, `string`, `boolean`, or `event`.
    pub found: String,
}

impl Sighting {
    pub(super) fn of_event(kind: String, provider: Option<String>) -> Sighting {
        Sighting { kind, provider, path: String::new(), found: "event".into() }
    }
}

/// What all records of one delivery share.
pub(super) struct Source<'a> {
    pub(super) alias: AliasKey,
    pub(super) provider: Option<&'a str>,
    pub(super) kind: DataKind,
    pub(super) order: Order,
    pub(super) order_inferred: bool,
    /// The whole delivery: documents are parts of it, not copies.
    pub(super) body: &'a Bytes,
}

pub(super) fn fill(plan: &mut Plan, source: &Source<'_>, items: &[&str], lone: bool) {
    if lone {
        let part = Unread { path: "data".into(), problem: Problem::ObjectInsteadOfList };
        plan.unread.note(None, part);
    }
    for (index, item) in items.iter().enumerate() {
        let mut reading = read(source.kind, item);
        for part in std::mem::take(&mut reading.unread) {
            plan.unread.note(Some(index), part);
        }
        sight(plan, source, &mut reading);
        plan.records.push(record(source, item, reading));
    }
}

fn sight(plan: &mut Plan, source: &Source<'_>, reading: &mut Reading) {
    for strange in std::mem::take(&mut reading.strange) {
        let sighting = Sighting {
            kind: source.kind.label().into(),
            provider: source.provider.map(str::to_owned),
            path: strange.path,
            found: strange.found,
        };
        if plan.strange.len() < SIGHTINGS_MAX && !plan.strange.contains(&sighting) {
            plan.strange.push(sighting);
        }
    }
}

fn record(source: &Source<'_>, item: &str, mut reading: Reading) -> Record {
    let document = source.body.slice_ref(item.as_bytes());
    // Without Terra's key the content itself is the key: nothing is dropped, and the same bytes again are the same record.
    let natural = reading
        .key
        .take()
        .map_or_else(|| format!("sha256:{}", hex::encode(terra::signature::body_digest(&document))), |key| key.0);
    Record {
        key: RecordKey { alias: source.alias.clone(), kind: source.kind, natural },
        order: source.order,
        order_inferred: source.order_inferred,
        fingerprint: Fingerprint::new(std::mem::take(&mut reading.fingerprint)),
        document,
        reading,
    }
}
