//! Whole-program and contract tests. The program is driven through its public face only: commands, HTTP, queues.
//!
//! Tests on RabbitMQ and PostgreSQL are compiled with the feature `services` alone; `cargo xtask test` starts private
//! instances of both and turns it on.

#![cfg_attr(
    not(feature = "services"),
    expect(dead_code, unused_imports, reason = "parts serve the tests on real engines alone")
)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![expect(unreachable_pub, reason = "what the harness offers is public to the modules beside it")]

mod harness;

mod alerts;
mod backfill;
mod bad_requests;
mod bounds;
#[cfg(feature = "services")]
mod broker_faults;
mod clocks;
#[cfg(feature = "services")]
mod cluster;
mod command_line;
mod connect;
mod contract;
mod crash;
mod crash_points;
#[cfg(feature = "services")]
mod database_faults;
mod dead_letters;
mod dev;
mod doctor;
mod drift;
mod embedded_faults;
mod erase;
mod erase_waiting;
mod export;
mod faults;
mod fetch;
mod golden;
mod memory;
mod people;
mod poison;
mod privacy;
mod quarantine;
mod receive;
mod reconcile;
mod recover;
mod replays;
mod reproject;
#[cfg(feature = "services")]
mod restart;
mod scenarios;
mod services;
mod silence;
mod smuggling;
mod stored_payloads;
mod tidy;
mod torture;
mod usage;
mod why;
