//! `landfall drift`: what payloads held and Terra's schema does not have, from a terminal.

use super::client::Instance;
use super::output::{self, Column, Output, column};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Terra's event type, such as sleep
    #[arg(long)]
    kind: Option<String>,
    /// Such as GARMIN
    #[arg(long)]
    provider: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

const COLUMNS: [Column; 8] = [
    column("kind", "kind"),
    column("provider", "provider"),
    column("path", "path"),
    column("found", "found"),
    column("seen", "seen"),
    column("first seen", "first_seen"),
    column("last seen", "last_seen"),
    column("environment", "environment"),
];

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let wanted = [("kind", args.kind), ("provider", args.provider)];
    let filter: Vec<(&str, String)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    // This listing has one page and takes no `limit`.
    let listing = args.instance.api()?.get("/v1/drift", &filter).await?;
    let rows = listing["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        output::note("nothing that Terra's schema does not have");
    }
    output::print_rows(&args.output, &COLUMNS, &rows[..rows.len().min(args.limit)])
}
