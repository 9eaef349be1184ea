//! `landfall reproject`: columns filled anew from the documents, all kinds, page by page.

use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};
use terra::event::DataKind;

use super::client::{Api, Instance};
use super::output::{self, Format, Output};

/// Documents per request: small enough for its time limit, whatever their size.
const PAGE: u32 = 200;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this kind, such as daily; may be said again. All of them if not said
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<DataKind>,
    /// Go on behind this place, as a walk that stopped named it
    #[arg(long, value_name = "KIND:ID", value_parser = place)]
    after: Option<Place>,
    /// Read and count, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

/// How far a walk over all kinds has come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    kind: DataKind,
    id: String,
}

fn kind(label: &str) -> Result<DataKind, String> {
    DataKind::parse(label).ok_or_else(|| format!("one of {}", DataKind::ALL.map(DataKind::label).join(", ")))
}

fn place(text: &str) -> Result<Place, String> {
    let (label, id) = text.split_once(':').ok_or("a kind and an id, such as daily:0197a5c2-…")?;
    Ok(Place { kind: kind(label)?, id: id.to_owned() })
}

/// What was done of one kind.
#[derive(Debug, Default)]
struct Tally {
    read: u64,
    refilled: u64,
    /// With its reason each.
    unreadable: Vec<Value>,
}

impl Tally {
    fn add(&mut self, page: &Value) {
        self.read += page["read"].as_u64().unwrap_or(0);
        self.refilled += page["refilled"].as_u64().unwrap_or(0);
        self.unreadable.extend(page["unreadable"].as_array().into_iter().flatten().cloned());
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let api = args.instance.api()?;
    let mut done = Vec::new();
    for (kind, after) in still_to_walk(&args.kinds, args.after.as_ref()) {
        done.push((kind, walk(&api, kind, after, args.dry_run).await?));
    }
    match args.output.format() {
        Format::Json | Format::Ndjson => output::print_one(&args.output, &as_json(&done, args.dry_run)),
        Format::Table | Format::Csv => output::print_text(&sentence(&done, args.dry_run)),
    }
}

/// Kinds always come in one order, so that a place says which ones are done.
fn still_to_walk(wanted: &[DataKind], after: Option<&Place>) -> Vec<(DataKind, Option<String>)> {
    let is_wanted = |kind: &DataKind| wanted.is_empty() || wanted.contains(kind);
    let kinds = DataKind::ALL.into_iter().filter(is_wanted);
    match after {
        None => kinds.map(|kind| (kind, None)).collect(),
        Some(place) => kinds
            .filter(|kind| *kind >= place.kind)
            .map(|kind| (kind, (kind == place.kind).then(|| place.id.clone())))
            .collect(),
    }
}

async fn walk(api: &Api, kind: DataKind, mut after: Option<String>, dry_run: bool) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    loop {
        let body = json!({ "kind": kind.label(), "after": after, "limit": PAGE, "dry_run": dry_run });
        let page = api.change(Method::POST, "/v1/reprojections", Some(body)).await.with_context(|| match &after {
            Some(id) => format!("stopped; go on with `--after {}:{id}`", kind.label()),
            None => format!("stopped before the first {}", kind.label()),
        })?;
        tally.add(&page);
        for lost in page["unreadable"].as_array().into_iter().flatten() {
            output::note(&format!("{} {}: {}", kind.label(), text(lost, "id"), text(lost, "reason")));
        }
        if tally.read > 0 {
            output::note(&format!("{}: {} read", kind.label(), tally.read));
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            return Ok(tally);
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("unknown")
}

fn as_json(done: &[(DataKind, Tally)], dry_run: bool) -> Value {
    let of = |(kind, tally): &(DataKind, Tally)| json!({ "kind": kind.label(), "read": tally.read, "refilled": tally.refilled, "unreadable": tally.unreadable });
    let total = total(done);
    json!({
        "read": total.read, "refilled": total.refilled, "unreadable": total.unreadable.len(), "dry_run": dry_run,
        "kinds": done.iter().map(of).collect::<Vec<_>>(),
    })
}

fn total(done: &[(DataKind, Tally)]) -> Tally {
    let mut total = Tally::default();
    for (_, tally) in done {
        total.read += tally.read;
        total.refilled += tally.refilled;
        total.unreadable.extend(tally.unreadable.iter().cloned());
    }
    total
}

fn sentence(done: &[(DataKind, Tally)], dry_run: bool) -> String {
    let Tally { read, refilled, unreadable } = total(done);
    let unreadable = unreadable.len() as u64;
    let verb = if dry_run { "would be refilled" } else { "refilled" };
    let newer = read - unreadable.min(read);
    let newer = newer - refilled.min(newer);
    format!(
        "read {read} documents: {refilled} {verb}, {newer} replaced by newer ones meanwhile, {unreadable} unreadable"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_goes_on_where_it_stopped() {
        let place = place("planned_workout:7").unwrap();
        let rest = still_to_walk(&[], Some(&place));
        assert_eq!(rest.first(), Some(&(DataKind::PlannedWorkout, Some("7".to_owned()))));
        assert_eq!(rest.len(), 4, "{rest:?}");
        assert!(rest[1..].iter().all(|(_, after)| after.is_none()));
        assert_eq!(still_to_walk(&[DataKind::Sleep], None), [(DataKind::Sleep, None)]);
        assert_eq!(still_to_walk(&[DataKind::Sleep], Some(&place)), []);
        assert_eq!(still_to_walk(&[], None).len(), DataKind::ALL.len());
    }

    #[test]
    fn a_place_is_a_kind_and_an_id() {
        assert!(super::place("daily").is_err());
        assert!(super::place("dailies:7").unwrap_err().contains("daily"));
    }

    #[test]
    fn the_totals_add_up() {
        let page = json!({ "read": 5, "refilled": 3, "unreadable": [{ "id": "x", "reason": "payload_lost" }] });
        let mut tally = Tally::default();
        tally.add(&page);
        let done = [(DataKind::Daily, tally)];
        assert_eq!(
            sentence(&done, false),
            "read 5 documents: 3 refilled, 1 replaced by newer ones meanwhile, 1 unreadable"
        );
        assert_eq!(as_json(&done, true)["unreadable"], 1);
    }
}
