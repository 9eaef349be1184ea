//! What follows from each event of Terra's, for people to read. Exhaustive, so that a new kind does not compile without
//! it, and compared with the plans of real events, so that it stays true.

use serde::Serialize;
use terra::event::Kind;

/// What an event leads to besides its row in the ledger, which every delivery has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effects {
    /// Terra's name of the event.
    pub event: &'static str,
    pub carries: &'static str,
    pub rows: &'static [Row],
    pub then: &'static str,
    /// `<entity>.<verb>` of what our own services may be told.
    pub tells: Vec<String>,
}

/// A kind of row that a plan may call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    Record,
    Connection,
    AuthEvent,
    ConnectSession,
    Fetch,
    Backfill,
    Drift,
}

impl Row {
    pub fn label(self) -> &'static str {
        match self {
            Row::Record => "record",
            Row::Connection => "connection",
            Row::AuthEvent => "auth event",
            Row::ConnectSession => "connect session",
            Row::Fetch => "fetches",
            Row::Backfill => "backfill",
            Row::Drift => "drift",
        }
    }
}

const OF_DATA: [Row; 2] = [Row::Record, Row::Connection];
const MERGED: &str = "the version of greatest order counts, scores one by one; data shows that the connection works";
const MERGED_OR_DELETED: &str = "the same; `upload_type` 4 deletes";
const INFORMATIONAL: &str = "kept in the ledger and counted; states nothing of anybody";

/// What happens to a connection may be told whenever data or a statement about it arrives.
const OF_CONNECTION: [&str; 2] = ["connection.reconnected", "connection.scopes_changed"];

/// What Landfall does with an event.
pub fn effects(kind: Kind) -> Effects {
    let row = |carries, rows, then, tells: &[&str]| Effects {
        event: kind.label(),
        carries,
        rows,
        then,
        tells: tells.iter().map(|tells| (*tells).to_owned()).collect(),
    };
    let data = |carries| record(kind, carries, MERGED, false);
    match kind {
        Kind::Auth => row(
            "the user, or why it failed",
            &[Row::Connection, Row::AuthEvent, Row::ConnectSession, Row::Fetch],
            "active; a connect before our eyes starts a backfill. A failed one is an `auth_cancelled`",
            &["connection.connected", "connection.reconnected", "connection.scopes_changed"],
        ),
        Kind::AuthCancelled => row(
            "a reference and a reason, no user",
            &[Row::AuthEvent, Row::ConnectSession],
            "the attempt is remembered; it makes no connection",
            &["auth.failed"],
        ),
        Kind::UserReauth => row(
            "the old user and the new one",
            &[Row::Connection, Row::AuthEvent],
            "both ids are one connection from then on, with its history",
            &["connection.connected", "connection.reconnected", "connection.merged", "connection.scopes_changed"],
        ),
        Kind::Deauth => ended(kind, "the user"),
        Kind::AccessRevoked => ended(kind, "the user, who took the permission back at the provider"),
        Kind::ConnectionError => row(
            "the user",
            &[Row::Connection, Row::AuthEvent],
            "degraded, until data or an `auth` arrives; its data stay",
            &["connection.degraded", "connection.scopes_changed"],
        ),
        Kind::PermissionChange => row(
            "the user with all scopes, those added and those removed",
            &[Row::Connection, Row::AuthEvent],
            "the scopes are those of greatest order",
            &["connection.scopes_changed"],
        ),
        Kind::Activity => record(kind, "workouts", MERGED_OR_DELETED, true),
        Kind::Sleep => data("nights and naps"),
        Kind::Daily => record(kind, "days", MERGED_OR_DELETED, true),
        Kind::Body => data("measurements of the body, by day"),
        Kind::Nutrition => data("meals and drinks, by day"),
        Kind::Menstruation => data("cycles, by day"),
        Kind::Athlete => data("the profile, one per connection"),
        Kind::PlannedWorkout => data("planned workouts"),
        Kind::Hormone => data("hormone tests, by time"),
        Kind::HealthObservation => data("symptoms and other observations"),
        Kind::LabReportCompleted => report(kind, "one report, the person by reference alone"),
        Kind::LabReportFailed => report(kind, "why a report could not be read"),
        Kind::LargeRequestProcessing => announced(kind, "the reference of a large request"),
        Kind::LargeRequestSending => announced(kind, "the same, and how many payloads will come"),
        Kind::S3Payload => row(
            "a link that lives for minutes; also spelt `s3_upload`",
            &[],
            "downloaded at once and processed as the event that lies there; what is gone is asked for again",
            &[],
        ),
        Kind::Processing => row("a request that takes longer", &[], INFORMATIONAL, &[]),
        Kind::RateLimitHit => row("a request that the provider put off", &[], INFORMATIONAL, &[]),
        Kind::Healthcheck => row("Terra's numbers about our endpoint", &[], INFORMATIONAL, &[]),
        Kind::GoogleNoDatasource => row("a user without a source of data", &[], INFORMATIONAL, &[]),
        Kind::Other => row(
            "whatever Terra invents next",
            &[Row::Drift],
            "kept in the ledger with its bytes, counted, and reported as drift",
            &[],
        ),
    }
}

fn record(kind: Kind, carries: &'static str, then: &'static str, may_be_deleted: bool) -> Effects {
    let mut tells = vec![format!("{}.upserted", kind.label())];
    tells.extend(may_be_deleted.then(|| format!("{}.deleted", kind.label())));
    tells.extend(OF_CONNECTION.map(str::to_owned));
    Effects { event: kind.label(), carries, rows: &OF_DATA, then, tells }
}

fn ended(kind: Kind, carries: &'static str) -> Effects {
    Effects {
        event: kind.label(),
        carries,
        rows: &[Row::Connection, Row::AuthEvent],
        then: "revoked; its data stay",
        tells: ["connection.revoked", "connection.scopes_changed"].map(str::to_owned).into(),
    }
}

fn report(kind: Kind, carries: &'static str) -> Effects {
    Effects {
        event: kind.label(),
        carries,
        rows: &OF_DATA,
        then: "belongs to an alias of its own, `lab-report:<reference>`; a failure never replaces a report. \
               The older `lab_report` is either, by its status",
        tells: vec!["lab_report.upserted".to_owned()],
    }
}

fn announced(kind: Kind, carries: &'static str) -> Effects {
    Effects {
        event: kind.label(),
        carries,
        rows: &[Row::Backfill],
        then: "accounted for: what stays away is asked for again",
        tells: Vec::new(),
    }
}

/// The table of all events, as Markdown.
pub fn table() -> String {
    let mut lines = vec!["| Terra's event | carries | rows | and then | may tell |".to_owned()];
    lines.push("|---|---|---|---|---|".to_owned());
    for kind in Kind::ALL {
        let Effects { event, carries, rows, then, tells } = effects(kind);
        let rows = rows.iter().map(|row| row.label()).collect::<Vec<_>>().join(", ");
        let tells = tells.iter().map(|tells| format!("`{tells}`")).collect::<Vec<_>>().join(", ");
        let event = if kind == Kind::Other { "any other".to_owned() } else { format!("`{event}`") };
        let or_none = |text: String| if text.is_empty() { "–".to_owned() } else { text };
        lines.push(format!("| {event} | {carries} | {} | {then} | {} |", or_none(rows), or_none(tells)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
