//! `landfall`: the receiving end of Terra. Parses the command line, runs it, turns an error into an exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod backfills;
mod bench;
mod clocks;
mod command;
mod config;
mod connect;
mod demo;
mod doctor;
mod downloads;
mod drift;
mod erase;
mod exit;
mod fetcher;
mod http;
mod lifecycle;
mod quarantine;
mod reconcile;
mod recover;
mod relay;
mod replay;
mod resolving;
mod retrying;
mod roles;
mod running;
mod set_aside;
mod silence;
mod telemetry;
mod upkeep;
mod why;
mod wiring;
mod worker;

/// Receive, keep and hand on what Terra sends: webhooks in, clean events out.
#[derive(Parser)]
#[command(
    name = "landfall",
    version,
    after_help = "Begin with `landfall dev`: everything in one process, no setting, no server, no account."
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything in one process, with a simulator of Terra and a demo app. Not for production
    Dev(command::dev::Args),
    /// The product: receive, work, api, or some of them
    Serve(command::serve::Args),
    /// The database schema
    Migrate(command::migrate::Args),
    /// The broker's exchanges and queues
    Topology(command::topology::Args),
    /// Check settings, services and host: what is wrong, and its fix
    Doctor(command::doctor::Args),
    /// People's connections: list, show, decide
    Connections(command::connections::Args),
    /// Ask Terra for a person's data and see it arrive
    Backfill(command::backfill::Args),
    /// The ledger of deliveries
    Deliveries(command::deliveries::Args),
    /// Deliveries that failed for good: by cause, replay, discard
    Dead(command::dead::Args),
    /// Work deliveries again from their stored bytes
    Replay(command::replay::Args),
    /// Requests whose signature failed: why, and letting in those that pass now
    Quarantine(command::quarantine::Args),
    /// Compare with Terra's own list of users now
    Reconcile(command::reconcile::Args),
    /// Get back what was lost while Landfall could not be reached
    Recover(command::recover::Args),
    /// The numbers to look at first, and what Terra will bill
    Stats(command::stats::Args),
    /// Forget a person, here and at Terra
    Erase(command::erase::Args),
    /// Write everything that is known of a person into a file
    Export(command::export::Args),
    /// Why somebody's data of a day is there, or is not: layer by layer
    Why(command::why::Args),
    /// What payloads held and Terra's schema does not have
    Drift(command::drift::Args),
    /// Fill the columns of records anew from their documents, after an upgrade that adds some
    Reproject(command::reproject::Args),
    /// A stand-in for Terra, or one signed event
    Simulate(command::simulate::Args),
    /// Check a signature offline and say which part is wrong
    Verify(command::verify::Args),
    /// Every event of Terra's and what follows from it
    Spec(command::spec::Args),
    /// What is set, and where
    Config(command::config::Args),
    /// Ask a running instance whether it is ready
    Healthcheck(command::healthcheck::Args),
    /// Measure this machine
    Bench(command::bench::Args),
}

fn main() -> ExitCode {
    // Before anything builds a TLS client. A second installation is no error: the first stands.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let line = CommandLine::parse();
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    match run(line.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("landfall: {error:#}");
            exit::code(&error)
        }
    }
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Dev(args) => command::dev::run(args).await,
        Command::Serve(args) => command::serve::run(args).await,
        Command::Migrate(args) => command::migrate::run(args).await,
        Command::Topology(args) => command::topology::run(args).await,
        Command::Doctor(args) => command::doctor::run(args).await,
        Command::Connections(args) => command::connections::run(args).await,
        Command::Backfill(args) => command::backfill::run(args).await,
        Command::Deliveries(args) => command::deliveries::run(args).await,
        Command::Dead(args) => command::dead::run(args).await,
        Command::Replay(args) => command::replay::run(args).await,
        Command::Quarantine(args) => command::quarantine::run(args).await,
        Command::Reconcile(args) => command::reconcile::run(args).await,
        Command::Recover(args) => command::recover::run(args).await,
        Command::Stats(args) => command::stats::run(args).await,
        Command::Erase(args) => command::erase::run(args).await,
        Command::Export(args) => command::export::run(args).await,
        Command::Why(args) => command::why::run(args).await,
        Command::Drift(args) => command::drift::run(args).await,
        Command::Reproject(args) => command::reproject::run(args).await,
        Command::Simulate(args) => command::simulate::run(args).await,
        Command::Verify(args) => command::verify::run(args).await,
        Command::Spec(args) => command::spec::run(args).await,
        Command::Config(args) => command::config::run(args).await,
        Command::Healthcheck(args) => command::healthcheck::run(args).await,
        Command::Bench(args) => command::bench::run(args).await,
    }
}
