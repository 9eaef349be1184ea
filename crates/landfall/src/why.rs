//! Gathers what is known of a person's data of one kind and day; `domain::why` says what it means.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use adapters::store::view::LIMIT_MAX;
use adapters::store::{
    AuthEventFilter, ConnectionView, DayRecord, DeliveryFilter, DeliveryView, FetchFilter, FetchView, Found,
    LedgerOutcome, Page, Store, StoreError,
};
use domain::id::{ConnectionId, EventId, RecordId};
use domain::identity::AliasStatus;
use domain::outgoing::record_event_id;
use domain::why::{
    ConnectionSeen, DeliverySeen, EventSeen, Evidence, Explanation, JobSeen, LogSeen, Outcome, RecordSeen, Verdict,
    explain, overall,
};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde::Serialize;
use terra::event::DataKind;
use tracing::warn;

use crate::config::Config;
use crate::wiring::Ports;

/// Connections of one person that are looked at.
const CONNECTIONS_MAX: u32 = 50;

/// Pages of fetch jobs and of history that are read for one alias.
const PAGES_MAX: usize = 10;

/// Live data comes within two days of its own, whatever the time zone.
const DAYS_BEFORE: i64 = 1;
const DAYS_AFTER: i64 = 3;

/// The trace id of what we read from an answer ourselves begins like this.
const OUR_OWN: &str = "fetch:";

#[derive(Serialize)]
pub(crate) struct Answer {
    user: String,
    #[serde(rename = "type")]
    kind: DataKind,
    date: String,
    verdict: Verdict,
    connections: Vec<OfConnection>,
}

#[derive(Serialize)]
struct OfConnection {
    connection: ConnectionId,
    provider: Option<String>,
    terra_user_id: String,
    #[serde(flatten)]
    explanation: Explanation,
}

/// Explains every connection that is the person's, whatever they are known by.
pub(crate) async fn why(
    ports: &Ports,
    config: &Config,
    user: &str,
    kind: DataKind,
    date: Date,
) -> Result<Answer, StoreError> {
    let environments: Vec<_> = config.environments.iter().map(|environment| environment.name.clone()).collect();
    let mut connections = Vec::new();
    for id in ports.store.named(user, &environments, CONNECTIONS_MAX).await? {
        if let Found::Here(connection) = ports.store.connection(id).await? {
            let evidence = gather(ports, config, &connection, kind, date).await?;
            connections.push(OfConnection {
                connection: connection.id,
                provider: connection.provider.clone(),
                terra_user_id: connection.terra_user_id.clone(),
                explanation: explain(&evidence),
            });
        }
    }
    let explanations: Vec<&Explanation> = connections.iter().map(|one| &one.explanation).collect();
    let verdict = overall(user, &explanations);
    Ok(Answer { user: user.to_owned(), kind, date: date.to_string(), verdict, connections })
}

async fn gather(
    ports: &Ports,
    config: &Config,
    connection: &ConnectionView,
    kind: DataKind,
    date: Date,
) -> Result<Evidence, StoreError> {
    let (store, now) = (&*ports.store, ports.clock.now());
    let serves = {
        let capabilities = ports.capabilities.read().unwrap_or_else(PoisonError::into_inner);
        capabilities.serves(connection.provider.as_deref(), kind)
    };
    let records = store.records_of_day(connection.id, kind, date).await?;
    let jobs = jobs(store, connection, kind, date).await?;
    let rows = deliveries(store, connection, kind).await?;
    let fits = Fits::new(&jobs, &records, date);
    let deliveries: Vec<&DeliveryView> = rows.iter().filter(|row| fits.holds(row)).collect();
    let events = events(store, kind, &deliveries, &records).await?;
    Ok(Evidence {
        kind,
        date,
        now,
        connection: connection_seen(store, connection).await?,
        serves,
        ledger_from: ledger_from(config, now),
        jobs: jobs.into_iter().map(job_seen).collect(),
        log: if deliveries.is_empty() && records.is_empty() {
            own_log(ports, config, connection, kind, date).await
        } else {
            LogSeen::NotAsked
        },
        deliveries: deliveries.into_iter().map(delivery_seen).collect(),
        records: records.into_iter().map(record_seen).collect(),
        events,
    })
}

