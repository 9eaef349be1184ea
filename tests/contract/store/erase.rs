//! Erasures: what is left of a person in every table, what comes afterwards, and what runs at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use adapters::payloads::Sealed;
use adapters::queue::Job;
use adapters::store::{
    Applied, ConnectionFilter, FetchAsk, FetchFilter, LedgerOutcome, Nameless, Prepared, Recorded, ReferencePolicy,
    RetryOf, Store, UsageFilter,
};
use domain::erasure::{Cause, Erasure, ErasureId, Sought, State, Whom, Wish};
use domain::fetch::{Budget, FetchJob, FetchOrigin, Pace, PauseScope, Window};
use domain::id::{AliasKey, BackfillId, ConnectionId, FetchJobId, ReferenceId, SessionId, UserId};
use domain::plan::{Context, confirmed};
use domain::reconcile::ReconcileId;
use domain::reconcile::run::{Counts, Reconcile, State as ReconcileState};
use domain::recover::{Missed, MissedState, RecoveryId};
use domain::session::{ConnectSession, SessionState};
use domain::settle::Settlement;
use jiff::Timestamp;
use jiff::civil::date;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use terra::event::{DataKind, Event};
use uuid::Uuid;

use super::support::{
    DAY, Sandbox, Sent, activity, apply, apply_one, at, auth, auth_of_new, deauth, environment, everything, line, log,
    reauth, seal, seen_by, sent, told, user,
};
use super::tables::holding;
#[cfg(feature = "services")]
use crate::harness::eventually;

macro_rules! on_both {
    ($($case:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(super::Sandbox::embedded(super::ReferencePolicy::IsTheUser).await).await })+
        }
        #[cfg(feature = "services")]
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(super::Sandbox::postgres(super::ReferencePolicy::IsTheUser).await).await })+
        }
    };
}

on_both!(
    one_of_a_thousand_is_erased_from_every_table_and_nobody_else,
    no_delivery_that_races_an_erasure_leaves_a_row,
    what_comes_for_an_erased_person_is_dropped_and_counted,
    whoever_worked_for_a_person_while_they_were_erased_leaves_nothing,
    an_erasure_goes_on_where_it_was_stopped,
    who_comes_back_through_our_own_page_is_let_in,
    who_was_tied_to_an_erased_person_is_concluded_anew,
    a_late_re_authentication_takes_the_new_id_along,
    only_what_was_closed_goes_with_a_closed_connection,
    a_delivery_that_names_nobody_goes_with_whom_it_is_about_and_with_nobody_else,
    what_an_overwritten_or_erased_row_pointed_to_is_let_go_of,
    what_a_try_left_that_took_no_effect_is_let_go_of,
    what_was_erased_before_costs_no_later_erasure_anything,
);

const ANN: &str = "canary-person-ann";

fn wish(user: &str) -> Wish {
    let whom = Whom::User { user: UserId::new(user), environments: vec![environment()] };
    Wish { id: ErasureId(Uuid::now_v7()), whom, cause: Cause::Request, actor: "ops".into() }
}

async fn begin(store: &dyn Store, user: &str, seconds: i64) -> Erasure {
    store.begin_erasure(&wish(user), at(seconds)).await.unwrap().unwrap()
}

/// Everything after the beginning, with a Terra that agrees.
async fn finish(store: &dyn Store, id: ErasureId, seconds: i64) -> Erasure {
    loop {
        while store.erase_some(id, 7, at(seconds)).await.unwrap() {}
        let targets = store.erasure_targets(id).await.unwrap();
        search(store, id, seconds).await;
        store.told(id, &targets).await.unwrap();
        let mut erasure = store.erasure(id).await.unwrap().unwrap();
        if erasure.state == State::Erasing {
            erasure.state = State::Telling;
            store.write_erasure(&erasure).await.unwrap();
        }
        erasure.state = State::Done;
        erasure.finished_at = Some(at(seconds));
        store.write_erasure(&erasure).await.unwrap();
        let kept = store.erasure(id).await.unwrap().unwrap();
        if kept.state == State::Done {
            assert!(store.erasure_targets(id).await.unwrap().is_empty());
            return kept;
        }
    }
}

/// As the shell does: deliveries that name nobody in their row are opened.
async fn search(store: &dyn Store, id: ErasureId, seconds: i64) {
    let erasure = store.erasure(id).await.unwrap().unwrap();
    let sought = Sought::new(&store.erasure_targets(id).await.unwrap(), erasure.requested_at);
    let mut after = None;
    loop {
        let page = store.nameless_deliveries(after, 3).await.unwrap();
        let Some(last) = page.last() else { return };
        after = Some(last.id);
        let is_in = |one: &&Nameless| sought.is_in(&one.environment, one.delivery.as_ref(), &one.body.0.slice(1..));
        let found: Vec<_> = page.iter().filter(is_in).collect();
        let found: Vec<_> = found.into_iter().map(|one| (one.id, one.received_at)).collect();
        store.forget_deliveries(&found, at(seconds)).await.unwrap();
    }
}

fn job_of(sent: &Sent) -> Job {
    Job { delivery: sent.delivery(), body: seal(sent.body.to_string().as_bytes()) }
}

fn fetch_of(id: &str, number: i8) -> FetchJob {
    FetchJob {
        id: FetchJobId(Uuid::now_v7()),
        alias: AliasKey::new(&environment(), id),
        provider: Some("GARMIN".into()),
        kind: DataKind::Sleep,
        window: Window { start: date(2026, 1, number), end: date(2026, 1, number + 1) },
        attempts: 0,
        backfill: BackfillId(Uuid::now_v7()),
        origin: FetchOrigin::Request,
        gap: None,
    }
}

