//! Recoveries: kept step by step, so that another process goes on.

use std::collections::BTreeSet;

use adapters::store::{FetchAsk, Store};
use domain::fetch::{self, Budget, FetchJob, FetchOrigin, Pace, Reaction, Window, Wish};
use domain::id::AliasKey;
use domain::recover::{Missed, MissedState, Pause, Progress, Recovery, RecoveryId, Step};
use jiff::SignedDuration;
use jiff::civil::date;
use terra::event::DataKind;
use uuid::Uuid;

use super::support::{activity, apply_one, at, auth, environment, everything, sent, user};

fn recovery(seconds: i64) -> Recovery {
    Recovery {
        id: RecoveryId(Uuid::now_v7()),
        environment: Some(environment()),
        from: at(0),
        to: at(3_600),
        kinds: vec!["sleep".into(), "daily".into()],
        dry_run: false,
        actor: "ops".into(),
        requested_at: at(seconds),
        started_at: None,
        finished_at: None,
        step: Step::Queued,
        progress: Progress::default(),
        reason: None,
    }
}

fn missed(number: i64) -> Missed {
    Missed {
        environment: environment(),
        event_id: format!("event-{number}"),
        event_type: "sleep".into(),
        terra_user_id: "u".into(),
        sent_at: at(number),
        state: MissedState::Pending,
        resent_at: None,
        attempts: 0,
    }
}

pub(crate) async fn a_recovery_is_kept_step_by_step(store: &dyn Store) {
    let (mut first, second) = (recovery(1), Recovery { environment: None, kinds: vec![], ..recovery(2) });
    store.write_recovery(&second).await.unwrap();
    store.write_recovery(&first).await.unwrap();
    assert_eq!(store.next_recovery().await.unwrap().unwrap(), first, "the one asked for first");
    first.step = Step::Incomplete;
    first.started_at = Some(at(3));
    first.finished_at = Some(at(4));
    first.progress = Progress {
        pauses: vec![Pause { from: at(5), to: at(6) }],
        unlogged: Some(Pause { from: at(0), to: at(9) }),
        events: 7,
        beyond_reach: [("hormone".to_owned(), 1)].into(),
        ..Progress::default()
    };
    first.reason = Some("why".into());
    store.write_recovery(&first).await.unwrap();
    assert_eq!(store.recovery(first.id).await.unwrap().unwrap(), first);
    assert_eq!(store.next_recovery().await.unwrap().unwrap(), second);
    let listed = store.recoveries(&everything()).await.unwrap().items;
    assert_eq!(listed.len(), 2);
    assert_eq!(store.recovery(RecoveryId(Uuid::nil())).await.unwrap(), None);
}

pub(crate) async fn missed_events_are_kept_once_and_settled_one_by_one(store: &dyn Store) {
    let id = recovery(1).id;
    let three: Vec<Missed> = (1..=3).map(missed).collect();
    store.add_missed(id, &three).await.unwrap();
    let resent = Missed { state: MissedState::Resent, resent_at: Some(at(50)), attempts: 2, ..missed(1) };
    store.settle_missed(id, std::slice::from_ref(&resent)).await.unwrap();
    store.settle_missed(id, &[Missed { state: MissedState::Lost, ..missed(2) }]).await.unwrap();
    store.add_missed(id, &three).await.unwrap();
    assert_eq!(
        store.missed_events(id, MissedState::Resent, 10).await.unwrap(),
        [resent],
        "counted again, kept as it was"
    );
    assert_eq!(store.missed_events(id, MissedState::Pending, 10).await.unwrap(), [missed(3)]);
    let counts: BTreeSet<_> = store.missed_counts(id).await.unwrap().into_iter().collect();
    let expected = [(MissedState::Pending, 1, 0), (MissedState::Resent, 1, 1), (MissedState::Lost, 1, 0)];
    assert_eq!(counts, BTreeSet::from(expected));
    assert!(store.missed_events(RecoveryId(Uuid::nil()), MissedState::Pending, 10).await.unwrap().is_empty());
}

pub(crate) async fn what_was_processed_under_its_trace_id_has_arrived(store: &dyn Store) {
    let event = sent(activity(user("u", Some("ann")), "run", 1.0), 10);
    apply_one(store, &event).await;
    let trace_id = event.trace_id.clone().unwrap();
    let asked = [(environment(), trace_id.clone()), (environment(), "another".to_owned())];
    assert_eq!(store.processed_events(&asked).await.unwrap(), BTreeSet::from([(environment(), trace_id)]));
    assert!(store.processed_events(&[]).await.unwrap().is_empty());
}

pub(crate) async fn requests_of_a_recovery_are_counted_by_their_end(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ann"))), 1)).await;
    let id = recovery(1).id;
    let jobs: Vec<FetchJob> = fetch::jobs(&Wish {
        alias: &AliasKey::new(&environment(), "u"),
        provider: Some("GARMIN"),
        kinds: &[DataKind::Sleep, DataKind::Daily, DataKind::Body],
        days: Window { start: date(2026, 2, 1), end: date(2026, 2, 3) },
        origin: FetchOrigin::Recover,
        cause: b"recovery",
        window_days_max: 28,
    });
    store.add_recovery_jobs(id, &jobs, at(2)).await.unwrap();
    store.add_recovery_jobs(id, &jobs, at(2)).await.unwrap();
    let counts = store.recovery_job_counts(id).await.unwrap();
    assert_eq!((counts.all, counts.open, counts.failed), (3, 3, 0), "a step taken twice asks once");
    let ask = FetchAsk {
        now: at(10),
        until: at(70),
        pace: Pace { per_second: 1_000, daily_max: 1_000 },
        budget: Budget::default(),
        limit: 2,
        urgent_only: false,
    };
    let leased = store.lease_fetch_jobs(&ask).await.unwrap();
    store.finish_fetch(&leased[0], &Reaction::Failed { reason: "not_enabled" }, Some(403), at(11)).await.unwrap();
    store.finish_fetch(&leased[1], &Reaction::Nothing, Some(200), at(11)).await.unwrap();
    let counts = store.recovery_job_counts(id).await.unwrap();
    assert_eq!((counts.all, counts.open, counts.failed), (3, 1, 1));
}

pub(crate) async fn pauses_in_what_was_received_are_found_longest_first(store: &dyn Store) {
    for seconds in [100, 200, 1_000, 1_100, 1_500] {
        apply_one(store, &sent(activity(user("u", Some("ann")), &format!("run-{seconds}"), 1.0), seconds)).await;
    }
    let pauses = store.received_pauses(at(0), at(2_400), SignedDuration::from_secs(300)).await.unwrap();
    let expected =
        [(1_500, 2_400), (200, 1_000), (1_100, 1_500)].map(|(from, to)| Pause { from: at(from), to: at(to) });
    assert_eq!(pauses, expected);
}
