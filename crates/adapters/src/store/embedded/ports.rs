//! What the shell asks of a store, each part on the statements beside this folder.

mod audit;
mod backfill;
mod erasure;
mod events;
mod export;
mod fetch;
mod identity;
mod leases;
mod quarantine;
mod reading;
mod reconcile;
mod recover;
mod replay;
mod sessions;
mod silence;
mod upkeep;
mod why;
mod work;

use super::EmbeddedStore;
use crate::store::Store;

impl Store for EmbeddedStore {}
