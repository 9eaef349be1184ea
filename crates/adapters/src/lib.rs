//! What lies outside Landfall, one file each: queues, stores, large payloads, Terra's API, the clock.
//!
//! Two async ports, [`queue::Queue`] and [`store::Store`], each with two implementations that the contract suites in
//! `tests/contract` hold to the same behaviour. No adapter names another.

pub mod clock;
pub mod download;
pub mod embedded;
pub mod payloads;
pub mod queue;
pub mod resolver;
pub mod store;
pub mod terra_client;
