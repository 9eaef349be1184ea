//! `landfall recover`: get back what was lost while we could not be reached.

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
    /// Beginning of the outage: 2026-03-01T08:00:00Z, or a date
    #[arg(long)]
    from: String,
    /// End of the outage
    #[arg(long)]
    to: String,
    /// Only these of Terra's events, such as sleep,daily
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Only this Terra environment
    #[arg(long)]
    environment: Option<String>,
    /// Say what was missed and what getting it back would cost, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let wanted = |dry_run: bool| json!({ "from": args.from, "to": args.to, "types": args.types, "environment": args.environment, "dry_run": dry_run });
    let preview = follow(&api, wanted(true)).await?;
    output::note(text(&preview));
    if args.dry_run {
        return output::print_one(&args.output, &preview);
    }
    output::agreed("Going to get it back.", args.yes)?;
    let done = follow(&api, wanted(false)).await?;
    output::note(text(&done));
    output::print_one(&args.output, &done)?;
    match done["state"].as_str() {
        Some("complete") => Ok(()),
        _ => Err(ChecksFailed("not everything could be got back".into()).into()),
    }
}

/// Asks for it and says how it is going until it is over. Stopping this command stops nothing: the instance goes on.
async fn follow(api: &Api, wanted: Value) -> anyhow::Result<Value> {
    let mut recovery = api.change(Method::POST, "/v1/recoveries", Some(wanted)).await?;
    let path = format!("/v1/recoveries/{}", segment(recovery["id"].as_str().unwrap_or_default()));
    let mut said = String::new();
    loop {
        match recovery["state"].as_str() {
            Some("previewed" | "complete" | "incomplete") => return Ok(recovery),
            Some("failed") | None => bail!("{}", text(&recovery)),
            Some(_) => {}
        }
        if text(&recovery) != said {
            said = text(&recovery).to_owned();
            output::note(&said);
        }
        tokio::time::sleep(POLL).await;
        recovery = api.get(&path, &[]).await?;
    }
}

fn text(recovery: &Value) -> &str {
    recovery["text"].as_str().unwrap_or("no answer")
}
