//! Who has fallen silent.

use async_trait::async_trait;
use domain::silence::{Judgement, Seen};
use jiff::Timestamp;

use super::super::{EmbeddedStore, silence};
use crate::store::{Holder, Listing, Page, Silence, Silences, StaleView, StoreError};

#[async_trait]
impl Silence for EmbeddedStore {
    async fn silence_seen(&self, now: Timestamp) -> Result<Seen, StoreError> {
        self.read(move |connection| silence::seen(connection, now)).await
    }

    async fn keep_silence(&self, lease: Holder<'_>, judgement: &Judgement, now: Timestamp) -> Result<bool, StoreError> {
        let (name, holder, judgement) = (lease.name.to_owned(), lease.holder, judgement.clone());
        self.write(move |connection| silence::keep(connection, Holder { name: &name, holder }, &judgement, now)).await
    }

    async fn silences(&self) -> Result<Silences, StoreError> {
        self.read(|connection| silence::silences(connection)).await
    }

    async fn stale_connections(&self, page: &Page) -> Result<Listing<StaleView>, StoreError> {
        let page = page.clone();
        self.read(move |connection| silence::stale(connection, &page)).await
    }
}