fn missed(id: &str) -> Missed {
    Missed {
        environment: environment(),
        event_id: format!("{id}-event"),
        event_type: "sleep".into(),
        terra_user_id: id.into(),
        sent_at: at(5),
        state: MissedState::Pending,
        resent_at: None,
        attempts: 0,
    }
}

/// One of Terra's kinds with everything private in it.
fn private(kind: &str, id: &str, reference: &str) -> Value {
    let value = format!("{reference}-value");
    let metadata = json!({ "summary_id": format!("{id}-{kind}"), "start_time": "2026-02-03T07:00:00.000000+01:00", "end_time": "2026-02-03T08:00:00.000000+01:00", "name": value, "upload_type": 1 });
    let item = json!({ "metadata": metadata, "device_data": { "name": value }, "distance_data": { "summary": { "distance_meters": 918_273.5 } }, "name": value });
    json!({ "type": kind, "user": user(id, Some(reference)), "data": [item] })
}

/// A life with rows in every table that can hold anything of a person.
async fn live(sandbox: &Sandbox, person: &str, seconds: i64) {
    let store = &*sandbox.store;
    let (old, new) = (format!("{person}-old"), format!("{person}-new"));
    let named = |body: Value, offset: i64| {
        let one = sent(body, seconds + offset);
        Sent { trace_id: Some(format!("{person}-trace-{offset}")), ..one }
    };
    apply_one(store, &named(auth_of_new(&old, person), 1)).await;
    for (offset, kind) in [
        "activity",
        "sleep",
        "daily",
        "body",
        "nutrition",
        "menstruation",
        "athlete",
        "planned_workout",
        "hormone",
        "health_observation",
    ]
    .iter()
    .enumerate()
    {
        apply_one(store, &named(private(kind, &old, person), 2 + offset as i64)).await;
    }
    let lab = json!({ "type": "lab_report.completed", "status": "completed", "reference_id": person, "session_id": format!("{person}-lab"), "event_id": format!("{person}-lab-event"), "data": { "results": [{ "name": format!("{person}-value") }] } });
    apply_one(store, &named(lab, 20)).await;
    let failed = json!({ "type": "auth", "status": "error", "reference_id": person, "reason": "cancelled" });
    apply_one(store, &named(failed, 21)).await;
    apply_one(store, &named(reauth(user(&old, Some(person)), user(&new, Some(person))), 22)).await;
    let late =
        Sent { admission: domain::delivery::Admission::Quarantined, ..named(private("sleep", &new, person), 23) };
    apply_one(store, &late).await;
    let duplicate = named(private("sleep", &new, person), 24);
    apply(store, &[&duplicate, &duplicate.again()]).await;
    let announced = json!({ "type": "large_request_sending", "user": user(&new, Some(person)), "reference": format!("{person}-large"), "expected_payloads": 9 });
    apply_one(store, &named(announced, 25)).await;
    let chunk = Sent { reference: Some(format!("{person}-large")), ..named(private("daily", &new, person), 26) };
    apply_one(store, &chunk).await;
    let retry = job_of(&named(private("body", &new, person), 27));
    store.record_failure(&retry, 1, &Settlement::RetryAt(at(DAY)), "panicked", at(seconds)).await.unwrap();
    let dead = job_of(&named(private("body", &new, person), 28));
    let settlement = Settlement::Dead { reason: "panicked".into() };
    store.record_failure(&dead, 12, &settlement, "panicked", at(seconds)).await.unwrap();
    let download = json!({ "type": "s3_payload", "user": user(&new, Some(person)), "url": format!("https://storage.example/{person}") });
    let download = job_of(&named(download, 29));
    store.record_failure(&download, 0, &Settlement::RetryAt(at(DAY)), "waiting", at(seconds)).await.unwrap();
    session(store, person, seconds).await;
    store.quarantine(&[super::quarantine::held_of(&new, seconds)], 1 << 30).await.unwrap();
    let run = super::replay::wanted_of(person, &new, seconds);
    assert!(store.write_replay(&run, None, None, at(seconds)).await.unwrap());
    store.enqueue_fetches(&[fetch_of(&new, 1)], at(seconds)).await.unwrap();
    let ask = FetchAsk {
        now: at(seconds),
        until: at(seconds + 60),
        pace: Pace { per_second: 1_000, daily_max: 100_000 },
        budget: Budget::default(),
        limit: 100,
        urgent_only: false,
    };
    store.lease_fetch_jobs(&ask).await.unwrap();
    store.pause_fetches(&environment(), PauseScope::Alias, &new, at(DAY), "allowance_used_up").await.unwrap();
    let recovery = RecoveryId(Uuid::now_v7());
    store.add_missed(recovery, &[missed(&new)]).await.unwrap();
    store.add_recovery_jobs(recovery, &[fetch_of(&new, 3)], at(seconds)).await.unwrap();
    store.write_reconcile(&reconcile(person)).await.unwrap();
    let connections = store
        .connections(
            &ConnectionFilter { user: Some(UserId::new(person)), ..ConnectionFilter::default() },
            &everything(),
        )
        .await
        .unwrap()
        .items;
    let id = connections.iter().find(|one| one.terra_user_id == new).unwrap().id;
    store.assign(id, &UserId::new(person), "ops", at(seconds)).await.unwrap();
    store.write_audit("ops", "export", person, &json!({}), at(seconds)).await.unwrap();
    log(store).await;
    // One that nobody has numbered yet, and one that is held.
    apply_one(store, &named(private("activity", &new, person), 40)).await;
    apply_one(store, &named(reauth(user(&format!("{person}-unknown"), None), user(&old, Some(person))), 41)).await;
    apply_one(store, &named(activity(user(&format!("{person}-unknown"), None), &format!("{person}-value"), 1.0), 42))
        .await;
    if person == ANN {
        let time = if sandbox.is_embedded() { "0" } else { "now()" };
        let id = if sandbox.is_embedded() { format!("x'{}'", id.0.simple()) } else { format!("'{id}'") };
        sandbox.run(&format!("INSERT INTO connection_silence (connection_id, environment, last_at, bound_ms, told_at) VALUES ({id}, 'default', {time}, 1, {time});")).await;
        let last = format!(
            "INSERT INTO fetch_pause (environment, scope, subject, until, reason, last) VALUES ('default', 'provider', 'GARMIN', {time}, 'provider', '{person}-new');"
        );
        sandbox.run(&last).await;
    }
}

