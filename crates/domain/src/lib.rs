//! Landfall's decisions as pure functions: data in, data out.
//!
//! Nothing here reads a clock, draws a random number, opens a socket or logs. The shell (`crates/landfall`) gathers
//! what a decision needs, calls a function of this crate, and carries out the data it gets back.

pub mod backfill;
pub mod delivery;
pub mod doctor;
pub mod erasure;
pub mod fetch;
pub mod id;
pub mod identity;
pub mod order;
pub mod outgoing;
pub mod plan;
pub mod quarantine;
pub mod reconcile;
pub mod record;
pub mod recover;
pub mod replay;
pub mod session;
pub mod settle;
pub mod silence;
pub mod usage;
pub mod why;
