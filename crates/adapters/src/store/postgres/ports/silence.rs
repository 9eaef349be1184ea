//! Who has fallen silent.

use async_trait::async_trait;
use domain::silence::{Judgement, Seen};
use jiff::Timestamp;

use super::super::{PostgresStore, silence};
use crate::store::{Holder, Listing, Page, Silence, Silences, StaleView, StoreError};

#[async_trait]
impl Silence for PostgresStore {
    async fn silence_seen(&self, now: Timestamp) -> Result<Seen, StoreError> {
        single!(self, |db| silence::seen(db, now))
    }

    async fn keep_silence(&self, lease: Holder<'_>, judgement: &Judgement, now: Timestamp) -> Result<bool, StoreError> {
        let (name, holder, judgement) = (lease.name.to_owned(), lease.holder, judgement.clone());
        keep!(self, |db| silence::keep(db, Holder { name: &name, holder }, &judgement, now))
    }

    async fn silences(&self) -> Result<Silences, StoreError> {
        single!(self, |db| silence::silences(db))
    }

    async fn stale_connections(&self, page: &Page) -> Result<Listing<StaleView>, StoreError> {
        let page = page.clone();
        single!(self, |db| silence::stale(db, &page))
    }
}
