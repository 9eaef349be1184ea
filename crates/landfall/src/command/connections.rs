//! `landfall connections`: people's connections, from a terminal.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Api, Instance, One, segment};
use super::output::{self, Column, Output, column};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// All of them, or those that fit
    List(List),
    /// One, with its Terra users
    Show(One),
    /// Decide whose connection it is
    Assign(Assign),
    /// Decide that it was never one: each Terra user stands for itself again
    Split(Split),
}

#[derive(clap::Args)]
struct List {
    /// active, degraded, revoked, unresolved or disputed
    #[arg(long)]
    status: Option<String>,
    /// Such as GARMIN
    #[arg(long)]
    provider: Option<String>,
    /// Terra's id of the user, also a former one
    #[arg(long)]
    terra_user_id: Option<String>,
    /// Only this person's
    #[arg(long)]
    user: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

#[derive(clap::Args)]
struct Assign {
    id: String,
    user: String,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args)]
struct Split {
    id: String,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args)]
struct Change {
    /// Show what would change, and change nothing
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

const COLUMNS: [Column; 7] = [
    column("id", "id"),
    column("user", "user"),
    column("provider", "provider"),
    column("status", "status"),
    column("terra user", "terra_user_id"),
    column("connected", "connected_at"),
    column("last data", "last_data_at"),
];

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::List(list) => run_list(list).await,
        Action::Show(show) => {
            let connection = find(&show.instance.api()?, &show.id).await?;
            output::print_one(&show.output, &connection)
        }
        Action::Assign(assign) => {
            let whose = format!("give it to the user `{}`", assign.user);
            let body = json!({ "user": assign.user });
            decide(&assign.id, assign.change, &whose, Decision { method: Method::PUT, end: "user", body: Some(body) })
                .await
        }
        Action::Split(split) => {
            decide(&split.id, split.change, "split it", Decision { method: Method::POST, end: "split", body: None })
                .await
        }
    }
}

async fn run_list(list: List) -> anyhow::Result<()> {
    let wanted = [("status", list.status), ("provider", list.provider), ("terra_user_id", list.terra_user_id)];
    let filter: Vec<(&str, String)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let path = match &list.user {
        Some(user) => format!("/v1/users/{}/connections", segment(user)),
        None => "/v1/connections".into(),
    };
    let rows = list.instance.api()?.list(&path, &filter, list.limit).await?;
    if rows.is_empty() {
        output::note("no connections that fit");
    }
    output::print_rows(&list.output, &COLUMNS, &rows)
}

async fn find(api: &Api, id: &str) -> anyhow::Result<Value> {
    api.get(&format!("/v1/connections/{}", segment(id)), &[]).await
}

struct Decision {
    method: Method,
    end: &'static str,
    body: Option<Value>,
}

/// Shows what it is about, asks, and decides.
async fn decide(id: &str, change: Change, what: &str, decision: Decision) -> anyhow::Result<()> {
    let api = change.instance.api()?;
    let before = find(&api, id).await?;
    let about = summary(&before);
    if change.dry_run {
        output::note(&format!("would {what}: {about}"));
        return output::print_one(&change.output, &before);
    }
    output::agreed(&format!("{about}\nGoing to {what}."), change.yes)?;
    // The id as shown: the one asked for may have become part of another connection.
    let id = before["id"].as_str().unwrap_or(id);
    let path = format!("/v1/connections/{}/{}", segment(id), decision.end);
    let after = api.change(decision.method, &path, decision.body).await?;
    output::print_one(&change.output, &after)
}

fn summary(connection: &Value) -> String {
    let text = |name: &str| connection[name].as_str().unwrap_or("none").to_owned();
    let aliases = connection["aliases"].as_array().map_or(0, Vec::len);
    format!(
        "connection {} ({}), status {}, user {}, Terra users: {aliases}",
        text("id"),
        text("provider"),
        text("status"),
        text("user")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_what_it_is_about() {
        let connection =
            json!({ "id": "c1", "provider": "GARMIN", "status": "disputed", "user": null, "aliases": [{}, {}] });
        assert_eq!(summary(&connection), "connection c1 (GARMIN), status disputed, user none, Terra users: 2");
    }
}
