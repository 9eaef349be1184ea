//! `landfall quarantine`: requests whose signature failed, and letting in those that pass now.

use std::collections::BTreeMap;

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Api, Instance};
use super::output::{self, Column, Output, column};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Newest first, each with the part that is at fault
    List(List),
    /// Check all of them against the secrets of today and let in those that pass
    Reverify(Reverify),
}

#[derive(clap::Args)]
struct Filter {
    /// Only where this part is at fault, such as secret_or_body
    #[arg(long)]
    part: Option<String>,
    /// Only those that came to, or are signed for, this Terra environment
    #[arg(long)]
    environment: Option<String>,
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

#[derive(clap::Args)]
struct Reverify {
    #[command(flatten)]
    filter: Filter,
    /// Say how many would pass, and let nothing in
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

const COLUMNS: [Column; 8] = [
    column("first seen", "first_seen"),
    column("last seen", "last_seen"),
    column("seen", "seen"),
    column("part", "why.part"),
    column("fits", "why.environment"),
    column("type", "type"),
    column("bytes", "size_bytes"),
    column("why", "why.text"),
];

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        What::List(args) => list(args).await,
        What::Reverify(args) => reverify(args).await,
    }
}

async fn list(args: List) -> anyhow::Result<()> {
    let wanted = [("part", args.filter.part), ("environment", args.filter.environment)];
    let filter: Vec<(&str, String)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let rows = args.instance.api()?.list("/v1/quarantine", &filter, args.limit).await?;
    if rows.is_empty() {
        output::note("no request has failed its signature lately");
    }
    output::print_rows(&args.output, &COLUMNS, &rows)
}

async fn reverify(args: Reverify) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let preview = walk(&api, &args.filter, true).await?;
    output::note(&sentence(&preview));
    let passing = preview["passing"].as_u64().unwrap_or(0);
    if args.dry_run || passing == 0 {
        return output::print_one(&args.output, &preview);
    }
    output::agreed(&format!("Going to let {passing} in."), args.yes)?;
    let done = walk(&api, &args.filter, false).await?;
    output::print_one(&args.output, &done)
}

/// All pages, added up.
async fn walk(api: &Api, filter: &Filter, dry_run: bool) -> anyhow::Result<Value> {
    let mut sums = BTreeMap::from(["examined", "passing", "admitted", "lost"].map(|name| (name, 0)));
    let mut failing: BTreeMap<String, u64> = BTreeMap::new();
    let mut after = Value::Null;
    loop {
        let wanted =
            json!({ "part": filter.part, "environment": filter.environment, "after": after, "dry_run": dry_run });
        let page = api.change(Method::POST, "/v1/quarantine/reverify", Some(wanted)).await?;
        for (name, sum) in &mut sums {
            *sum += page[*name].as_u64().unwrap_or(0);
        }
        for (part, count) in page["failing"].as_object().into_iter().flatten() {
            *failing.entry(part.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        after = page["next"].clone();
        if after.is_null() {
            let mut done = json!(sums);
            done["failing"] = json!(failing);
            done["dry_run"] = json!(dry_run);
            return Ok(done);
        }
    }
}

fn sentence(preview: &Value) -> String {
    let parts = preview["failing"].as_object().into_iter().flatten();
    let parts: Vec<String> = parts.map(|(part, count)| format!("{count} {part}")).collect();
    let rest = if parts.is_empty() { String::new() } else { format!("; still failing: {}", parts.join(", ")) };
    format!("{} of {} requests pass now{rest}", preview["passing"], preview["examined"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preview_is_a_sentence() {
        let preview = json!({ "examined": 5, "passing": 3, "failing": { "secret_or_body": 2 } });
        assert_eq!(sentence(&preview), "3 of 5 requests pass now; still failing: 2 secret_or_body");
        assert_eq!(sentence(&json!({ "examined": 0, "passing": 0 })), "0 of 0 requests pass now");
    }
}
