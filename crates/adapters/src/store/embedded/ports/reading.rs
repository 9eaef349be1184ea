//! What the API shows, and what is counted on the way.

use async_trait::async_trait;
use domain::id::{ConnectionId, DeliveryId, RecordId, UserId};
use domain::record::Scores;
use jiff::Timestamp;
use jiff::civil::Date;
use terra::event::DataKind;

use super::super::{EmbeddedStore, deliveries, drift, read, read_records, records, usage};
use crate::payloads::Sealed;
use crate::store::{
    AuthEventFilter, AuthEventView, ConnectionFilter, ConnectionView, DeliveryFilter, DeliveryView, DriftCount,
    DriftFilter, DriftView, Found, Listing, Page, Reading, RecordView, Reprojection, Span, Stats, StoreError,
    StoredDocument, UsageFilter, UsageTotals, UsageView,
};

#[async_trait]
impl Reading for EmbeddedStore {
    async fn connections(&self, filter: &ConnectionFilter, page: &Page) -> Result<Listing<ConnectionView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| read::connections(connection, &filter, &page)).await
    }

    async fn connection(&self, id: ConnectionId) -> Result<Found, StoreError> {
        self.read(move |connection| read::connection(connection, id)).await
    }

    async fn records(
        &self,
        user: &UserId,
        kind: DataKind,
        span: Span,
        page: &Page,
    ) -> Result<Listing<RecordView>, StoreError> {
        let (user, page) = (user.clone(), page.clone());
        self.read(move |connection| read_records::of_user(connection, &user, kind, span, &page)).await
    }

    async fn record(&self, id: RecordId) -> Result<Option<RecordView>, StoreError> {
        self.read(move |connection| read_records::one(connection, id)).await
    }

    async fn record_document(&self, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError> {
        self.read(move |connection| read_records::document(connection, id)).await
    }

    async fn documents(
        &self,
        kind: DataKind,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        self.read(move |connection| read_records::documents(connection, kind, after, limit)).await
    }

    async fn reproject(&self, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError> {
        let rows = rows.to_vec();
        self.write(move |connection| records::reproject(connection, kind, &rows)).await
    }

    async fn count_drift(&self, counts: &[DriftCount]) -> Result<(), StoreError> {
        let counts = counts.to_vec();
        self.write(move |connection| drift::count(connection, &counts)).await
    }

    async fn drift(&self, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| drift::list(connection, &filter)).await
    }

    async fn auth_events(&self, filter: &AuthEventFilter, page: &Page) -> Result<Listing<AuthEventView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| read::auth_events(connection, &filter, &page)).await
    }

    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listing<DeliveryView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| deliveries::list(connection, &filter, &page)).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        self.read(move |connection| deliveries::one(connection, id)).await
    }

    async fn delivery_body(&self, id: DeliveryId) -> Result<Option<Sealed>, StoreError> {
        self.read(move |connection| deliveries::body(connection, id)).await
    }

    async fn usage(&self, filter: &UsageFilter, page: &Page) -> Result<Listing<UsageView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        self.read(move |connection| usage::list(connection, &filter, &page)).await
    }

    async fn usage_totals(&self, month: Date, free: u64) -> Result<UsageTotals, StoreError> {
        self.read(move |connection| usage::totals(connection, month, free)).await
    }

    async fn stats(&self, _now: Timestamp) -> Result<Stats, StoreError> {
        self.read(|connection| read::stats(connection)).await
    }
}
