//! Leases of what one process at a time does.

use async_trait::async_trait;
use jiff::Timestamp;

use super::super::{PostgresStore, events};
use crate::store::{Holder, Leases, StoreError};

#[async_trait]
impl Leases for PostgresStore {
    async fn hold(&self, lease: Holder<'_>, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        single!(self, |db| events::hold(db, Holder { name: &name, holder }, now, until))
    }

    async fn let_go(&self, lease: Holder<'_>) -> Result<(), StoreError> {
        let (name, holder) = (lease.name.to_owned(), lease.holder);
        single!(self, |db| events::let_go(db, Holder { name: &name, holder }))
    }
}