/// What Terra says it sent, with the answers it got.
async fn own_log(ports: &Ports, config: &Config, connection: &ConnectionView, kind: DataKind, date: Date) -> LogSeen {
    let environment = config.environments.iter().find(|environment| environment.name == connection.environment);
    let credentials = environment.and_then(|environment| environment.credentials.as_ref());
    let (Some(admin), Some(credentials)) = (&ports.admin, credentials) else { return LogSeen::NotAsked };
    let at =
        |days: i64| date.saturating_add(Span::new().days(days)).to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp());
    let (Ok(since), Ok(until)) = (at(-DAYS_BEFORE), at(DAYS_AFTER)) else { return LogSeen::NotAsked };
    let user = &connection.terra_user_id;
    match admin.events_of(&credentials.dev_id, since, until, kind.label(), user).await {
        Ok(page) => {
            let delivered = page.events.iter().filter(|event| event.is_delivered()).count();
            let last = page.events.iter().max_by_key(|event| event.sent_at);
            LogSeen::Asked {
                delivered: u32::try_from(delivered).unwrap_or(u32::MAX),
                failed: u32::try_from(page.events.len() - delivered).unwrap_or(u32::MAX),
                last_status: last.and_then(|event| event.http_status),
            }
        }
        Err(error) => {
            warn!(%error, "Terra's own log did not answer");
            LogSeen::Unreachable
        }
    }
}

fn ledger_from(config: &Config, now: Timestamp) -> Timestamp {
    let kept = SignedDuration::try_from(config.retention_deliveries).unwrap_or(SignedDuration::MAX);
    now.checked_sub(kept).unwrap_or(Timestamp::MIN)
}

async fn connection_seen(store: &dyn Store, connection: &ConnectionView) -> Result<ConnectionSeen, StoreError> {
    let is = |status: AliasStatus| {
        connection
            .aliases
            .iter()
            .any(|alias| alias.terra_user_id == connection.terra_user_id && alias.status == status.label())
    };
    let health = if is(AliasStatus::Revoked) {
        AliasStatus::Revoked
    } else if is(AliasStatus::Degraded) {
        AliasStatus::Degraded
    } else {
        AliasStatus::Active
    };
    let revoked_at = last(store, connection, "deauth").await?.max(last(store, connection, "access_revoked").await?);
    Ok(ConnectionSeen {
        id: connection.id,
        user: connection.user.clone(),
        provider: connection.provider.clone(),
        status: connection.status,
        health,
        terra_user_id: connection.terra_user_id.clone(),
        connected_at: connection.connected_at,
        revoked_at,
        failed_at: last(store, connection, "connection_error").await?,
        scopes: connection.scopes.clone(),
    })
}

/// When this last happened to the current alias.
async fn last(store: &dyn Store, connection: &ConnectionView, kind: &str) -> Result<Option<Timestamp>, StoreError> {
    let filter = AuthEventFilter {
        user: None,
        terra_user_id: Some(connection.terra_user_id.clone()),
        kind: Some(kind.to_owned()),
    };
    let mut page = whole_page();
    let mut last = None;
    for _ in 0..PAGES_MAX {
        let listing = store.auth_events(&filter, &page).await?;
        let here = listing.items.iter().filter(|event| event.environment == connection.environment);
        last = last.max(here.map(|event| event.happened_at).max());
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
    }
    Ok(last)
}

fn whole_page() -> Page {
    Page { after: None, limit: LIMIT_MAX }
}

/// Requests of ours that covered the day. What became part of another request is told by that one.
async fn jobs(
    store: &dyn Store,
    connection: &ConnectionView,
    kind: DataKind,
    date: Date,
) -> Result<Vec<FetchView>, StoreError> {
    let mut found = Vec::new();
    for alias in &connection.aliases {
        let filter = FetchFilter { terra_user_id: Some(alias.terra_user_id.clone()), ..FetchFilter::default() };
        let mut page = whole_page();
        for _ in 0..PAGES_MAX {
            let listing = store.fetches(&filter, &page).await?;
            found.extend(listing.items.into_iter().filter(|job| {
                job.environment == connection.environment && job.merged_into.is_none() && covers(job, kind, date)
            }));
            page.after = listing.next;
            if page.after.is_none() {
                break;
            }
        }
    }
    Ok(found)
}

fn covers(job: &FetchView, kind: DataKind, date: Date) -> bool {
    job.asked().is_some_and(|asked| {
        let has_day = kind == DataKind::Athlete || (asked.days.start <= date && date < asked.days.end);
        asked.kind == kind && has_day
    })
}

