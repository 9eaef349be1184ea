//! What `landfall why` goes by.

use async_trait::async_trait;
use domain::id::{ConnectionId, Environment, EventId, RecordId};
use jiff::civil::Date;
use terra::event::DataKind;

use crate::store::{AboutRecord, DayRecord, StoreError};

#[async_trait]
pub trait Evidence: Send + Sync {
    /// Connections of an internal user, with a reference, or with a Terra user of this name, at most `limit`.
    async fn named(
        &self,
        name: &str,
        environments: &[Environment],
        limit: u32,
    ) -> Result<Vec<ConnectionId>, StoreError>;
    /// Records of a connection on a day of the person's calendar, at most 100: per key the greatest order, tombstones
    /// included. Kinds kept by day by their key, others where they begin or end on it; a profile is of any day.
    async fn records_of_day(
        &self,
        connection: ConnectionId,
        kind: DataKind,
        day: Date,
    ) -> Result<Vec<DayRecord>, StoreError>;
    /// Events about records: those with these ids, and those held about these records, in the order of their times.
    async fn events_about(&self, events: &[EventId], records: &[RecordId]) -> Result<Vec<AboutRecord>, StoreError>;
}