async fn session(store: &dyn Store, person: &str, seconds: i64) -> SessionId {
    let id = SessionId(Uuid::now_v7());
    let session = ConnectSession {
        id,
        environment: environment(),
        user: UserId::new(person),
        reference: ReferenceId::new(person),
        state_digest: Sha256::digest(id.0).into(),
        widget_session_id: None,
        widget_url: Some(format!("https://widget.example/{person}")),
        success_url: "https://app.example/done".into(),
        failure_url: None,
        created_at: at(seconds),
        expires_at: at(seconds + 900),
        state: SessionState::Pending,
        terra_user_id: None,
        provider: None,
        reason: None,
        returned_at: None,
    };
    store.create_session(&session).await.unwrap();
    id
}

fn reconcile(person: &str) -> Reconcile {
    Reconcile {
        id: ReconcileId(Uuid::now_v7()),
        environment: Some(environment()),
        reference: Some(ReferenceId::new(person)),
        dry_run: false,
        scheduled: false,
        requested_at: at(1),
        started_at: None,
        finished_at: Some(at(2)),
        state: ReconcileState::Done,
        counts: Counts::default(),
        reason: None,
    }
}

/// Tables that hold nothing by which a person could be found, and those that an erasure keeps for itself.
const NAME_NOBODY: [&str; 14] = [
    "delivery_default", // PostgreSQL's own part of `delivery`
    "drift",
    "erasure",
    "erasure_target",
    "fetch_allowance",
    "lease",
    "provider_silence",
    "refinery_schema_history",
    "relay",
    "replay_item", // deliveries by our own ids
    "schema_level",
    "silence_watch",
    "tombstone",
    "unneeded_payload",
];

/// Not filled here: what waits in the queue is dropped when it is worked, `resolution` has a test of its own, and a
/// recovery names those who asked for it.
const NOT_FILLED: [&str; 3] = ["queue_job", "resolution", "recovery"];

/// These hold ids of our own, which lead to a person only through rows that are gone.
const BY_ID: [&str; 3] = ["backfill_fetch", "recovery_backfill", "connection_silence"];

async fn one_of_a_thousand_is_erased_from_every_table_and_nobody_else(sandbox: Sandbox) {
    let store = &*sandbox.store;
    let others: Vec<String> = (0..998).map(|number| format!("other-{number}")).collect();
    for some in others.chunks(250) {
        let sent: Vec<Sent> = some
            .iter()
            .flat_map(|name| {
                [sent(auth(user(name, Some(name))), 1), sent(activity(user(name, Some(name)), "run", 5.0), 2)]
            })
            .collect();
        apply(store, &sent.iter().collect::<Vec<_>>()).await;
    }
    live(&sandbox, "bob", 1_000).await;
    let quiet = sandbox.tables().await;
    live(&sandbox, ANN, 2_000).await;

    let before = sandbox.tables().await;
    let bobs = holding(&before, "bob");
    let held = holding(&before, "canary");
    let unfilled: Vec<&String> = before
        .keys()
        .filter(|table| !held.contains_key(*table) && !BY_ID.contains(&table.as_str()))
        .filter(|table| !NAME_NOBODY.contains(&table.as_str()) && !NOT_FILLED.contains(&table.as_str()))
        .filter(|table| !table.starts_with("delivery_"))
        .collect();
    assert!(unfilled.is_empty(), "nothing of ann was in {unfilled:?}: what would an erasure show?");
    let by_id = |tables: &super::tables::Tables| BY_ID.map(|table| tables[table].len());
    assert!(by_id(&before).iter().zip(by_id(&quiet)).all(|(before, quiet)| *before > quiet), "{:?}", by_id(&before));
    let log_before = log(store).await;
    let found = store.erasure_preview(&UserId::new(ANN)).await.unwrap();
    assert!(found.records >= 12 && found.terra_users >= 3 && found.deliveries >= 15 && found.events > 10, "{found:?}");

    let wish = wish(ANN);
    store.begin_erasure(&wish, at(3_000)).await.unwrap().unwrap();
    let done = finish(store, wish.id, 3_001).await;
    assert!(done.progress.records >= found.records && done.progress.deliveries >= found.deliveries, "{done:?}");
    let after = sandbox.tables().await;
    let left = holding(&after, "canary");
    assert_eq!(left, [("event".to_owned(), 1)].into(), "the event that tells the services whom to erase");
    assert_eq!(by_id(&after), by_id(&quiet));
    let receipt = serde_json::to_string(&done.progress).unwrap();
    let audited = |what: &str| after["audit"].iter().any(|row| row.contains(what));
    assert!(audited("export") && audited(&wish.id.to_string()), "who did it stays: {:?}", after["audit"]);
    assert!(!receipt.contains("canary") && !after["tombstone"].is_empty());

    // Nobody else has lost anything, and the log has no gap.
    assert_eq!(holding(&after, "bob"), bobs);
    for name in [&others[0], &others[997]] {
        assert_eq!(seen_by(store, name).await, [("run".to_owned(), 5.0)]);
    }
    let count = |tables: &super::tables::Tables, name: &str| holding(tables, "other-")[name];
    for table in ["alias", "activity", "delivery", "event", "auth_event", "usage"] {
        assert_eq!(count(&after, table), count(&quiet, table), "{table}");
    }
    let log_after = log(store).await;
    assert!(log_after.iter().enumerate().all(|(at, event)| event.position == at as i64 + 1), "a gap in the log");
    for (before, after) in log_before.iter().zip(&log_after) {
        let is_same = before == after;
        let is_blank = after.subject.is_none() && after.data == json!({ "erased": true }) && before.id == after.id;
        assert!(is_same || is_blank, "{before:?} became {after:?}");
    }
    let told = log_after.iter().find(|event| event.verb == "erased").unwrap();
    assert_eq!((told.entity.as_str(), told.subject.as_ref().map(UserId::as_str)), ("user", Some(ANN)));
    assert_eq!(told.data["scope"], "user");

    // A month later the last trace goes too.
    store.upkeep(at(3_000 + 31 * DAY), std::time::Duration::from_secs(14 * 86_400)).await.unwrap();
    assert_eq!(holding(&sandbox.tables().await, "canary"), BTreeMap::new());
    store.close().await;
    if let Some(bytes) = sandbox.bytes_on_disk() {
        let found = bytes.windows(6).filter(|window| *window == b"canary").count();
        assert_eq!(found, 0, "what was deleted is still in the file");
    }
    sandbox.end().await;
}

