//! `landfall backfill`: asks Terra for a person's data and shows how it arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use adapters::clock::Clock;
use anyhow::bail;
use jiff::Span;
use jiff::tz::TimeZone;
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Api, Instance, segment};
use super::output::{self, Column, Output, column};

const DAYS: i64 = 28;
const EVERY: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The internal user
    user: String,
    /// Such as activity,sleep; all that have a history, if not said
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// First day; 28 days ago, if not said
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Day after the last; up to today, if not said
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// Show what would be asked for, and ask for nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the data
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

const REQUESTS: [Column; 4] =
    [column("terra user", "terra_user_id"), column("type", "type"), column("from", "start"), column("to", "end")];

const BACKFILLS: [Column; 8] = [
    column("id", "id"),
    column("provider", "provider"),
    column("terra user", "terra_user_id"),
    column("state", "state"),
    column("expected", "expected"),
    column("received", "received"),
    column("missing", "missing"),
    column("reason", "reason"),
];

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let mut wanted = json!({ "types": args.types, "from": args.from.unwrap_or_else(from), "dry_run": args.dry_run });
    if let Some(to) = args.to {
        wanted["to"] = json!(to);
    }
    let path = format!("/v1/users/{}/fetches", segment(&args.user));
    let answer = api.change(Method::POST, &path, Some(wanted)).await?;
    let requests = answer["items"].as_array().cloned().unwrap_or_default();
    if args.dry_run {
        output::note(&format!("would make {} requests", requests.len()));
        return output::print_rows(&args.output, &REQUESTS, &requests);
    }
    output::note(&format!("{} requests to make", requests.len()));
    let ids: Vec<&str> = answer["backfills"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let backfills = follow(&api, &ids, args.no_wait).await?;
    output::print_rows(&args.output, &BACKFILLS, &backfills)?;
    if backfills.iter().any(|backfill| backfill["state"] == "incomplete") {
        bail!("not everything came; GET /v1/backfills/<id> says which days are missing");
    }
    Ok(())
}

fn from() -> String {
    let today = Clock::system().now().to_zoned(TimeZone::UTC).date();
    today.checked_sub(Span::new().days(DAYS - 1)).unwrap_or(today).to_string()
}

/// Until every one is settled; says on standard error how far each is.
async fn follow(api: &Api, ids: &[&str], no_wait: bool) -> anyhow::Result<Vec<Value>> {
    let mut said: BTreeMap<&str, String> = BTreeMap::new();
    loop {
        let mut backfills = Vec::new();
        for id in ids {
            let mut backfill = api.get(&format!("/v1/backfills/{}", segment(id)), &[]).await?;
            let line = progress(&backfill);
            if said.get(id) != Some(&line) {
                output::note(&line);
                said.insert(id, line);
            }
            if let Some(fields) = backfill.as_object_mut() {
                fields.remove("requests");
            }
            backfills.push(backfill);
        }
        if no_wait || backfills.iter().all(|backfill| backfill["state"] != "open") {
            return Ok(backfills);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// `GARMIN: 37 of 43, 6 missing, stalled 12 min`
fn progress(backfill: &Value) -> String {
    let number = |name: &str| backfill[name].as_u64().unwrap_or(0);
    let provider = backfill["provider"].as_str().unwrap_or("unknown provider");
    let mut line = format!("{provider}: {} of {}", number("received"), number("expected"));
    if number("missing") > 0 {
        line.push_str(&format!(", {} missing", number("missing")));
    }
    if let Some(seconds) = backfill["stalled_for_seconds"].as_u64() {
        line.push_str(&format!(", stalled {} min", seconds / 60));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_like_a_sentence() {
        let backfill =
            json!({ "provider": "GARMIN", "received": 37, "expected": 43, "missing": 6, "stalled_for_seconds": 725 });
        assert_eq!(progress(&backfill), "GARMIN: 37 of 43, 6 missing, stalled 12 min");
        let done =
            json!({ "provider": null, "received": 43, "expected": 43, "missing": 0, "stalled_for_seconds": null });
        assert_eq!(progress(&done), "unknown provider: 43 of 43");
    }
}
