//! The simulator through its public surface: HTTP on one side, a receiver of webhooks on the other.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod budget;
mod changed;
mod connecting;
mod control;
mod data;
mod delivery;
mod disturbed;
mod event_log;
mod golden;
mod leaves;
mod model;
mod outage;
mod ping;
mod receiver;
mod scenarios;
mod stage;
mod users;
