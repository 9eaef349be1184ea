//! `landfall migrate`: the database schema.

use std::path::PathBuf;

use adapters::store::{SCHEMA_OLDEST, SCHEMA_VERSION, Schema, StoreError};

use crate::config::{self, Config};
use crate::exit::{DoesNotFit, Unreachable};
use crate::wiring;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Settings file [default: ./landfall.toml if it is there]
    #[arg(short, long, global = true)]
    config: Option<PathBuf>,
}

#[derive(clap::Subcommand, Clone, Copy)]
enum What {
    /// Which schema is there, and which this binary works with (exit 6 if it does not fit)
    Status,
    /// Apply what is missing; safe to run from many places at once
    Up,
    /// Say what `up` would apply, and change nothing
    Plan,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::check(config::gather(args.config)?)?;
    let store = wiring::open_store(&config)?;
    match args.what.unwrap_or(What::Status) {
        What::Up => {
            let applied = store.migrate().await.map_err(reachable)?;
            match applied.as_slice() {
                [] => println!("the schema is up to date (level {SCHEMA_VERSION})"),
                versions => println!(
                    "applied {}",
                    versions.iter().map(|version| format!("V{version:04}")).collect::<Vec<_>>().join(", ")
                ),
            }
        }
        What::Status => {
            let schema = store.schema().await.map_err(reachable)?;
            println!(
                "this binary works with schema levels {SCHEMA_OLDEST} to {SCHEMA_VERSION}, and with later ones that say they suit it"
            );
            match schema {
                Schema::Fits { version } => println!("the schema is at level {version}: fits"),
                Schema::Behind { version, .. } => {
                    return Err(
                        DoesNotFit(format!("the schema is at level {version}: run `landfall migrate up`")).into()
                    );
                }
                Schema::Ahead { version, readable_from } => {
                    return Err(DoesNotFit(format!("the schema is at level {version}, for binaries of level {readable_from} or later: run a newer landfall")).into());
                }
            }
        }
        What::Plan => match store.schema().await.map_err(reachable)? {
            Schema::Fits { version } | Schema::Behind { version, .. } if version < SCHEMA_VERSION => {
                println!(
                    "would apply {}",
                    (version + 1..=SCHEMA_VERSION)
                        .map(|version| format!("V{version:04}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                );
            }
            Schema::Fits { .. } | Schema::Behind { .. } | Schema::Ahead { .. } => println!("nothing to apply"),
        },
    }
    store.close().await;
    Ok(())
}

fn reachable(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Unavailable(ref what) => {
            Unreachable(format!("the database is not reachable ({what}); check LANDFALL_STORE_URL")).into()
        }
        StoreError::Contention
        | StoreError::TooSlow
        | StoreError::Rejected { .. }
        | StoreError::Incompatible(_)
        | StoreError::Damaged(_)
        | StoreError::BadCursor => error.into(),
    }
}
