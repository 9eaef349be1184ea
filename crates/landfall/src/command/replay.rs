//! `landfall replay`: work deliveries again from their stored bytes.

use std::time::Duration;

use anyhow::bail;
use reqwest::Method;
use serde_json::{Map, Value};

use super::client::{Api, Instance, segment};
use super::output::{self, Output};
use crate::exit::ChecksFailed;

const POLL: Duration = Duration::from_millis(300);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only with this outcome; left out: processed, set_aside and dead
    #[arg(long, visible_alias = "status")]
    outcome: Option<String>,
    #[command(flatten)]
    chosen: Chosen,
    /// Go on with a replay that was previewed, was cancelled or failed; what failed in it gets its turn again
    #[arg(long, value_name = "REPLAY", conflicts_with_all = ["cancel", "dry_run"])]
    start: Option<String>,
    /// Stop a replay; what it has done stays
    #[arg(long, value_name = "REPLAY", conflicts_with = "dry_run")]
    cancel: Option<String>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

/// Which deliveries.
#[derive(clap::Args)]
pub(super) struct Chosen {
    /// These deliveries
    ids: Vec<String>,
    /// Terra's event type, such as sleep
    #[arg(long = "type")]
    type_name: Option<String>,
    /// The internal user
    #[arg(long)]
    user: Option<String>,
    /// As Terra spells it, such as GARMIN
    #[arg(long)]
    provider: Option<String>,
    /// Terra's id of the user
    #[arg(long)]
    terra_user_id: Option<String>,
    /// Terra's X-Terra-Trace-Id
    #[arg(long)]
    trace_id: Option<String>,
    /// Terra environment, as named in the settings
    #[arg(long)]
    environment: Option<String>,
    /// transient, poison, identity or contract
    #[arg(long)]
    class: Option<String>,
    /// As `landfall dead list --by-cause` shows it
    #[arg(long)]
    fingerprint: Option<String>,
    /// Received at or after: 2026-03-01T08:00:00Z, or a date
    #[arg(long, visible_alias = "since")]
    from: Option<String>,
    /// Received before
    #[arg(long, visible_alias = "until")]
    to: Option<String>,
}

impl Chosen {
    /// As the API takes it.
    pub(super) fn body(self) -> Map<String, Value> {
        let Chosen {
            ids,
            type_name,
            user,
            provider,
            terra_user_id,
            trace_id,
            environment,
            class,
            fingerprint,
            from,
            to,
        } = self;
        let fields = [
            ("type", type_name),
            ("user", user),
            ("provider", provider),
            ("terra_user_id", terra_user_id),
            ("trace_id", trace_id),
            ("environment", environment),
            ("class", class),
            ("fingerprint", fingerprint),
            ("from", from),
            ("to", to),
        ];
        let mut body: Map<String, Value> =
            fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        if !ids.is_empty() {
            body.insert("ids".into(), ids.into());
        }
        body
    }
}

/// How to replay.
#[derive(clap::Args)]
pub(super) struct How {
    /// Deliveries a second at most
    #[arg(long)]
    rate: Option<u32>,
    /// Say what matches and what replaying would do, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let order = |id: &str, order: &str| format!("/v1/replays/{}/{order}", segment(id));
    if let Some(id) = &args.cancel {
        let cancelled = api.change(Method::POST, &order(id, "cancel"), None).await?;
        output::note(text(&cancelled));
        return output::print_one(&args.output, &cancelled);
    }
    if let Some(id) = &args.start {
        let before = api.get(&format!("/v1/replays/{}", segment(id)), &[]).await?;
        output::note(text(&before));
        output::agreed("Going to replay what is left of it.", args.how.yes)?;
        let started = api.change(Method::POST, &order(id, "start"), None).await?;
        return end(&api, started, &args.output).await;
    }
    let mut body = args.chosen.body();
    body.extend(args.outcome.map(|outcome| ("outcome".to_owned(), outcome.into())));
    replay(&api, "/v1/replays", body, &args.how, &args.output).await
}

/// Counts first and says what it would do; what was counted is what is run.
pub(super) async fn replay(
    api: &Api,
    path: &str,
    mut body: Map<String, Value>,
    how: &How,
    output: &Output,
) -> anyhow::Result<()> {
    body.extend(how.rate.map(|rate| ("rate".to_owned(), rate.into())));
    body.insert("dry_run".into(), true.into());
    let asked = api.change(Method::POST, path, Some(Value::Object(body))).await?;
    let preview = follow(api, asked).await?;
    output::note(text(&preview));
    if how.dry_run || preview["progress"]["deliveries"] == 0 {
        return output::print_one(output, &preview);
    }
    output::agreed("Going to replay them.", how.yes)?;
    let id = segment(preview["id"].as_str().unwrap_or_default());
    let started = api.change(Method::POST, &format!("/v1/replays/{id}/start"), None).await?;
    end(api, started, output).await
}

async fn end(api: &Api, started: Value, output: &Output) -> anyhow::Result<()> {
    let done = follow(api, started).await?;
    output::note(text(&done));
    output::print_one(output, &done)?;
    if done["state"] == "done" && done["progress"]["items"]["failed"] == 0 {
        return Ok(());
    }
    let id = done["id"].as_str().unwrap_or_default();
    Err(ChecksFailed(format!("not everything was replayed; `landfall replay --start {id}` goes on")).into())
}

/// Says how it is going until it is over. Stopping this command stops nothing: the instance goes on.
async fn follow(api: &Api, mut run: Value) -> anyhow::Result<Value> {
    let path = format!("/v1/replays/{}", segment(run["id"].as_str().unwrap_or_default()));
    let mut said = String::new();
    loop {
        match run["state"].as_str() {
            Some("previewed" | "done" | "cancelled" | "failed") => return Ok(run),
            None => bail!("{}", text(&run)),
            Some(_) => {}
        }
        if text(&run) != said {
            said = text(&run).to_owned();
            output::note(&said);
        }
        tokio::time::sleep(POLL).await;
        run = api.get(&path, &[]).await?;
    }
}

fn text(run: &Value) -> &str {
    run["text"].as_str().unwrap_or("no answer")
}
