//! Fetch jobs: leased within a pace, fenced, once per connect.

use adapters::store::{FetchFilter, FetchView, LeasedFetch, Store};
use domain::fetch::{FetchJob, FetchOrigin, Pace, Reaction, Window};
use domain::id::{AliasKey, BackfillId, Environment, FetchJobId};
use jiff::civil::date;
use terra::event::DataKind;
use uuid::Uuid;

use super::support::{
    BACKFILL_JOBS, activity, apply_one, at, auth, auth_of_new, deauth, environment, everything, log, sent, user,
};

const FAST: Pace = Pace { per_second: 1_000, daily_max: 100_000 };

fn job(id: &str, day: i8) -> FetchJob {
    FetchJob {
        id: FetchJobId(Uuid::now_v7()),
        alias: AliasKey::new(&environment(), id),
        provider: Some("GARMIN".into()),
        kind: DataKind::Activity,
        window: Window { start: date(2026, 2, day), end: date(2026, 2, day + 1) },
        attempts: 0,
        backfill: BackfillId(Uuid::now_v7()),
        origin: FetchOrigin::Connect,
    }
}

async fn enqueue(store: &dyn Store, count: i8) {
    let jobs: Vec<FetchJob> = (1..=count).map(|day| job("u", day)).collect();
    store.enqueue_fetches(&jobs, at(0)).await.unwrap();
}

async fn lease(store: &dyn Store, seconds: i64) -> Vec<LeasedFetch> {
    store.lease_fetch_jobs(at(seconds), at(seconds + 60), FAST, 100).await.unwrap()
}

async fn fetches(store: &dyn Store) -> Vec<FetchView> {
    store.fetches(&FetchFilter::default(), &everything()).await.unwrap().items
}

pub(crate) async fn a_fetcher_taken_for_dead_is_fenced_off(store: &dyn Store) {
    enqueue(store, 1).await;
    let first = lease(store, 1).await.remove(0);
    assert_eq!(lease(store, 2).await, [], "hidden while leased");
    let second = lease(store, 61).await.remove(0);
    assert_eq!(first.job, second.job);
    assert!(second.token > first.token);
    assert!(!store.finish_fetch(&first, &Reaction::Nothing, Some(200), at(62)).await.unwrap());
    assert_eq!(fetches(store).await[0].state, "queued");
    let accepted = Reaction::Requested { reference: Some("terra-ref".into()) };
    assert!(store.finish_fetch(&second, &accepted, Some(202), at(63)).await.unwrap());
    assert!(!store.finish_fetch(&second, &Reaction::Nothing, Some(200), at(64)).await.unwrap(), "finished once");
    let kept = &fetches(store).await[0];
    assert_eq!(
        (kept.state.as_str(), kept.reference.as_deref(), kept.status),
        ("requested", Some("terra-ref"), Some(202))
    );
    assert_eq!((kept.start.as_str(), kept.end.as_str()), ("2026-02-01", "2026-02-02"));
}

pub(crate) async fn the_pace_bounds_what_is_leased(store: &dyn Store) {
    enqueue(store, 20).await;
    let pace = Pace { per_second: 3, daily_max: 7 };
    let take =
        async |seconds: i64| store.lease_fetch_jobs(at(seconds), at(seconds + 600), pace, 100).await.unwrap().len();
    assert_eq!(take(1).await, 3);
    assert_eq!(take(1).await, 0);
    assert_eq!(take(2).await, 3);
    assert_eq!(take(10).await, 1, "the day's allowance is used up");
    assert_eq!(take(20).await, 0);
    assert_eq!(take(13 * 3_600).await, 3, "a new day");
}

pub(crate) async fn fetchers_side_by_side_lease_different_jobs(store: &dyn Store) {
    enqueue(store, 20).await;
    let leases = (0..5).map(|_| store.lease_fetch_jobs(at(1), at(60), FAST, 4));
    let mut ids: Vec<_> = futures_util::future::join_all(leases)
        .await
        .into_iter()
        .flat_map(Result::unwrap)
        .map(|leased| leased.job.id)
        .collect();
    let leased = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), leased);
}

pub(crate) async fn each_answer_leaves_its_mark(store: &dyn Store) {
    enqueue(store, 6).await;
    let leased = lease(store, 1).await;
    let reactions = [
        Reaction::Inline,
        Reaction::Nothing,
        Reaction::Wait { until: at(500), reason: "rate_limited" },
        Reaction::Retry { at: at(400), reason: "terra_failed" },
        Reaction::Failed { reason: "bad_request" },
        Reaction::Requested { reference: None },
    ];
    for (leased, reaction) in leased.iter().zip(&reactions) {
        assert!(store.finish_fetch(leased, reaction, Some(200), at(2)).await.unwrap());
    }
    let kept = fetches(store).await;
    let of = |index: usize| kept.iter().find(|view| view.id == leased[index].job.id).unwrap();
    let states: Vec<_> = (0..6).map(|index| of(index).state.as_str()).collect();
    assert_eq!(states, ["done", "nothing", "queued", "queued", "failed", "requested"]);
    assert_eq!((of(2).attempts, of(2).run_at), (0, at(500)), "being asked to wait is no try");
    assert_eq!((of(3).attempts, of(3).run_at), (1, at(400)));
    assert_eq!(of(4).reason.as_deref(), Some("bad_request"));
    assert_eq!(lease(store, 399).await, []);
    assert_eq!(lease(store, 400).await[0].job.attempts, 1);
    assert_eq!(lease(store, 500).await.len(), 2, "the one that waited, and the one whose lease ran out");
}

