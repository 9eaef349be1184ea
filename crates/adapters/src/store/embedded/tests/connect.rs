//! Connect sessions and fetch jobs.

use domain::fetch::{Budget, FetchOrigin, Pace, Window};
use domain::id::{AliasKey, BackfillId, FetchJobId, ReferenceId};
use domain::plan;
use jiff::civil::date;

use super::*;

fn session(number: u128, reference: &str, expires: i64) -> ConnectSession {
    ConnectSession {
        id: SessionId(Uuid::from_u128(number)),
        environment: Environment::new("default"),
        user: UserId::new(reference),
        reference: ReferenceId::new(reference),
        state_digest: [number as u8; 32],
        widget_session_id: None,
        widget_url: None,
        success_url: "https://app.example/done".into(),
        failure_url: None,
        created_at: at(0),
        expires_at: at(expires),
        state: SessionState::Pending,
        terra_user_id: None,
        provider: None,
        reason: None,
        returned_at: None,
    }
}

#[tokio::test]
async fn webhook_and_redirect_decide_the_same_session_once() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    let wanted = session(1, "ann", 5_000);
    bench.store.create_session(&wanted).await.unwrap();
    assert_eq!(bench.store.session(wanted.id).await.unwrap(), Some(wanted.clone()));
    bench.store.session_opened(wanted.id, Some("w-1"), "https://widget.example/w-1", at(6_000)).await.unwrap();
    bench.apply(auth("u", Some("ann"), 10)).await;
    let decided = bench.store.session_by_state(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((decided.state, decided.terra_user_id.as_deref()), (SessionState::Connected, Some("u")));
    let jobs = bench.store.stats(at(0)).await.unwrap().fetch_open;
    assert!(jobs > 0, "history is asked for");

    let user = terra::event::User {
        user_id: "u".into(),
        provider: Some("GARMIN".into()),
        reference_id: Some("ann".into()),
        scopes: None,
        active: Some(true),
        created_at: None,
        last_webhook_update: None,
    };
    let context = Context { backfill_days: 28, ..Context::default() };
    let plan = plan::confirmed(wanted.id, &wanted.environment, &user, at(11), &context);
    let body = Sealed(Bytes::new());
    bench.apply(Prepared { plan, body, documents: Vec::new(), attempt: 1, replay: None }).await;
    assert_eq!(bench.store.stats(at(0)).await.unwrap().fetch_open, jobs, "and only once");
    assert!(bench.store.session_returned(wanted.id, at(12)).await.unwrap());
    assert!(!bench.store.session_returned(wanted.id, at(13)).await.unwrap());
    bench.store.session_failed(wanted.id, "late").await.unwrap();
    assert_eq!(bench.store.session(wanted.id).await.unwrap().unwrap().state, SessionState::Connected);
}

#[tokio::test]
async fn an_expired_session_is_not_taken_by_reference() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.store.create_session(&session(1, "ann", 999)).await.unwrap();
    bench.apply(auth("u", Some("ann"), 10)).await;
    let kept = bench.store.session(SessionId(Uuid::from_u128(1))).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.state_at(at(1_000))), (SessionState::Pending, SessionState::Expired));
    assert_eq!(bench.store.stats(at(0)).await.unwrap().fetch_open, 0);
}

fn job(number: u128, alias: &str) -> FetchJob {
    FetchJob {
        id: FetchJobId(Uuid::from_u128(number)),
        alias: AliasKey::new(&Environment::new("default"), alias),
        provider: None,
        kind: DataKind::Daily,
        window: Window { start: date(2026, 1, 1), end: date(2026, 1, 29) },
        attempts: 0,
        backfill: BackfillId(Uuid::from_u128(number)),
        origin: FetchOrigin::Connect,
        gap: None,
    }
}

fn ask(now: i64, until: i64, pace: Pace, limit: u32) -> FetchAsk {
    FetchAsk { now: at(now), until: at(until), pace, budget: Budget::default(), limit, urgent_only: false }
}

const PACE: Pace = Pace { per_second: 100, daily_max: 1_000 };

#[tokio::test]
async fn a_fetcher_that_was_taken_for_dead_changes_nothing() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.store.enqueue_fetches(&[job(1, "u"), job(2, "u")], at(0)).await.unwrap();
    let lease = async |now, until| bench.store.lease_fetch_jobs(&ask(now, until, PACE, 10)).await.unwrap();
    let slow = lease(10, 20).await;
    assert_eq!(slow.len(), 1, "one open job per alias, kind and window");
    assert!(lease(19, 29).await.is_empty());
    let next = lease(20, 30).await.remove(0);
    let requested = Reaction::Requested { reference: Some("t-1".into()) };
    assert!(!bench.store.finish_fetch(&slow[0], &Reaction::Nothing, Some(404), at(21)).await.unwrap());
    assert!(bench.store.finish_fetch(&next, &requested, Some(200), at(22)).await.unwrap());
    assert!(!bench.store.finish_fetch(&next, &Reaction::Nothing, Some(404), at(23)).await.unwrap());
    let views = bench.store.fetches(&FetchFilter::default(), &Page::default()).await.unwrap().items;
    assert_eq!(
        (views[0].state.as_str(), views[0].reference.as_deref(), views[0].status),
        ("requested", Some("t-1"), Some(200))
    );
}

#[tokio::test]
async fn jobs_of_revoked_aliases_fail_and_a_refused_credential_pauses_the_environment() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    bench.apply(delivery(&json!({ "type": "deauth", "user": user("gone", None) }), 10)).await;
    bench.store.enqueue_fetches(&[job(1, "gone"), job(2, "u"), job(3, "v")], at(0)).await.unwrap();
    let leased = bench.store.lease_fetch_jobs(&ask(20, 30, PACE, 1)).await.unwrap();
    assert_eq!(leased[0].job.alias.terra_user_id.as_str(), "u");
    let failed = FetchFilter { state: Some("failed".into()), ..FetchFilter::default() };
    let failed = bench.store.fetches(&failed, &Page::default()).await.unwrap().items;
    assert_eq!(failed[0].reason.as_deref(), Some("revoked"));

    let pause = Reaction::PauseEnvironment { until: at(300) };
    assert!(bench.store.finish_fetch(&leased[0], &pause, Some(401), at(21)).await.unwrap());
    assert!(bench.store.lease_fetch_jobs(&ask(299, 310, PACE, 10)).await.unwrap().is_empty());
    assert_eq!(bench.store.lease_fetch_jobs(&ask(300, 310, PACE, 10)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_pace_bounds_what_is_leased() {
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    let jobs: Vec<FetchJob> = (0..9).map(|number| job(number, &format!("u{number}"))).collect();
    bench.store.enqueue_fetches(&jobs, at(0)).await.unwrap();
    let pace = Pace { per_second: 2, daily_max: 3 };
    let counts = async |now| bench.store.lease_fetch_jobs(&ask(now, 10_000, pace, 10)).await.unwrap().len();
    assert_eq!([counts(100).await, counts(100).await, counts(101).await, counts(102).await], [2, 0, 1, 0]);
}
