//! `landfall simulate event`: one event, signed as Terra would, to any URL.

use adapters::clock::Clock;
use anyhow::{Context, bail};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use simulator::event::{EVENT_TYPES, SampleInput, sample};
use simulator::generate::Detail;
use simulator::{Dialect, SendError, SendOptions, Settings, User, set_path};
use uuid::Uuid;

use super::Secret;
use crate::command::output::{self, Output};
use crate::exit::Unreachable;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Terra's event type, such as activity, sleep or auth
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Where to
    #[arg(long, default_value = "http://127.0.0.1:8080/webhooks/terra")]
    url: String,
    #[command(flatten)]
    secret: Secret,
    /// Change a field: dotted path and JSON (or plain text), such as data.0.distance_data.summary.steps=12
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Terra's id of the user [default: made from the reference]
    #[arg(long)]
    user_id: Option<String>,
    /// Your own id of the user
    #[arg(long, default_value = "demo-alex")]
    reference_id: String,
    #[arg(long, default_value = "GARMIN")]
    provider: String,
    /// The day that records are about [default: yesterday, UTC]
    #[arg(long)]
    date: Option<Date>,
    /// Equal seeds make equal data
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sign it wrongly
    #[arg(long)]
    bad_signature: bool,
    /// Print the event and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let event = event(&args)?;
    if args.dry_run {
        return output::print_text(&serde_json::to_string_pretty(&event).context("write JSON")?);
    }
    // A simulator of its own signs and sends it; nobody talks to its other side.
    let settings =
        Settings { signing_secret: args.secret.first(), webhook_url: Some(args.url.clone()), ..Settings::default() };
    let simulator = simulator::start(settings).await.context("start the simulator")?;
    let sent = simulator.send(event, SendOptions { bad_signature: args.bad_signature, ..SendOptions::default() }).await;
    simulator.stop().await;
    match sent {
        Ok(sent) => {
            output::print_one(
                &args.output,
                &json!({ "status": sent.status, "answer": sent.body, "trace_id": sent.trace_id, "t": sent.t, "elapsed_ms": sent.elapsed_ms }),
            )?;
            if sent.accepted() { Ok(()) } else { bail!("{} answered {}", args.url, sent.status) }
        }
        Err(SendError::Unreachable { source, .. }) => {
            let why = if source.is_connect() { "cannot be reached" } else { "did not answer" };
            let text = format!("{} {why}: start an instance (`landfall dev`), or name another with --url", args.url);
            Err(Unreachable(text).into())
        }
        Err(error @ (SendError::NoDestination | SendError::Stopping)) => Err(error).context("send the event"),
    }
}

fn event(args: &Args) -> anyhow::Result<Value> {
    let now = Clock::system().now();
    let stamp = now.to_string();
    let today = now.to_zoned(TimeZone::UTC).date();
    let user = user(args, &stamp);
    let reference = Uuid::now_v7().to_string();
    let input = SampleInput {
        seed: args.seed,
        dialect: Dialect::Newer,
        user: &user,
        date: args.date.or(today.yesterday().ok()).unwrap_or(today),
        now: &stamp,
        detail: Detail::Summary,
        reference: &reference,
    };
    let Some(mut event) = sample(&args.kind, &input) else {
        bail!("`{}` is none of {}", args.kind, EVENT_TYPES.join(", "));
    };
    for change in &args.set {
        let (path, value) =
            change.split_once('=').with_context(|| format!("read --set {change}: write it PATH=VALUE"))?;
        set_path(&mut event, path, value_of(value))?;
    }
    Ok(event)
}

fn user(args: &Args, stamp: &str) -> User {
    // The same person at the same provider is the same Terra user each time, as at Terra.
    let name = format!("{} {}", args.provider, args.reference_id);
    let made_up = || Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string();
    User {
        user_id: args.user_id.clone().unwrap_or_else(made_up),
        provider: args.provider.to_uppercase(),
        reference_id: Some(args.reference_id.clone()).filter(|reference| !reference.is_empty()),
        scopes: ["activity:read", "body:read", "daily:read", "sleep:read"].map(str::to_owned).to_vec(),
        active: true,
        created_at: stamp.to_owned(),
        last_webhook_update: None,
    }
}

/// JSON where it is JSON, else the text: nobody wants to quote quotes in a shell.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
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

    fn made(line: &[&str]) -> anyhow::Result<Value> {
        event(&Line::parse_from([&["event"], line].concat()).args)
    }

    #[test]
    fn fields_are_changed_by_path() {
        let line = [
            "activity",
            "--reference-id",
            "anna",
            "--set",
            "data.0.distance_data.summary.steps=12",
            "--set",
            "user.provider=OURA",
        ];
        let event = made(&line).unwrap();
        assert_eq!(event["data"][0]["distance_data"]["summary"]["steps"], 12);
        assert_eq!((&event["user"]["provider"], &event["user"]["reference_id"]), (&json!("OURA"), &json!("anna")));
    }

    #[test]
    fn one_person_is_one_terra_user() {
        let id = |line: &[&str]| made(line).unwrap()["user"]["user_id"].clone();
        assert_eq!(id(&["sleep"]), id(&["activity"]));
        assert_ne!(id(&["sleep"]), id(&["sleep", "--reference-id", "demo-sam"]));
    }

    #[test]
    fn an_unknown_type_is_answered_with_those_there_are() {
        assert!(made(&["naps"]).unwrap_err().to_string().contains("health_observation"));
        assert!(made(&["sleep", "--set", "nonsense"]).is_err());
    }
}
