//! `landfall deliveries`: the ledger of what came in, from a terminal.

use super::client::{Instance, One};
use super::output::{self, Column, Output, column};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// All that are kept, newest first, or those that fit
    List(List),
    /// One, with its outcome
    Show(One),
}

#[derive(clap::Args)]
struct List {
    /// processed, duplicate, set_aside, quarantined, retry or dead
    #[arg(long)]
    outcome: Option<String>,
    /// Terra's event type, such as sleep
    #[arg(long = "type")]
    type_name: Option<String>,
    /// Terra's id of the user
    #[arg(long)]
    terra_user_id: Option<String>,
    /// Terra's X-Terra-Trace-Id
    #[arg(long)]
    trace_id: Option<String>,
    /// Terra environment, as named in the settings
    #[arg(long)]
    environment: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

const COLUMNS: [Column; 8] = [
    column("id", "id"),
    column("received", "received_at"),
    column("type", "type"),
    column("terra user", "terra_user_id"),
    column("outcome", "outcome"),
    column("tries", "attempts"),
    column("bytes", "size_bytes"),
    column("reason", "reason"),
];

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::List(list) => run_list(list).await,
        Action::Show(one) => one.print("/v1/deliveries").await,
    }
}

async fn run_list(list: List) -> anyhow::Result<()> {
    let wanted = [
        ("outcome", list.outcome),
        ("type", list.type_name),
        ("terra_user_id", list.terra_user_id),
        ("trace_id", list.trace_id),
        ("environment", list.environment),
    ];
    let filter: Vec<(&str, String)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let rows = list.instance.api()?.list("/v1/deliveries", &filter, list.limit).await?;
    if rows.is_empty() {
        output::note("no deliveries that fit");
    }
    output::print_rows(&list.output, &COLUMNS, &rows)
}
