//! `landfall doctor`: whether settings, services and host keep what Landfall promises, and what to do where not.

use std::path::PathBuf;

use anyhow::Context;
use domain::doctor::{self, State};
use serde_json::json;

use super::output;
use crate::config::{self, Config};
use crate::exit::ChecksFailed;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Settings file [default: ./landfall.toml if it is there]
    #[arg(short, long)]
    config: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::check(config::gather(args.config)?)?;
    let findings = crate::doctor::examine(&config).await?;
    if args.json {
        let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
        let report = json!({
            "findings": findings,
            "problems": count(State::Bad),
            "warnings": count(State::Warning),
            "not_checked": count(State::NotChecked),
        });
        output::print_text(&serde_json::to_string_pretty(&report).context("write JSON")?)?;
    } else {
        output::print_text(&doctor::lines(&findings))?;
    }
    if doctor::has_problems(&findings) {
        return Err(ChecksFailed(doctor::summary(&findings)).into());
    }
    Ok(())
}
