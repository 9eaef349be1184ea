//! `landfall simulate scenario`: what a receiver has to get right, listed or played.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use simulator::{Scenario, Settings, scenarios};

use super::Secret;
use crate::command::output::{self, Column, Output, column};
use crate::exit::Unreachable;

/// Scenarios wait for every delivery once, and the longest sends a few dozen.
const WITHIN: Duration = Duration::from_secs(120);

const COLUMNS: [Column; 4] = [
    column("name", "name"),
    column("needs", "requires"),
    column("what happens", "about"),
    column("end state", "end_state"),
];

#[derive(clap::Args)]
pub(super) struct Args {
    /// A scenario, or `list` for all there are
    #[arg(value_name = "NAME|list")]
    name: String,
    /// A running simulator that plays it, to its own destination
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8082")]
    simulator: String,
    /// Play it here and send it to this URL instead; only for scenarios that need nothing
    #[arg(long, value_name = "URL", conflicts_with = "simulator")]
    to: Option<String>,
    #[command(flatten)]
    secret: Secret,
    /// Equal seeds make equal people and data [default: the simulator's]
    #[arg(long)]
    seed: Option<u64>,
    /// Your own id of a person of the scenario; several in their order
    #[arg(long)]
    reference_id: Vec<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let all = scenarios();
    if args.name == "list" {
        return output::print_rows(&args.output, &COLUMNS, &rows(&all)?);
    }
    let Some(scenario) = all.iter().find(|scenario| scenario.name == args.name) else {
        bail!("`{}` is no scenario: see `landfall simulate scenario list`", args.name);
    };
    let end = match &args.to {
        Some(url) => play_here(scenario, url, &args).await?,
        None => play_there(scenario.name, &args).await?,
    };
    output::print_text(&serde_json::to_string_pretty(&end).context("write JSON")?)?;
    let (sent, accepted) = (&end["deliveries"]["sent"], &end["deliveries"]["accepted"]);
    if sent == accepted { Ok(()) } else { bail!("{accepted} of {sent} deliveries were accepted") }
}

fn rows(all: &[Scenario]) -> anyhow::Result<Vec<Value>> {
    all.iter().map(|scenario| serde_json::to_value(scenario).context("write a scenario")).collect()
}

/// A simulator of its own signs and sends; nobody can ask it for anything.
async fn play_here(scenario: &Scenario, url: &str, args: &Args) -> anyhow::Result<Value> {
    if !scenario.requires.is_empty() {
        let needs = scenario.requires.join(" and ");
        bail!("{} needs {needs}: the instance must reach the simulator, so name one with --simulator", scenario.name);
    }
    let settings =
        Settings { signing_secret: args.secret.first(), webhook_url: Some(url.to_owned()), ..Settings::default() };
    let simulator = simulator::start(settings).await.context("start the simulator")?;
    let end = simulator.run_scenario(scenario.name, args.seed, args.reference_id.clone()).await;
    simulator.stop().await;
    end.with_context(|| format!("play {}", scenario.name))
}

async fn play_there(name: &str, args: &Args) -> anyhow::Result<Value> {
    let base = args.simulator.trim_end_matches('/');
    let url = format!("{base}/_simulator/scenarios/{name}/run");
    let client = reqwest::Client::builder().no_proxy().timeout(WITHIN).build().context("build the HTTP client")?;
    let mut wanted = json!({ "reference_ids": args.reference_id });
    if let Some(seed) = args.seed {
        wanted["seed"] = json!(seed);
    }
    let answer = client.post(&url).json(&wanted).send().await.map_err(|error| {
        let why = if error.is_connect() { "cannot be reached" } else { "did not answer" };
        Unreachable(format!("{base} {why}: start a simulator (`landfall dev` or `landfall simulate`), or use --to"))
    })?;
    let status = answer.status();
    let body: Value = answer.json().await.with_context(|| format!("read what {base} answered ({status})"))?;
    if !status.is_success() {
        bail!("{base} answered {status}: {}", body["error"].as_str().unwrap_or("no reason given"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(line: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from([&["scenario"], line].concat()).map(|line| line.args)
    }

    #[test]
    fn a_scenario_is_played_by_a_simulator_or_here() {
        assert_eq!(parsed(&["deauth"]).unwrap().simulator, "http://127.0.0.1:8082");
        assert_eq!(parsed(&["deauth", "--to", "http://x"]).unwrap().to.as_deref(), Some("http://x"));
        assert!(parsed(&["deauth", "--to", "http://x", "--simulator", "http://y"]).is_err());
        assert!(parsed(&[]).is_err());
    }

    #[test]
    fn the_list_says_what_happens_and_how_it_must_end() {
        let rows = rows(&scenarios()).unwrap();
        assert!(rows.len() > 20);
        for row in rows {
            assert!(COLUMNS.iter().all(|column| !row[column.path].is_null()), "{row}");
        }
    }

    #[tokio::test]
    async fn what_needs_a_simulator_that_can_be_asked_is_not_played_here() {
        let refused = run(parsed(&["history", "--to", "http://127.0.0.1:9"]).unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains("history needs backfill"), "{refused}");
        let unknown = run(parsed(&["siesta"]).unwrap()).await.unwrap_err();
        assert!(unknown.to_string().contains("scenario list"), "{unknown}");
    }
}
