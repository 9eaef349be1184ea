//! `landfall reconcile`: compare with Terra's own list of users now.

use std::time::Duration;

use anyhow::bail;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Api, Instance, segment};
use super::output::{self, Output};
use crate::exit::ChecksFailed;

const POLL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the users that carry this reference
    #[arg(long)]
    reference: Option<String>,
    /// Only this Terra environment
    #[arg(long)]
    environment: Option<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before connections are revoked
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let wanted =
        |dry_run: bool| json!({ "reference": args.reference, "environment": args.environment, "dry_run": dry_run });
    let look = follow(&api, wanted(true)).await?;
    if args.dry_run {
        return output::print_one(&args.output, &look);
    }
    let revoked = look["counts"]["revoked"].as_u64().unwrap_or(0);
    if revoked > 0 {
        output::note(&text(&look));
        output::agreed(&format!("Going to revoke {revoked} connections."), args.yes)?;
    }
    let done = follow(&api, wanted(false)).await?;
    output::print_one(&args.output, &done)
}

/// Asks for a reconcile and waits for its end.
async fn follow(api: &Api, wanted: Value) -> anyhow::Result<Value> {
    let mut run = api.change(Method::POST, "/v1/reconciles", Some(wanted)).await?;
    let path = format!("/v1/reconciles/{}", segment(run["id"].as_str().unwrap_or_default()));
    while matches!(run["state"].as_str(), Some("queued" | "running")) {
        tokio::time::sleep(POLL).await;
        run = api.get(&path, &[]).await?;
    }
    match run["state"].as_str() {
        Some("done") => Ok(run),
        Some("refused") => Err(ChecksFailed(text(&run)).into()),
        _ => bail!("{}", text(&run)),
    }
}

fn text(run: &Value) -> String {
    run["text"].as_str().unwrap_or("no answer").to_owned()
}
