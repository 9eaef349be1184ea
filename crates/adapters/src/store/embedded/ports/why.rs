//! What `landfall why` goes by.

use async_trait::async_trait;
use domain::id::{ConnectionId, Environment, EventId, RecordId};
use jiff::civil::Date;
use terra::event::DataKind;

use super::super::{EmbeddedStore, why};
use crate::store::{AboutRecord, DayRecord, Evidence, StoreError};

#[async_trait]
impl Evidence for EmbeddedStore {
    async fn named(
        &self,
        name: &str,
        environments: &[Environment],
        limit: u32,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let (name, environments) = (name.to_owned(), environments.to_vec());
        self.read(move |connection| why::named(connection, &name, &environments, limit)).await
    }

    async fn records_of_day(
        &self,
        connection: ConnectionId,
        kind: DataKind,
        day: Date,
    ) -> Result<Vec<DayRecord>, StoreError> {
        self.read(move |reader| why::records_of_day(reader, connection, kind, day)).await
    }

    async fn events_about(&self, events: &[EventId], records: &[RecordId]) -> Result<Vec<AboutRecord>, StoreError> {
        let (events, records) = (events.to_vec(), records.to_vec());
        self.read(move |connection| why::events_about(connection, &events, &records)).await
    }
}
