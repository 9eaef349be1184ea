//! The command line: one module per command.

pub(crate) mod backfill;
pub(crate) mod bench;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod connections;
pub(crate) mod deliveries;
pub(crate) mod dev;
pub(crate) mod drift;
pub(crate) mod erase;
pub(crate) mod export;
pub(crate) mod healthcheck;
pub(crate) mod migrate;
pub(crate) mod output;
pub(crate) mod reconcile;
pub(crate) mod recover;
pub(crate) mod reproject;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod spec;
pub(crate) mod stats;
pub(crate) mod topology;
pub(crate) mod verify;
pub(crate) mod why;
