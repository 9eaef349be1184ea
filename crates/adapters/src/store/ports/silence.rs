//! Who has fallen silent.

use async_trait::async_trait;
use domain::silence::{Judgement, Seen};
use jiff::Timestamp;

use crate::store::{Holder, Listing, Page, Silences, StaleView, StoreError};

#[async_trait]
pub trait Silence: Send + Sync {
    /// Everything one look at who is silent needs.
    async fn silence_seen(&self, now: Timestamp) -> Result<Seen, StoreError>;
    /// Keeps verdicts and sends their events, if the lease is still held; false where it is not.
    async fn keep_silence(&self, lease: Holder<'_>, judgement: &Judgement, now: Timestamp) -> Result<bool, StoreError>;
    /// Who is silent, as last judged.
    async fn silences(&self) -> Result<Silences, StoreError>;
    async fn stale_connections(&self, page: &Page) -> Result<Listing<StaleView>, StoreError>;
}
