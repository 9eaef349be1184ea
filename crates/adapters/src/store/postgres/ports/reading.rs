//! What the API shows, and what is counted on the way.

use async_trait::async_trait;
use domain::id::{ConnectionId, DeliveryId, RecordId, UserId};
use domain::record::Scores;
use jiff::Timestamp;
use jiff::civil::Date;
use terra::event::DataKind;

use super::super::{PostgresStore, drift, history, read, read_records, records, usage};
use crate::payloads::Sealed;
use crate::store::{
    AuthEventFilter, AuthEventView, ConnectionFilter, ConnectionView, DeliveryFilter, DeliveryView, DriftCount,
    DriftFilter, DriftView, Found, Listing, Page, Reading, RecordView, Reprojection, Span, Stats, StoreError,
    StoredDocument, UsageFilter, UsageTotals, UsageView,
};

#[async_trait]
impl Reading for PostgresStore {
    async fn connections(&self, filter: &ConnectionFilter, page: &Page) -> Result<Listing<ConnectionView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| read::connections(db, &filter, &page))
    }

    async fn connection(&self, id: ConnectionId) -> Result<Found, StoreError> {
        single!(self, |db| read::connection(db, id))
    }

    async fn records(
        &self,
        user: &UserId,
        kind: DataKind,
        span: Span,
        page: &Page,
    ) -> Result<Listing<RecordView>, StoreError> {
        let (user, page) = (user.clone(), page.clone());
        single!(self, |db| read_records::of_user(db, &user, kind, span, &page))
    }

    async fn record(&self, id: RecordId) -> Result<Option<RecordView>, StoreError> {
        single!(self, |db| read_records::one(db, id))
    }

    async fn record_document(&self, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError> {
        single!(self, |db| read_records::document(db, id))
    }

    async fn documents(
        &self,
        kind: DataKind,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<StoredDocument>, StoreError> {
        single!(self, |db| read_records::documents(db, kind, after, limit))
    }

    async fn reproject(&self, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError> {
        let rows = rows.to_vec();
        single!(self, |db| records::reproject(db, kind, &rows))
    }

    async fn count_drift(&self, counts: &[DriftCount]) -> Result<(), StoreError> {
        let counts = counts.to_vec();
        single!(self, |db| drift::count(db, &counts))
    }

    async fn drift(&self, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError> {
        let filter = filter.clone();
        single!(self, |db| drift::list(db, &filter))
    }

    async fn auth_events(&self, filter: &AuthEventFilter, page: &Page) -> Result<Listing<AuthEventView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| history::list(db, &filter, &page))
    }

    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listing<DeliveryView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| read::deliveries(db, &filter, &page))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        single!(self, |db| read::delivery(db, id))
    }

    async fn delivery_body(&self, id: DeliveryId) -> Result<Option<Sealed>, StoreError> {
        single!(self, |db| read::delivery_body(db, id))
    }

    async fn usage(&self, filter: &UsageFilter, page: &Page) -> Result<Listing<UsageView>, StoreError> {
        let (filter, page) = (filter.clone(), page.clone());
        single!(self, |db| usage::list(db, &filter, &page))
    }

    async fn usage_totals(&self, month: Date, free: u64) -> Result<UsageTotals, StoreError> {
        single!(self, |db| usage::totals(db, month, free))
    }

    async fn stats(&self, _now: Timestamp) -> Result<Stats, StoreError> {
        single!(self, |db| read::stats(db))
    }
}
