//! What `landfall why` goes by.

use async_trait::async_trait;
use domain::id::{ConnectionId, Environment, EventId, RecordId};
use jiff::civil::Date;
use terra::event::DataKind;

use super::super::{PostgresStore, why};
use crate::store::{AboutRecord, DayRecord, Evidence, StoreError};

#[async_trait]
impl Evidence for PostgresStore {
    async fn named(
        &self,
        name: &str,
        environments: &[Environment],
        limit: u32,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let (name, environments) = (name.to_owned(), environments.to_vec());
        single!(self, |db| why::named(db, &name, &environments, limit))
    }

    async fn records_of_day(
        &self,
        connection: ConnectionId,
        kind: DataKind,
        day: Date,
    ) -> Result<Vec<DayRecord>, StoreError> {
        single!(self, |db| why::records_of_day(db, connection, kind, day))
    }

    async fn events_about(&self, events: &[EventId], records: &[RecordId]) -> Result<Vec<AboutRecord>, StoreError> {
        let (events, records) = (events.to_vec(), records.to_vec());
        single!(self, |db| why::events_about(db, &events, &records))
    }
}