pub(crate) async fn refused_credentials_pause_their_environment_alone(store: &dyn Store) {
    enqueue(store, 3).await;
    let mut elsewhere = job("u", 1);
    elsewhere.alias = AliasKey::new(&Environment::new("sandbox"), "u");
    let first = lease(store, 1).await.remove(0);
    store.enqueue_fetches(&[elsewhere], at(0)).await.unwrap();
    let pause = Reaction::PauseEnvironment { until: at(300) };
    assert!(store.finish_fetch(&first, &pause, Some(401), at(2)).await.unwrap());
    let due = lease(store, 100).await;
    assert_eq!(due.iter().map(|leased| leased.job.alias.environment.as_str()).collect::<Vec<_>>(), ["sandbox"]);
    assert_eq!(lease(store, 300).await.len(), 4);
}

pub(crate) async fn an_alias_may_be_put_off_alone(store: &dyn Store) {
    store.enqueue_fetches(&[job("u", 1), job("v", 1)], at(0)).await.unwrap();
    store.postpone_fetches(&environment(), Some(&AliasKey::new(&environment(), "u")), at(100)).await.unwrap();
    store.postpone_fetches(&environment(), Some(&AliasKey::new(&environment(), "u")), at(50)).await.unwrap();
    assert_eq!(
        lease(store, 60).await.iter().map(|leased| leased.job.alias.terra_user_id.as_str()).collect::<Vec<_>>(),
        ["v"]
    );
    assert_eq!(lease(store, 100).await.len(), 1);
}

pub(crate) async fn an_open_job_is_not_enqueued_twice(store: &dyn Store) {
    let first = job("u", 1);
    let same_window = FetchJob { id: FetchJobId(Uuid::now_v7()), ..first.clone() };
    store.enqueue_fetches(&[first.clone(), same_window.clone()], at(0)).await.unwrap();
    store.enqueue_fetches(std::slice::from_ref(&same_window), at(1)).await.unwrap();
    assert_eq!(fetches(store).await.len(), 1);
    let leased = lease(store, 2).await.remove(0);
    store.finish_fetch(&leased, &Reaction::Inline, Some(200), at(3)).await.unwrap();
    store.enqueue_fetches(&[FetchJob { id: FetchJobId(Uuid::now_v7()), ..first }], at(4)).await.unwrap();
    assert_eq!(fetches(store).await.len(), 2, "asked for anew once the first is closed");
}

pub(crate) async fn a_new_user_is_backfilled_once(store: &dyn Store) {
    let connect = sent(auth_of_new("u", "ada"), 10);
    apply_one(store, &connect).await;
    assert_eq!(fetches(store).await.len(), BACKFILL_JOBS);
    apply_one(store, &connect.again()).await;
    apply_one(store, &sent(auth_of_new("u", "ada"), 20)).await;
    assert_eq!(fetches(store).await.len(), BACKFILL_JOBS);
    // Gone and back: history is asked for again.
    for leased in lease(store, 25).await {
        store.finish_fetch(&leased, &Reaction::Nothing, Some(200), at(26)).await.unwrap();
    }
    apply_one(store, &sent(deauth(user("u", Some("ada"))), 30)).await;
    apply_one(store, &sent(auth_of_new("u", "ada"), 40)).await;
    assert_eq!(fetches(store).await.len(), 2 * BACKFILL_JOBS);
}

pub(crate) async fn a_user_that_terra_has_long_known_is_not_backfilled(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 10)).await;
    apply_one(store, &sent(auth(user("v", None)), 20)).await;
    assert!(fetches(store).await.is_empty());
}

pub(crate) async fn jobs_of_somebody_who_left_fail_instead_of_being_fetched(store: &dyn Store) {
    apply_one(store, &sent(auth_of_new("u", "ada"), 10)).await;
    apply_one(store, &sent(deauth(user("u", Some("ada"))), 20)).await;
    store.enqueue_fetches(&[job("v", 1)], at(20)).await.unwrap();
    let leased = lease(store, 30).await;
    assert_eq!(leased.iter().map(|leased| leased.job.alias.terra_user_id.as_str()).collect::<Vec<_>>(), ["v"]);
    let failed =
        FetchFilter { terra_user_id: Some("u".into()), state: Some("failed".into()), ..FetchFilter::default() };
    let failed = store.fetches(&failed, &everything()).await.unwrap().items;
    assert_eq!(failed.len(), BACKFILL_JOBS);
    assert!(failed.iter().all(|view| view.reason.as_deref() == Some("revoked")));
}

pub(crate) async fn data_that_we_asked_for_is_told_as_backfill(store: &dyn Store) {
    enqueue(store, 1).await;
    let leased = lease(store, 1).await.remove(0);
    let accepted = Reaction::Requested { reference: Some("terra-ref".into()) };
    store.finish_fetch(&leased, &accepted, Some(202), at(2)).await.unwrap();
    let mut ours = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    ours.reference = Some("terra-ref".into());
    let mut theirs = sent(activity(user("u", Some("ada")), "ride", 1.0), 20);
    theirs.reference = Some("another".into());
    apply_one(store, &ours).await;
    apply_one(store, &theirs).await;
    let origins: Vec<_> = log(store).await.iter().map(|event| event.data["origin"].clone()).collect();
    assert_eq!(origins, ["backfill", "live"]);
}