async fn no_delivery_that_races_an_erasure_leaves_a_row(sandbox: Sandbox) {
    let store = &*sandbox.store;
    for round in 0..6 {
        let (person, id) = (format!("canary-{round}"), format!("canary-user-{round}"));
        apply_one(store, &sent(auth(user(&id, Some(&person))), round * 100)).await;
        let deliveries: Vec<Sent> = (0..24)
            .map(|number| match number % 4 {
                0 => sent(auth(user(&id, Some(&person))), round * 100 + number),
                1 => sent(
                    reauth(user(&id, Some(&person)), user(&format!("{id}-{number}"), Some(&person))),
                    round * 100 + number,
                ),
                2 => sent(private("sleep", &id, &person), round * 100 + number),
                _ => sent(activity(user(&id, Some(&person)), &format!("canary-{number}"), 1.0), round * 100 + number),
            })
            .collect();
        let work = deliveries.chunks(3).map(|batch| async move {
            // A worker tries again for as long as it loses races.
            let prepared: Vec<_> = batch.iter().map(Sent::prepare).collect();
            for _ in 0..50 {
                if store.apply(&prepared, at(round * 100 + 30)).await.is_ok() {
                    return;
                }
            }
            panic!("never applied");
        });
        let erase = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            let erasure = begin(store, &person, round * 100 + 50).await;
            while store.erase_some(erasure.id, 5, at(round * 100 + 51)).await.unwrap() {}
            erasure.id
        };
        let (_, id) = tokio::join!(futures_util::future::join_all(work), erase);
        finish(store, id, round * 100 + 60).await;
    }
    let tables = sandbox.tables().await;
    assert_eq!(holding(&tables, "canary-user"), BTreeMap::new());
    assert_eq!(holding(&tables, "canary"), [("event".to_owned(), 6)].into(), "six people were told of");
    sandbox.end().await;
}

async fn what_comes_for_an_erased_person_is_dropped_and_counted(sandbox: Sandbox) {
    let store = &*sandbox.store;
    apply_one(store, &sent(auth(user("canary-u", Some(ANN))), 10)).await;
    apply_one(store, &sent(activity(user("canary-u", Some(ANN)), "run", 1.0), 20)).await;
    let month = UsageFilter { month: date(2026, 3, 1), by: adapters::store::UsageBy::Kind, above: 0 };
    let billed = async || {
        let usage = store.usage(&month, &everything()).await.unwrap().items;
        usage.iter().map(|one| one.tally.deliveries).sum::<u64>()
    };
    assert_eq!(billed().await, 2);
    let erasure = begin(store, ANN, 100).await;
    finish(store, erasure.id, 101).await;
    assert_eq!(billed().await, 2, "Terra bills it all the same");

    let late = Sent {
        trace_id: Some("canary-trace".into()),
        reference: Some("canary-request".into()),
        ..sent(activity(user("canary-u", Some(ANN)), "late", 9.0), 50)
    };
    let again = sent(auth(user("canary-u", Some(ANN))), 200);
    let unknown = sent(activity(user("canary-unknown", Some(ANN)), "late", 9.0), 60);
    assert_eq!(apply(store, &[&late, &again, &unknown]).await, [Applied::Erased, Applied::Erased, Applied::Erased]);
    assert_eq!(apply_one(store, &late).await, Applied::Erased, "given out again by the queue");
    let row = store.delivery(late.id).await.unwrap().unwrap();
    assert_eq!(
        (row.outcome, row.trace_id, row.reference, row.terra_user_id),
        (LedgerOutcome::Erased, None, None, None)
    );
    assert_eq!((row.type_name.as_deref(), row.rows), (Some("activity"), 0));
    assert_eq!(store.delivery_body(late.id).await.unwrap(), Some(Sealed::nothing()), "no body");
    assert_eq!(billed().await, 5, "each is counted once, under nobody");
    assert_eq!(holding(&sandbox.tables().await, "canary"), [("event".to_owned(), 1)].into());

    // Another connection of the same person is a new one.
    assert_eq!(apply_one(store, &sent(auth(user("fresh", Some(ANN))), 300)).await, Applied::Stored { rows: 0 });
    assert_eq!(
        apply_one(store, &sent(activity(user("fresh", Some(ANN)), "run", 2.0), 301)).await,
        Applied::Stored { rows: 1 }
    );
    assert_eq!(seen_by(store, ANN).await, [("run".to_owned(), 2.0)]);
    assert!(told(store).await.contains(&line("connection.connected", ANN)));
    sandbox.end().await;
}

