//! `landfall topology`: exchanges and queues of the broker. They are created here and checked everywhere else, never
//! silently declared again.

use std::path::PathBuf;

use adapters::queue::QueueError;
use adapters::queue::rabbitmq::management::Management;
use adapters::queue::rabbitmq::{self, Difference, Problem, RabbitSettings};
use anyhow::Context;

use crate::config::{self, Config};
use crate::exit::{DoesNotFit, Unreachable};
use crate::wiring;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Settings file [default: ./landfall.toml if it is there]
    #[arg(short, long, global = true)]
    config: Option<PathBuf>,
}

#[derive(clap::Subcommand, Clone, Copy)]
enum What {
    /// Say what belongs there
    Show,
    /// Compare with the broker (exit 6 if it does not fit)
    Diff,
    /// Create what is missing; never changes or deletes what is there
    Apply {
        /// Say what would be created, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::check(config::gather(args.config)?)?;
    let settings = wiring::rabbit_settings(&config)?;
    match args.what {
        What::Show => {
            for object in rabbitmq::describe_topology(&settings) {
                println!("{object}");
            }
        }
        What::Diff => {
            let differences = differences(&config, &settings).await?;
            if differences.is_empty() {
                println!("the broker has all that belongs there{}", but_for_bindings(&config));
            } else {
                return Err(DoesNotFit(format!(
                    "{}\ncreate what is missing with `landfall topology apply`",
                    list(&differences)
                ))
                .into());
            }
        }
        What::Apply { dry_run: true } => {
            let differences = differences(&config, &settings).await?;
            if differences.is_empty() {
                println!("nothing to create{}", but_for_bindings(&config));
            } else {
                println!("{}", list(&differences));
            }
        }
        What::Apply { dry_run: false } => {
            rabbitmq::apply_topology(&settings).await.map_err(unreachable)?;
            println!("the broker has all that belongs there");
        }
    }
    Ok(())
}

/// Bindings included where the management API can be asked for them.
async fn differences(config: &Config, settings: &RabbitSettings) -> anyhow::Result<Vec<Difference>> {
    let mut differences = rabbitmq::topology_differences(settings).await.map_err(unreachable)?;
    // It serves as it is, and may be bounded by a policy: `landfall doctor` looks at that.
    differences.retain(|difference| !matches!(difference.problem, Problem::Bound { .. }));
    if let Some(url) = &config.queue_management_url {
        let unbound = async { Management::new(url)?.unbound(settings).await };
        let unbound = unbound.await.context("ask RabbitMQ's management API for bindings")?;
        differences.extend(unbound.into_iter().map(|object| Difference { object, problem: Problem::Missing }));
    }
    Ok(differences)
}

fn but_for_bindings(config: &Config) -> &'static str {
    match config.queue_management_url {
        Some(_) => "",
        None => {
            "; bindings were not checked: LANDFALL_QUEUE_MANAGEMENT_URL is not set, and `landfall topology apply` makes them anyway"
        }
    }
}

fn list(differences: &[Difference]) -> String {
    let line = |difference: &Difference| match &difference.problem {
        Problem::Missing => format!("  - {} is missing", difference.object),
        Problem::Bound { .. } => format!("  - {} is there with another bound", difference.object),
        Problem::Differs(how) => {
            format!("  - {} is there with other arguments ({how}); delete it once it is empty", difference.object)
        }
    };
    differences.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn unreachable(error: QueueError) -> anyhow::Error {
    match error {
        QueueError::Unavailable(what) => {
            Unreachable(format!("the broker is not reachable ({what}); check LANDFALL_QUEUE_URL")).into()
        }
        QueueError::Topology(what) => DoesNotFit(what).into(),
    }
}
