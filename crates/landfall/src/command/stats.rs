//! `landfall stats`: the numbers an operator looks at first, and what Terra will bill.

use serde_json::Value;

use super::client::{Api, Instance};
use super::output::{self, Column, Format, Output, column};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Sum what Terra delivered by connection, type (kind) or provider, instead of the overview
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Such as 2026-03; the current month if not said
    #[arg(long)]
    month: Option<String>,
    /// Only connections over the events that Terra gives for free
    #[arg(long)]
    over: bool,
    /// How many rows at most
    #[arg(long, default_value_t = 100_000)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    Connection,
    Kind,
    Provider,
}

const NUMBERS: [Column; 7] = [
    column("deliveries", "deliveries"),
    column("unchanged", "unchanged"),
    column("duplicates", "duplicates"),
    column("unchanged_share", "unchanged_share"),
    column("bytes", "bytes"),
    column("live", "live"),
    column("ours", "ours"),
];

impl By {
    fn label(self) -> &'static str {
        match self {
            By::Connection => "connection",
            By::Kind => "kind",
            By::Provider => "provider",
        }
    }

    fn columns(self) -> Vec<Column> {
        let named = match self {
            By::Connection => vec![
                column("connection", "connection"),
                column("user", "user"),
                column("terra_user_id", "terra_user_id"),
                column("provider", "provider"),
                column("over_free", "over_free"),
            ],
            By::Kind => vec![column("type", "type")],
            By::Provider => vec![column("provider", "provider")],
        };
        std::iter::once(column("month", "month")).chain(named).chain(NUMBERS).collect()
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let is_overview = args.by.is_none() && args.month.is_none() && !args.over;
    match (is_overview, args.output.format()) {
        (true, Format::Json | Format::Ndjson) => output::print_one(&args.output, &api.get("/v1/stats", &[]).await?),
        (true, Format::Table) => overview(&api).await,
        // A file of rows is what CSV is for.
        (true, Format::Csv) | (false, _) => {
            let by = args.by.unwrap_or(if args.over { By::Connection } else { By::Kind });
            let mut filter = vec![("by", by.label().to_owned())];
            filter.extend(args.month.map(|month| ("month", month)));
            if args.over {
                filter.push(("over", "true".into()));
            }
            let rows = api.list("/v1/stats/usage", &filter, args.limit).await?;
            if rows.is_empty() {
                output::note("Terra delivered nothing that fits");
            }
            output::print_rows(&args.output, &by.columns(), &rows)
        }
    }
}

/// Sentences first, then the numbers that are not zero.
async fn overview(api: &Api) -> anyhow::Result<()> {
    let stats = api.get("/v1/stats", &[]).await?;
    output::print_text(&sentences(&stats).join("\n"))
}

fn sentences(stats: &Value) -> Vec<String> {
    let count = |name: &str| stats[name].as_u64().unwrap_or(0);
    let connections: u64 =
        stats["connections"].as_array().into_iter().flatten().filter_map(|row| row["count"].as_u64()).sum();
    let mut lines = vec![format!(
        "{connections} connections, {} dead letters, {} events waiting to go out, {} held, {} fetches open",
        count("dead_letters"),
        count("outbox_pending"),
        count("events_held"),
        count("fetch_open")
    )];
    lines.extend(stats["usage"]["text"].as_str().map(str::to_owned));
    let texts = stats["silence"]["texts"].as_array();
    lines.extend(texts.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)));
    lines.extend(stats["reconcile"]["text"].as_str().map(|text| format!("last reconcile: {text}")));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_overview_is_made_of_sentences() {
        let stats = json!({
            "connections": [{ "status": "active", "provider": "GARMIN", "count": 3 }, { "status": "revoked", "provider": "OURA", "count": 2 }],
            "dead_letters": 1, "outbox_pending": 0, "events_held": 0, "fetch_open": 4,
            "usage": { "text": "Terra delivered 7 events." },
            "silence": { "texts": ["no sleep from OURA for 6 h, 412 users"] },
        });
        assert_eq!(
            sentences(&stats),
            [
                "5 connections, 1 dead letters, 0 events waiting to go out, 0 held, 4 fetches open",
                "Terra delivered 7 events.",
                "no sleep from OURA for 6 h, 412 users"
            ]
        );
    }
}
