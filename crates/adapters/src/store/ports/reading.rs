//! What the API shows, and what is counted on the way.

use async_trait::async_trait;
use domain::id::{ConnectionId, Environment, RecordId, UserId};
use domain::plan::Sighting;
use domain::record::Scores;
use jiff::Timestamp;
use jiff::civil::Date;
use terra::event::DataKind;

use crate::payloads::Sealed;
use crate::store::{
    AuthEventFilter, AuthEventView, ConnectionFilter, ConnectionView, DeliveryFilter, DeliveryView, DriftFilter,
    DriftView, Listing, Page, RecordView, Reprojection, Span, Stats, StoreError, StoredDocument, UsageFilter,
    UsageTotals, UsageView,
};

/// Where a connection id leads.
#[derive(Debug, Clone)]
pub enum Found {
    Here(Box<ConnectionView>),
    /// It became part of an older one.
    Moved {
        to: ConnectionId,
    },
    Unknown,
}

/// Deliveries that had something Terra's schema does not have, counted since the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftCount {
    pub environment: Environment,
    pub sighting: Sighting,
    pub seen: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

#[async_trait]
pub trait Reading: Send + Sync {
    async fn connections(&self, filter: &ConnectionFilter, page: &Page) -> Result<Listing<ConnectionView>, StoreError>;
    async fn connection(&self, id: ConnectionId) -> Result<Found, StoreError>;
    /// Records of a kind: per connection and key the greatest order, tombstones left out, newest start first.
    async fn records(
        &self,
        user: &UserId,
        kind: DataKind,
        span: Span,
        page: &Page,
    ) -> Result<Listing<RecordView>, StoreError>;
    async fn record(&self, id: RecordId) -> Result<Option<RecordView>, StoreError>;
    /// Terra's object as last sent, and the scores as merged, which belong into it.
    async fn record_document(&self, id: RecordId) -> Result<Option<(Sealed, Scores)>, StoreError>;
    /// Documents of a kind in the order of their ids, at most `limit` after `after`.
    async fn documents(
        &self,
        kind: DataKind,
        after: Option<RecordId>,
        limit: u32,
    ) -> Result<Vec<StoredDocument>, StoreError>;
    /// Refills columns; answers how many rows were still those that were read.
    async fn reproject(&self, kind: DataKind, rows: &[Reprojection]) -> Result<u64, StoreError>;
    /// Adds to the counts of what payloads held that Terra's schema does not have.
    async fn count_drift(&self, counts: &[DriftCount]) -> Result<(), StoreError>;
    /// Newest first sighting first, at most 1,000.
    async fn drift(&self, filter: &DriftFilter) -> Result<Vec<DriftView>, StoreError>;
    async fn auth_events(&self, filter: &AuthEventFilter, page: &Page) -> Result<Listing<AuthEventView>, StoreError>;
    async fn deliveries(&self, filter: &DeliveryFilter, page: &Page) -> Result<Listing<DeliveryView>, StoreError>;
    async fn delivery(&self, id: domain::id::DeliveryId) -> Result<Option<DeliveryView>, StoreError>;
    async fn delivery_body(&self, id: domain::id::DeliveryId) -> Result<Option<Sealed>, StoreError>;
    /// What Terra delivered in a month, summed.
    async fn usage(&self, filter: &UsageFilter, page: &Page) -> Result<Listing<UsageView>, StoreError>;
    /// What Terra delivered in the month that begins on `month`; `free` is the number of events a connection has free.
    async fn usage_totals(&self, month: Date, free: u64) -> Result<UsageTotals, StoreError>;
    /// Numbers for gauges.
    async fn stats(&self, now: Timestamp) -> Result<Stats, StoreError>;
}
