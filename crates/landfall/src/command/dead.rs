//! `landfall dead`: deliveries that nobody will try again by itself, from a terminal.

use reqwest::Method;
use serde_json::Value;

use super::client::{Instance, One};
use super::output::{self, Column, Output, column};
use super::replay::{Chosen, How, replay};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// All there are, newest first, or those that fit
    List(List),
    /// One with all that is known of it, its payload apart
    Show(One),
    /// Work them again, once their cause is mended; without a filter all of them
    Replay(Replay),
    /// Mark them as such that nobody will replay
    Discard(Discard),
}

#[derive(clap::Args)]
struct List {
    /// One row per cause instead of one per delivery
    #[arg(short = 'g', long)]
    by_cause: bool,
    /// Terra's event type, such as sleep
    #[arg(long = "type")]
    type_name: Option<String>,
    /// Terra's id of the user
    #[arg(long)]
    terra_user_id: Option<String>,
    /// Terra environment, as named in the settings
    #[arg(long)]
    environment: Option<String>,
    /// transient, poison, identity or contract
    #[arg(long)]
    class: Option<String>,
    /// Those with the same cause
    #[arg(long)]
    fingerprint: Option<String>,
    /// Those that this replay worked last
    #[arg(long, conflicts_with = "by_cause")]
    replay: Option<String>,
    /// Received at or after: 2026-03-01T08:00:00Z, or a date
    #[arg(long, visible_alias = "since")]
    from: Option<String>,
    /// Received before
    #[arg(long, visible_alias = "until")]
    to: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

#[derive(clap::Args)]
struct Replay {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

#[derive(clap::Args)]
struct Discard {
    #[command(flatten)]
    chosen: Chosen,
    /// Why nobody will replay them
    #[arg(long)]
    reason: String,
    /// Say what matches, and do nothing
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
    column("id", "id"),
    column("received", "received_at"),
    column("type", "type"),
    column("terra user", "terra_user_id"),
    column("class", "class"),
    column("fingerprint", "fingerprint"),
    column("tries", "attempts"),
    column("reason", "reason"),
];

const CAUSES: [Column; 8] = [
    column("fingerprint", "fingerprint"),
    column("class", "class"),
    column("type", "type"),
    column("deliveries", "deliveries"),
    column("users", "users"),
    column("first", "first_seen"),
    column("last", "last_seen"),
    column("reason", "reason"),
];

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::List(list) => run_list(list).await,
        Action::Show(one) => one.print("/v1/deliveries").await,
        Action::Replay(one) => {
            let api = one.instance.api()?;
            replay(&api, "/v1/dead-letters/replay", one.chosen.body(), &one.how, &one.output).await
        }
        Action::Discard(discard) => run_discard(discard).await,
    }
}

async fn run_list(list: List) -> anyhow::Result<()> {
    let wanted = [
        ("type", list.type_name),
        ("terra_user_id", list.terra_user_id),
        ("environment", list.environment),
        ("class", list.class),
        ("fingerprint", list.fingerprint),
        ("replay", list.replay),
        ("from", list.from),
        ("to", list.to),
    ];
    let filter: Vec<(&str, String)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = if list.by_cause { "/v1/dead-letters/groups" } else { "/v1/dead-letters" };
    let mut rows = list.instance.api()?.list(path, &filter, list.limit).await?;
    if rows.is_empty() {
        output::note("no dead letters that fit");
    }
    if list.by_cause {
        rows.sort_by_key(|row| std::cmp::Reverse(row["deliveries"].as_u64()));
        return output::print_rows(&list.output, &CAUSES, &rows);
    }
    output::print_rows(&list.output, &COLUMNS, &rows)
}

async fn run_discard(discard: Discard) -> anyhow::Result<()> {
    let api = discard.instance.api()?;
    let mut body = discard.chosen.body();
    body.insert("reason".into(), discard.reason.into());
    body.insert("dry_run".into(), true.into());
    let path = "/v1/dead-letters/discard";
    let preview = api.change(Method::POST, path, Some(Value::Object(body.clone()))).await?;
    output::note(text(&preview));
    if discard.dry_run || preview["matching"] == 0 {
        return output::print_one(&discard.output, &preview);
    }
    output::agreed("Going to discard them.", discard.yes)?;
    body.insert("dry_run".into(), false.into());
    let done = api.change(Method::POST, path, Some(Value::Object(body))).await?;
    output::note(text(&done));
    output::print_one(&discard.output, &done)
}

fn text(answer: &Value) -> &str {
    answer["text"].as_str().unwrap_or("no answer")
}
