//! Records: one object of Terra's `data[]`, its natural key, and whether it changes what we keep.

use bytes::Bytes;
use terra::event::DataKind;
use terra::record::Reading;

use crate::id::{AliasKey, RecordId, derived_uuid};
use crate::order::Order;

mod fingerprint;
mod merge;
mod scores;

pub use fingerprint::Fingerprint;
pub use merge::{Change, Kept, Merged, by_key, merge};
pub use scores::{Scores, overlaid};

/// What makes a record the same record: Terra's key within one alias.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    pub alias: AliasKey,
    pub kind: DataKind,
    pub natural: String,
}

impl RecordKey {
    pub fn id(&self) -> RecordId {
        RecordId(derived_uuid(&[
            b"record",
            self.alias.environment.as_str().as_bytes(),
            self.alias.terra_user_id.as_str().as_bytes(),
            self.kind.label().as_bytes(),
            self.natural.as_bytes(),
        ]))
    }
}

/// A record as one delivery has it.
#[derive(Debug, Clone)]
pub struct Record {
    pub key: RecordKey,
    pub order: Order,
    /// The order comes from the signed time alone.
    pub order_inferred: bool,
    /// Terra's object, as sent.
    pub document: Bytes,
    pub fingerprint: Fingerprint,
    pub reading: Reading,
}

impl Record {
    /// Terra marked it as deleted (`upload_type` 4).
    pub fn is_deleted(&self) -> bool {
        self.reading.deleted
    }
}
