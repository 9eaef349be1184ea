//! `landfall erase`: forget a person, here and at Terra.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Instance, segment};
use super::output::{self, Output};

const POLL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The internal user, as your own services name them
    user: String,
    /// Say what there is, and do nothing
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

/// Ends once everything is gone and Terra agreed. Stopping this command stops nothing: the instance goes on.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let wanted = |dry_run: bool| Some(json!({ "user": args.user, "dry_run": dry_run }));
    let preview = api.change(Method::POST, "/v1/erasures", wanted(true)).await?;
    output::note(text(&preview));
    if args.dry_run {
        return output::print_one(&args.output, &preview);
    }
    output::agreed("Going to erase this person.", args.yes)?;
    let mut erasure = api.change(Method::POST, "/v1/erasures", wanted(false)).await?;
    let path = format!("/v1/erasures/{}", segment(erasure["id"].as_str().unwrap_or_default()));
    let mut said = String::new();
    while erasure["state"] != "done" {
        if text(&erasure) != said {
            said = text(&erasure).to_owned();
            output::note(&said);
        }
        tokio::time::sleep(POLL).await;
        erasure = api.get(&path, &[]).await?;
    }
    output::note(text(&erasure));
    output::print_one(&args.output, &erasure)
}

fn text(answer: &Value) -> &str {
    answer["text"].as_str().unwrap_or("no answer")
}