async fn whoever_worked_for_a_person_while_they_were_erased_leaves_nothing(sandbox: Sandbox) {
    let store = &*sandbox.store;
    apply_one(store, &sent(auth(user("canary-u", Some(ANN))), 10)).await;
    let failing = sent(activity(user("canary-u", Some(ANN)), "run", 1.0), 20);
    let again = Settlement::RetryAt(at(30));
    assert_eq!(store.record_failure(&job_of(&failing), 1, &again, "panicked", at(21)).await.unwrap(), Recorded::Kept);
    let leased = store.lease_retries(RetryOf::Work, at(40), at(100), 10).await.unwrap();
    assert_eq!(leased.len(), 1);
    let erasure = begin(store, ANN, 50).await;
    finish(store, erasure.id, 51).await;
    // All of these had read of the person before.
    let dead = Settlement::Dead { reason: "panicked".into() };
    assert_eq!(store.record_failure(&leased[0].job, 2, &again, "panicked", at(60)).await.unwrap(), Recorded::Erased);
    assert_eq!(store.record_failure(&leased[0].job, 12, &dead, "panicked", at(61)).await.unwrap(), Recorded::Erased);
    store.enqueue_fetches(&[fetch_of("canary-u", 1), fetch_of("bob-u", 1)], at(60)).await.unwrap();
    store.add_missed(RecoveryId(Uuid::now_v7()), &[missed("canary-u")]).await.unwrap();
    store.add_recovery_jobs(RecoveryId(Uuid::now_v7()), &[fetch_of("canary-u", 2)], at(60)).await.unwrap();
    store.pause_fetches(&environment(), PauseScope::Alias, "canary-u", at(900), "allowance_used_up").await.unwrap();
    let fetches = store.fetches(&FetchFilter::default(), &everything()).await.unwrap().items;
    assert_eq!(fetches.iter().map(|one| one.terra_user_id.as_str()).collect::<Vec<_>>(), ["bob-u"]);
    assert_eq!(store.delivery(failing.id).await.unwrap().unwrap().outcome, LedgerOutcome::Erased);
    assert_eq!(store.stats(at(70)).await.unwrap().dead_letters, 0);
    assert_eq!(holding(&sandbox.tables().await, "canary"), [("event".to_owned(), 1)].into());
    sandbox.end().await;
}

async fn an_erasure_goes_on_where_it_was_stopped(sandbox: Sandbox) {
    let store = &*sandbox.store;
    for number in 0..20 {
        apply_one(store, &sent(activity(user("canary-u", Some(ANN)), &format!("run-{number}"), 1.0), number)).await;
    }
    let wish = wish(ANN);
    let begun = store.begin_erasure(&wish, at(100)).await.unwrap().unwrap();
    assert_eq!(seen_by(store, ANN).await, [], "gone from every listing at once");
    assert!(store.erase_some(wish.id, 3, at(101)).await.unwrap());
    // Another process: it knows what is in the store and nothing else.
    let found = store.next_erasure(at(102)).await.unwrap().unwrap();
    assert_eq!((found.id, found.state, found.progress.records), (begun.id, State::Erasing, 3));
    let done = finish(store, found.id, 103).await;
    assert_eq!((done.progress.records, done.progress.deliveries), (20, 20));
    assert_eq!(store.next_erasure(at(DAY)).await.unwrap(), None);
    assert_eq!(store.erasures(&everything()).await.unwrap().items, [done]);
    assert_eq!(store.erasure(ErasureId(Uuid::nil())).await.unwrap(), None);
    sandbox.end().await;
}

async fn confirm(store: &dyn Store, id: &str, now: Timestamp) -> Applied {
    let body = auth(user(id, Some(ANN))).to_string();
    let Ok(Event::AuthSucceeded { user, .. }) = terra::event::decode(body.as_bytes()) else { panic!("no auth") };
    let plan = confirmed(SessionId(Uuid::now_v7()), &environment(), &user, now, &Context::default());
    let prepared = Prepared { plan, body: seal(b""), documents: Vec::new(), attempt: 1, replay: None };
    store.apply(&[prepared], now).await.unwrap().remove(0)
}

async fn who_comes_back_through_our_own_page_is_let_in(sandbox: Sandbox) {
    let store = &*sandbox.store;
    apply_one(store, &sent(auth(user("u", Some(ANN))), 10)).await;
    let erasure = begin(store, ANN, 100).await;
    finish(store, erasure.id, 101).await;
    assert_eq!(confirm(store, "u", at(90)).await, Applied::Erased, "from before the erasure");
    assert_eq!(apply_one(store, &sent(auth(user("u", Some(ANN))), 200)).await, Applied::Erased, "a webhook alone");
    assert_eq!(confirm(store, "u", at(300)).await, Applied::Stored { rows: 0 });
    let between = sent(activity(user("u", Some(ANN)), "between", 1.0), 250);
    let after = sent(activity(user("u", Some(ANN)), "after", 1.0), 310);
    assert_eq!(apply(store, &[&between, &after]).await, [Applied::Erased, Applied::Stored { rows: 1 }]);
    assert_eq!(seen_by(store, ANN).await, [("after".to_owned(), 1.0)]);
    // And may be erased again.
    let erasure = begin(store, ANN, 400).await;
    finish(store, erasure.id, 401).await;
    assert_eq!(seen_by(store, ANN).await, []);
    assert_eq!(apply_one(store, &sent(auth(user("u", Some(ANN))), 500)).await, Applied::Erased);
    sandbox.end().await;
}

