//! Leases of what one process at a time does.

use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{EmbeddedStore, leases};
use crate::store::{Holder, Leases, StoreError};

#[async_trait]
impl Leases for EmbeddedStore {
    async fn hold(&self, lease: Holder<'_>, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| leases::hold(connection, Holder { name: &name, holder }, now, until)).await
    }

    async fn let_go(&self, lease: Holder<'_>) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        self.write(move |connection| leases::let_go(connection, Holder { name: &name, holder })).await
    }
}