/// The newest rows of the ledger of these aliases and this kind, newest first.
async fn deliveries(
    store: &dyn Store,
    connection: &ConnectionView,
    kind: DataKind,
) -> Result<Vec<DeliveryView>, StoreError> {
    let mut rows: Vec<DeliveryView> = Vec::new();
    for alias in &connection.aliases {
        for name in names(kind) {
            let filter = DeliveryFilter {
                type_name: Some((*name).to_owned()),
                terra_user_id: Some(alias.terra_user_id.clone()),
                environment: Some(connection.environment.clone()),
                ..DeliveryFilter::default()
            };
            rows.extend(store.deliveries(&filter, &whole_page()).await?.items);
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    Ok(rows)
}

/// Terra's names of the events that carry a kind.
fn names(kind: DataKind) -> &'static [&'static str] {
    match kind {
        DataKind::LabReport => &["lab_report", "lab_report.completed", "lab_report.failed"],
        DataKind::Activity => &["activity"],
        DataKind::Sleep => &["sleep"],
        DataKind::Daily => &["daily"],
        DataKind::Body => &["body"],
        DataKind::Nutrition => &["nutrition"],
        DataKind::Menstruation => &["menstruation"],
        DataKind::Athlete => &["athlete"],
        DataKind::PlannedWorkout => &["planned_workout"],
        DataKind::Hormone => &["hormone"],
        DataKind::HealthObservation => &["health_observation"],
    }
}

/// Which rows of the ledger have to do with the day. The ledger itself knows no days.
struct Fits {
    from: Timestamp,
    to: Timestamp,
    references: BTreeSet<String>,
    /// An answer of Terra's was read by us.
    was_read: bool,
    /// When records of the day were written.
    written: BTreeSet<i64>,
}

impl Fits {
    fn new(jobs: &[FetchView], records: &[DayRecord], date: Date) -> Fits {
        let at = |date: Date, otherwise| date.to_zoned(TimeZone::UTC).map_or(otherwise, |zoned| zoned.timestamp());
        Fits {
            from: at(date.saturating_sub(Span::new().days(DAYS_BEFORE)), Timestamp::MIN),
            to: at(date.saturating_add(Span::new().days(DAYS_AFTER)), Timestamp::MAX),
            references: jobs.iter().filter_map(|job| job.reference.clone()).collect(),
            was_read: jobs.iter().any(|job| job.state == "done"),
            written: records.iter().map(|record| record.updated_at.as_millisecond()).collect(),
        }
    }

    fn holds(&self, row: &DeliveryView) -> bool {
        let is_ours = row.trace_id.as_deref().is_some_and(|trace_id| trace_id.starts_with(OUR_OWN));
        (self.from..self.to).contains(&row.received_at)
            || row.reference.as_ref().is_some_and(|reference| self.references.contains(reference))
            || (is_ours && self.was_read)
            || self.written.contains(&row.settled_at.as_millisecond())
    }
}

/// An event's id follows from the delivery and the record: found without a search through the log.
async fn events(
    store: &dyn Store,
    kind: DataKind,
    deliveries: &[&DeliveryView],
    records: &[DayRecord],
) -> Result<Vec<EventSeen>, StoreError> {
    let mut possible: Vec<EventId> = Vec::new();
    for record in records {
        for delivery in deliveries.iter().filter(|delivery| delivery.outcome == LedgerOutcome::Processed) {
            let replayed = delivery.replay.map(|run| run.cause(delivery.id));
            for cause in std::iter::once(delivery.id.0).chain(replayed) {
                for verb in ["upserted", "deleted"] {
                    possible.push(record_event_id(cause.as_bytes(), kind.label(), verb, record.id));
                }
            }
        }
    }
    let ids: Vec<RecordId> = records.iter().map(|record| record.id).collect();
    let found = store.events_about(&possible, &ids).await?;
    let seen = found.into_iter().map(|event| EventSeen {
        record: event.record,
        verb: event.verb,
        position: event.position,
        held: event.held,
    });
    Ok(seen.collect())
}

fn job_seen(job: FetchView) -> JobSeen {
    JobSeen {
        id: job.id,
        state: job.state,
        reason: job.reason,
        status: job.status,
        reference: job.reference,
        run_at: job.run_at,
    }
}

fn delivery_seen(row: &DeliveryView) -> DeliverySeen {
    DeliverySeen {
        id: row.id,
        received_at: row.received_at,
        outcome: match row.outcome {
            LedgerOutcome::Processed => Outcome::Processed,
            LedgerOutcome::Duplicate => Outcome::Duplicate,
            // A dropped one names nobody, so nobody's question finds it.
            LedgerOutcome::SetAside | LedgerOutcome::Erased => Outcome::SetAside,
            LedgerOutcome::Quarantined => Outcome::Quarantined,
            LedgerOutcome::Retry => Outcome::Retry,
            LedgerOutcome::Dead | LedgerOutcome::Discarded => Outcome::Dead,
        },
        reason: row.reason.clone(),
        retry_at: row.retry_at,
        unread: row.unread.as_ref().map_or(0, |unread| unread.count),
    }
}

fn record_seen(record: DayRecord) -> RecordSeen {
    RecordSeen {
        id: record.id,
        key: record.key,
        deleted: record.deleted,
        order_inferred: record.order_inferred,
        sent_at: record.sent_at,
        updated_at: record.updated_at,
    }
}