async fn who_was_tied_to_an_erased_person_is_concluded_anew(sandbox: Sandbox) {
    let store = &*sandbox.store;
    apply_one(store, &sent(auth(user("canary-u", Some(ANN))), 10)).await;
    apply_one(store, &sent(auth(user("b", Some("bob"))), 11)).await;
    apply_one(store, &sent(reauth(user("canary-u", Some(ANN)), user("b", Some("bob"))), 12)).await;
    apply_one(store, &sent(activity(user("b", Some("bob")), "run", 1.0), 13)).await;
    let status = async || {
        let filter = ConnectionFilter { user: Some(UserId::new("bob")), ..ConnectionFilter::default() };
        store.connections(&filter, &everything()).await.unwrap().items.remove(0).status.label()
    };
    assert_eq!(status().await, "disputed");
    let erasure = begin(store, ANN, 100).await;
    finish(store, erasure.id, 101).await;
    assert_eq!(status().await, "active", "nobody is left to be in dispute with");
    assert!(told(store).await.contains(&line("activity.upserted", "bob")), "what was held goes out");
    assert_eq!(seen_by(store, "bob").await, [("run".to_owned(), 1.0)]);
    assert_eq!(holding(&sandbox.tables().await, "canary"), [("event".to_owned(), 1)].into(), "bob's history too");
    sandbox.end().await;
}

async fn a_late_re_authentication_takes_the_new_id_along(sandbox: Sandbox) {
    let store = &*sandbox.store;
    apply_one(store, &sent(auth(user("canary-a", Some(ANN))), 10)).await;
    apply_one(store, &sent(activity(user("canary-b", None), "run", 1.0), 30)).await;
    let erasure = begin(store, ANN, 100).await;
    finish(store, erasure.id, 101).await;
    let late = sent(reauth(user("canary-a", None), user("canary-b", None)), 20);
    assert_eq!(apply_one(store, &late).await, Applied::Erased);
    let goes_on = store.next_erasure(at(103)).await.unwrap().unwrap();
    assert_eq!((goes_on.id, goes_on.state), (erasure.id, State::Erasing));
    let targets = store.erasure_targets(erasure.id).await.unwrap();
    assert!(targets.iter().any(|target| target.name == "canary-b" && !target.is_told), "Terra is told of it too");
    finish(store, erasure.id, 104).await;
    assert_eq!(apply_one(store, &sent(activity(user("canary-b", None), "new", 1.0), 500)).await, Applied::Erased);
    assert_eq!(holding(&sandbox.tables().await, "canary"), [("event".to_owned(), 1)].into());
    sandbox.end().await;
}

async fn only_what_was_closed_goes_with_a_closed_connection(sandbox: Sandbox) {
    let store = &*sandbox.store;
    for id in ["closed", "open"] {
        apply_one(store, &sent(auth(user(id, Some("ann"))), 10)).await;
        apply_one(store, &sent(activity(user(id, Some("ann")), id, 1.0), 20)).await;
    }
    assert_eq!(store.closed_connections(at(DAY), 10).await.unwrap(), []);
    apply_one(store, &sent(deauth(user("closed", Some("ann"))), 100)).await;
    assert_eq!(store.closed_connections(at(99), 10).await.unwrap(), [], "not for long enough");
    let closed = store.closed_connections(at(100), 10).await.unwrap();
    let filter = ConnectionFilter { terra_user_id: Some("closed".into()), ..ConnectionFilter::default() };
    let connection = store.connections(&filter, &everything()).await.unwrap().items.remove(0).id;
    assert_eq!(closed, [connection]);
    let wish = |id: ConnectionId| Wish { whom: Whom::Connection(id), cause: Cause::Deauth, ..wish("") };
    let begun = wish(connection);
    store.begin_erasure(&begun, at(200)).await.unwrap().unwrap();
    let targets = store.erasure_targets(begun.id).await.unwrap();
    assert!(targets.iter().all(|target| target.is_told), "Terra has nothing of it any more: {targets:?}");
    finish(store, begun.id, 201).await;
    assert_eq!(seen_by(store, "ann").await, [("open".to_owned(), 1.0)]);
    assert_eq!(
        holding(&sandbox.tables().await, "closed"),
        BTreeMap::from([("refinery_schema_history".to_owned(), 0)])
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect()
    );
    let told = log(store).await.into_iter().find(|event| event.verb == "erased").unwrap();
    assert_eq!((told.data["scope"].as_str(), &told.data["connections"]), (Some("connection"), &json!([connection])));
    assert_eq!(store.closed_connections(at(DAY), 10).await.unwrap(), []);
    assert!(store.begin_erasure(&wish(connection), at(300)).await.unwrap().is_none(), "there is none");
    // Back with a new Terra user, under the same reference.
    apply_one(store, &sent(auth(user("new", Some("ann"))), 50)).await;
    assert_eq!(store.connections(&ConnectionFilter::default(), &everything()).await.unwrap().items.len(), 2);
    sandbox.end().await;
}

/// Works a webhook that is kept as it is spelled here.
async fn apply_spelled(store: &dyn Store, body: &str, seconds: i64) -> Sent {
    let sent = sent(serde_json::from_str(body).unwrap(), seconds);
    let prepared = Prepared { body: seal(body.as_bytes()), ..sent.prepare() };
    assert!(matches!(store.apply(&[prepared], at(seconds)).await.unwrap()[..], [Applied::Stored { .. }]), "{body}");
    sent
}

