//! Contract suites: one per port, run against every implementation of it.

mod queue;
pub(crate) mod store;