async fn a_delivery_that_names_nobody_goes_with_whom_it_is_about_and_with_nobody_else(sandbox: Sandbox) {
    let store = &*sandbox.store;
    let people = [(ANN, r#""canary\u002dperson-ann""#), ("canary/jörg", r#""canary\/j\u00f6rg""#), ("5", "5")];
    let mut gone = Vec::new();
    for (_, spelled) in people {
        for body in [
            format!(r#"{{"type":"lab_report.completed","reference_id":{spelled},"data":{{"name":"canary-value"}}}}"#),
            format!(r#"{{"type":"auth","status":"error","reference_id":{spelled},"reason":"canary-reason"}}"#),
            format!(r#"{{"type":"s3_payload","reference_id":{spelled},"url":"https://x/canary-url"}}"#),
        ] {
            gone.push(apply_spelled(store, &body, 10).await);
        }
    }
    // Reports that name nobody at all: somebody said whose they are.
    for session in [r#""canary-s""#, "null"] {
        let body =
            format!(r#"{{"type":"lab_report.completed","session_id":{session},"data":{{"name":"canary-value"}}}}"#);
        let sent = apply_spelled(store, &body, 11).await;
        let alias = match session {
            "null" => format!("lab-report:delivery:{}", sent.id),
            _ => "lab-report:session:canary-s".into(),
        };
        gone.push(sent);
        let filter = ConnectionFilter { terra_user_id: Some(alias), ..ConnectionFilter::default() };
        let connection = store.connections(&filter, &everything()).await.unwrap().items.remove(0).id;
        store.assign(connection, &UserId::new(ANN), "ops", at(12)).await.unwrap();
    }
    let mut others = Vec::new();
    for body in [
        r#"{"type":"lab_report.completed","reference_id":"","data":{"of":"nobody"}}"#,
        r#"{"type":"lab_report.completed","reference_id":"bob","session_id":"s","data":{"a":"5","b":5,"c":"unknown"}}"#,
        r#"{"type":"auth","status":"error","reference_id":"bob","reason":"5"}"#,
        r#"{"type":"s3_payload","reference_id":"bob","url":"5"}"#,
        r#"{"type":"never_seen","note":"5","of":"unknown","session_id":"unknown"}"#,
    ] {
        others.push(apply_spelled(store, body, 13).await);
    }

    for (person, _) in people {
        let erasure = begin(store, person, 100).await;
        finish(store, erasure.id, 101).await;
    }
    for sent in &gone {
        assert!(store.delivery(sent.id).await.unwrap().is_none(), "{}", sent.body);
    }
    let tables = sandbox.tables().await;
    assert_eq!(holding(&tables, "canary"), [("event".to_owned(), 2)].into(), "services are told whom to erase");
    for sent in &others {
        assert!(store.delivery(sent.id).await.unwrap().is_some(), "{}", sent.body);
        assert_eq!(apply_one(store, &sent.again()).await, Applied::AlreadyProcessed, "{}", sent.body);
    }
    sandbox.end().await;
}

/// A pointer into the payload store, as a large payload has one.
fn pointer(name: &str) -> adapters::payloads::Sealed {
    let json = json!({ "key": format!("2026-03-01/{name}"), "size": 1, "sha256": "00" }).to_string();
    adapters::payloads::Sealed(bytes::Bytes::from([&[2], json.as_bytes()].concat()))
}

async fn what_an_overwritten_or_erased_row_pointed_to_is_let_go_of(sandbox: Sandbox) {
    let store = &*sandbox.store;
    let large = |name: &str, metres: f64, seconds: i64| {
        let mut prepared = sent(activity(user("u", Some("ann")), "run", metres), seconds).prepare();
        prepared.body = pointer(&format!("{name}-body"));
        prepared.documents = vec![pointer(&format!("{name}-document"))];
        prepared
    };
    let unneeded = async || {
        let found = store.unneeded_payloads(100).await.unwrap();
        let key = |sealed: &adapters::payloads::Sealed| {
            let json: Value = serde_json::from_slice(&sealed.0[1..]).unwrap();
            let key = json["key"].as_str().map(|key| key.trim_start_matches("2026-03-01/"));
            key.unwrap_or("what its tries left").to_owned()
        };
        let keys: BTreeSet<String> = found.iter().map(|(_, sealed)| key(sealed)).collect();
        let numbers: Vec<i64> = found.into_iter().map(|(number, _)| number).collect();
        store.gone(&numbers).await.unwrap();
        assert!(store.unneeded_payloads(100).await.unwrap().is_empty());
        keys
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let first = large("first", 1.0, 10);
    store.apply(std::slice::from_ref(&first), at(10)).await.unwrap();
    assert_eq!(unneeded().await, names(&[]));
    store.apply(std::slice::from_ref(&first), at(11)).await.unwrap();
    assert_eq!(unneeded().await, names(&[]), "given out again by the queue: the record still points to it");
    store.apply(&[large("second", 2.0, 20)], at(20)).await.unwrap();
    assert_eq!(unneeded().await, names(&["first-document"]), "overwritten");
    store.apply(&[large("old", 3.0, 5)], at(21)).await.unwrap();
    assert_eq!(unneeded().await, names(&["old-document"]), "never written");
    let mut duplicate = large("second", 2.0, 20);
    duplicate.documents = vec![pointer("copy-document")];
    store.apply(&[duplicate], at(22)).await.unwrap();
    assert_eq!(unneeded().await, names(&["copy-document"]), "the same again");
    let failed = large("failed", 4.0, 23);
    store.let_go_of_documents(&failed.unneeded_documents()).await.unwrap();
    assert_eq!(unneeded().await, names(&["failed-document"]), "dead: its body stays for a replay");
    let second = large("second", 2.0, 20);
    store.let_go_of_documents(&second.unneeded_documents()).await.unwrap();
    assert_eq!(unneeded().await, names(&[]), "the record points to it");

    let erasure = begin(store, "ann", 100).await;
    finish(store, erasure.id, 101).await;
    let expected = ["first-body", "second-body", "old-body", "second-document"];
    assert!(unneeded().await.is_superset(&names(&expected)));
    assert_eq!(store.apply(&[large("late", 1.0, 30)], at(102)).await.unwrap(), [Applied::Erased]);
    assert_eq!(unneeded().await, names(&["late-body", "late-document"]));
    sandbox.end().await;
}

async fn what_a_try_left_that_took_no_effect_is_let_go_of(sandbox: Sandbox) {
    let store = &*sandbox.store;
    let run_of = |id: &str, seconds: i64| sent(activity(user(id, Some(id)), &format!("{id}-{seconds}"), 1.0), seconds);
    let all_of = |sent: &Sent| Sealed::documents_of(sent.id, sent.delivery().received_at);
    let unneeded = async || {
        let found = store.unneeded_payloads(100).await.unwrap();
        store.gone(&found.iter().map(|(number, _)| *number).collect::<Vec<_>>()).await.unwrap();
        found.into_iter().map(|(_, sealed)| sealed.0.to_vec()).collect::<BTreeSet<_>>()
    };
    let folders = |all: &[&Sent]| all.iter().map(|sent| all_of(sent).0.to_vec()).collect::<BTreeSet<_>>();
    let dead = Settlement::Dead { reason: "crashed".into() };
    let waits = Settlement::RetryAt(at(1_000));
    let keep = Duration::from_secs(14 * 86_400);
    store.upkeep(at(0), keep).await.unwrap();

    let [kept, waiting, ended, late] = [10, 11, 12, 13].map(|seconds| run_of("ann", seconds));
    let [his_kept, his_waiting, his_ended] = [10, 11, 12].map(|seconds| run_of("bob", seconds));
    for one in [&kept, &his_kept] {
        assert_eq!(store.apply(&[one.prepare()], at(20)).await.unwrap(), [Applied::Stored { rows: 1 }]);
    }
    for (one, settlement) in [(&waiting, &waits), (&ended, &dead), (&his_waiting, &waits), (&his_ended, &dead)] {
        store.record_failure(&job_of(one), 1, settlement, "crashed", at(20)).await.unwrap();
    }
    assert_eq!(unneeded().await, folders(&[]));
    let erasure = begin(store, "ann", 100).await;
    finish(store, erasure.id, 101).await;
    assert_eq!(unneeded().await, folders(&[&waiting, &ended]), "of what was kept the records name their documents");
    assert_eq!(store.record_failure(&job_of(&late), 3, &dead, "crashed", at(102)).await.unwrap(), Recorded::Erased);
    assert_eq!(unneeded().await, folders(&[&late]));

    store.upkeep(at(16 * 86_400), keep).await.unwrap();
    assert_eq!(unneeded().await, folders(&[&his_waiting, &his_ended]), "with the retention");
    sandbox.end().await;
}

const BLANKS: i64 = 100_000;

/// The log after years of erasures.
async fn blanks(sandbox: &Sandbox) {
    let (id, numbers, now) = if sandbox.is_embedded() {
        let numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < LAST) SELECT n FROM n";
        ("randomblob(16)", numbers, "0")
    } else {
        ("gen_random_uuid()", "SELECT n FROM generate_series(1, LAST) AS n", "now()")
    };
    let numbers = numbers.replace("LAST", &BLANKS.to_string());
    let held = if sandbox.is_embedded() { "0" } else { "false" };
    sandbox
        .run(&format!(
            "INSERT INTO event (id, position, held, environment, entity, verb, happened_at, data)
             SELECT {id}, 1000000 + n, {held}, 'default', 'activity', 'upserted', {now}, '{{\"erased\":true}}'
               FROM ({numbers}) AS numbers;"
        ))
        .await;
}

async fn what_was_erased_before_costs_no_later_erasure_anything(sandbox: Sandbox) {
    let store = &*sandbox.store;
    apply_one(store, &sent(auth(user("canary-u", Some(ANN))), 10)).await;
    apply_one(store, &sent(activity(user("canary-u", Some(ANN)), "run", 1.0), 20)).await;
    let failed = json!({ "type": "auth", "status": "error", "reference_id": ANN, "reason": "canary" });
    apply_one(store, &sent(failed, 21)).await;
    assert!(told(store).await.contains(&line("auth.failed", ANN)));
    blanks(&sandbox).await;
    let erasure = begin(store, ANN, 100).await;
    let done = finish(store, erasure.id, 101).await;
    assert!(done.progress.events >= 3, "{done:?}");
    store.close().await;
    #[cfg(feature = "services")]
    if let Some(database) = &sandbox.database {
        let client = database.client().await;
        // Each connection reports what it read when it ends, if not before.
        eventually("the store's connections are closed", || async { client.number(OTHERS).await == 0 }).await;
        let read = client.number(EVENTS_READ).await;
        assert!((1..BLANKS / 100).contains(&read), "{read} rows of the log were read");
    }
    assert_eq!(holding(&sandbox.tables().await, "canary"), [("event".to_owned(), 1)].into());
    sandbox.end().await;
}

#[cfg(feature = "services")]
const OTHERS: &str = "
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";

#[cfg(feature = "services")]
const EVENTS_READ: &str = "
SELECT coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'event'";
