//! Fetch jobs: leased within a pace, fenced, once per connect.

use std::time::Duration;

use adapters::store::{FetchAsk, FetchFilter, FetchView, LeasedFetch, Store};
use domain::fetch::{Budget, FetchJob, FetchOrigin, Pace, PauseScope, Reaction, Window};
use domain::id::{AliasKey, BackfillId, Environment, FetchJobId};
use jiff::civil::{Date, date};
use terra::event::DataKind;
use uuid::Uuid;

use super::support::{
    BACKFILL_JOBS, DAY, activity, apply_one, at, auth, auth_of_new, deauth, environment, everything, log, sent, user,
};

const FAST: Pace = Pace { per_second: 1_000, daily_max: 100_000 };

/// The first day of February 2026, or of a month long after it: days that are no neighbours.
fn job(id: &str, number: i8) -> FetchJob {
    let start = date(2026, 2, 1).checked_add(jiff::Span::new().days(40 * (i64::from(number) - 1))).unwrap();
    FetchJob {
        id: FetchJobId(Uuid::now_v7()),
        alias: AliasKey::new(&environment(), id),
        provider: Some("GARMIN".into()),
        kind: DataKind::Activity,
        window: Window { start, end: start.tomorrow().unwrap() },
        attempts: 0,
        backfill: BackfillId(Uuid::now_v7()),
        origin: FetchOrigin::Connect,
        gap: None,
    }
}

fn ask(seconds: i64, pace: Pace, limit: u32) -> FetchAsk {
    let (now, until) = (at(seconds), at(seconds + 60));
    FetchAsk { now, until, pace, budget: Budget::default(), limit, urgent_only: false }
}

async fn enqueue(store: &dyn Store, count: i8) {
    let jobs: Vec<FetchJob> = (1..=count).map(|day| job("u", day)).collect();
    store.enqueue_fetches(&jobs, at(0)).await.unwrap();
}

async fn lease(store: &dyn Store, seconds: i64) -> Vec<LeasedFetch> {
    store.lease_fetch_jobs(&ask(seconds, FAST, 100)).await.unwrap()
}

async fn fetches(store: &dyn Store) -> Vec<FetchView> {
    store.fetches(&FetchFilter::default(), &everything()).await.unwrap().items
}

pub(crate) async fn a_clock_a_day_ahead_keeps_no_request_for_a_day(store: &dyn Store) {
    enqueue(store, 1).await;
    assert_eq!(lease(store, DAY).await.len(), 1);
    assert_eq!(lease(store, 10).await, [], "hidden by a clock that is wrong");
    store.upkeep(at(20), Duration::from_secs(14 * 86_400)).await.unwrap();
    assert_eq!(lease(store, 21).await.len(), 1);
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
    let take = async |seconds: i64| {
        store.lease_fetch_jobs(&FetchAsk { until: at(seconds + 600), ..ask(seconds, pace, 100) }).await.unwrap().len()
    };
    assert_eq!(take(1).await, 3);
    assert_eq!(take(1).await, 0);
    assert_eq!(take(2).await, 3);
    assert_eq!(take(10).await, 1, "the day's allowance is used up");
    assert_eq!(take(20).await, 0);
    assert_eq!(take(13 * 3_600).await, 3, "a new day");
}

pub(crate) async fn fetchers_side_by_side_lease_different_jobs(store: &dyn Store) {
    enqueue(store, 20).await;
    let ask = ask(1, FAST, 4);
    let leases = (0..5).map(|_| store.lease_fetch_jobs(&ask));
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
        Reaction::Inline { bytes: 7 },
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
    for seconds in [100, 50] {
        store.pause_fetches(&environment(), PauseScope::Alias, "u", at(seconds), "resting").await.unwrap();
    }
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
    store.finish_fetch(&leased, &Reaction::Inline { bytes: 7 }, Some(200), at(3)).await.unwrap();
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
    apply_one(store, &sent(activity(user("u", Some("ada")), "walk", 1.0), 30)).await;
    let origins: Vec<_> = log(store).await.iter().map(|event| event.data["origin"].clone()).collect();
    assert_eq!(
        origins,
        ["backfill", "backfill", "live"],
        "a reference is somebody's, perhaps not yet known to be ours"
    );
}

fn of(id: &str, origin: FetchOrigin, window: Window) -> FetchJob {
    FetchJob { origin, window, ..job(id, 1) }
}

fn days(start: Date, days: i64) -> Window {
    Window { start, end: start.checked_add(jiff::Span::new().days(days)).unwrap() }
}

async fn users_in_turn(store: &dyn Store, seconds: i64, limit: u32) -> Vec<String> {
    let leased = store.lease_fetch_jobs(&ask(seconds, FAST, limit)).await.unwrap();
    leased.into_iter().map(|leased| leased.job.alias.terra_user_id.to_string()).collect()
}

pub(crate) async fn what_somebody_waits_for_goes_before_history_and_users_take_turns(store: &dyn Store) {
    let history: Vec<FetchJob> = ["ann", "bob"]
        .into_iter()
        .flat_map(|user| (0..8).map(move |n| of(user, FetchOrigin::Connect, days(date(2025, 1, 1), 400)).number(n)))
        .collect();
    store.enqueue_fetches(&history, at(0)).await.unwrap();
    assert_eq!(users_in_turn(store, 1, 2).await, ["ann", "bob"]);
    store.enqueue_fetches(&[of("cid", FetchOrigin::Reconcile, days(date(2025, 1, 1), 5))], at(2)).await.unwrap();
    store.enqueue_fetches(&[of("dee", FetchOrigin::Request, days(date(2025, 1, 1), 5))], at(3)).await.unwrap();
    let urgent = FetchAsk { urgent_only: true, limit: 1, ..ask(4, FAST, 1) };
    assert_eq!(store.lease_fetch_jobs(&urgent).await.unwrap()[0].job.alias.terra_user_id.as_str(), "dee");
    assert_eq!(store.lease_fetch_jobs(&urgent).await.unwrap(), []);
    let mut next = users_in_turn(store, 5, 4).await;
    next.sort();
    assert_eq!(next, ["ann", "ann", "bob", "bob"]);
    let rest = users_in_turn(store, 6, 100).await;
    assert_eq!(rest.len(), 11);
    assert_eq!(rest.last().map(String::as_str), Some("cid"), "care comes last");
}

trait Numbered {
    fn number(self, number: i64) -> FetchJob;
}

impl Numbered for FetchJob {
    /// The same days of other years: no neighbours.
    fn number(self, number: i64) -> FetchJob {
        let years = |date: Date| date.checked_sub(jiff::Span::new().days(500 * number)).unwrap();
        FetchJob { window: Window { start: years(self.window.start), end: years(self.window.end) }, ..self }
    }
}

pub(crate) async fn no_hour_holds_more_than_the_budget_of_a_user(store: &dyn Store) {
    let years: Vec<FetchJob> =
        (0..6).map(|n| of("u", FetchOrigin::Connect, days(date(2025, 1, 1), 1_800)).number(4 * n)).collect();
    store.enqueue_fetches(&years, at(0)).await.unwrap();
    let first = store.lease_fetch_jobs(&ask(1, FAST, 100)).await.unwrap();
    assert_eq!(first.len(), 3, "5,400 days; a tenth is left for what somebody waits for");
    store.enqueue_fetches(&[of("u", FetchOrigin::Request, days(date(2035, 1, 1), 600))], at(2)).await.unwrap();
    let live = store.lease_fetch_jobs(&ask(3, FAST, 100)).await.unwrap();
    assert_eq!(live.iter().map(|leased| leased.job.origin).collect::<Vec<_>>(), [FetchOrigin::Request]);
    assert_eq!(lease(store, 3).await, []);
    for leased in first.iter().chain(&live) {
        assert!(store.finish_fetch(leased, &Reaction::Nothing, Some(200), at(20)).await.unwrap());
    }
    assert_eq!(lease(store, 3_600).await, []);
    assert_eq!(lease(store, 3_656).await, [], "an hour after the answer, and a little for the clocks");
    assert_eq!(lease(store, 3_657).await.len(), 3);
}

pub(crate) async fn fetchers_side_by_side_share_one_budget(store: &dyn Store) {
    let years: Vec<FetchJob> =
        (0..8).map(|n| of("u", FetchOrigin::Connect, days(date(2025, 1, 1), 1_500)).number(4 * n)).collect();
    store.enqueue_fetches(&years, at(0)).await.unwrap();
    let ask = ask(1, FAST, 2);
    let leases = futures_util::future::join_all((0..6).map(|_| store.lease_fetch_jobs(&ask))).await;
    assert_eq!(leases.into_iter().map(|leased| leased.unwrap().len()).sum::<usize>(), 3);
}

pub(crate) async fn a_provider_that_fails_for_two_people_rests_for_all_of_its_own(store: &dyn Store) {
    let fitbit = |id: &str| FetchJob { provider: Some("fitbit".into()), ..job(id, 1) };
    store.enqueue_fetches(&[fitbit("a"), fitbit("b"), fitbit("c"), job("g", 1)], at(0)).await.unwrap();
    let down = Reaction::BackOff { at: at(5), at_least: None, reason: "provider_failed", is_try: true };
    let leased = lease(store, 1).await;
    let of = |id: &str| leased.iter().find(|leased| leased.job.alias.terra_user_id.as_str() == id).unwrap();
    assert!(store.finish_fetch(of("a"), &down, Some(424), at(2)).await.unwrap());
    assert!(store.finish_fetch(of("b"), &down, Some(424), at(3)).await.unwrap());
    store.enqueue_fetches(&[fitbit("d"), job("h", 1)], at(4)).await.unwrap();
    assert_eq!(users_in_turn(store, 5, 100).await, ["h"], "those queued later rest too");
    // c was under way: it works again.
    assert!(store.finish_fetch(of("c"), &Reaction::Nothing, Some(200), at(6)).await.unwrap());
    let mut due = users_in_turn(store, 20, 100).await;
    due.sort();
    assert_eq!(due, ["a", "b", "d"]);
}

pub(crate) async fn windows_that_overlap_or_adjoin_are_asked_for_once(store: &dyn Store) {
    let wish = |window: Window| of("u", FetchOrigin::Connect, window);
    store.enqueue_fetches(&[wish(days(date(2026, 2, 1), 5))], at(0)).await.unwrap();
    store.enqueue_fetches(&[wish(days(date(2026, 2, 6), 4))], at(0)).await.unwrap();
    store.enqueue_fetches(&[wish(days(date(2026, 2, 3), 4))], at(0)).await.unwrap();
    let urgent = of("u", FetchOrigin::Request, days(date(2026, 2, 8), 5));
    store.enqueue_fetches(std::slice::from_ref(&urgent), at(0)).await.unwrap();
    let leased = lease(store, 1).await;
    assert_eq!(leased.iter().map(|leased| leased.job.window).collect::<Vec<_>>(), [days(date(2026, 2, 1), 12)]);
    assert_eq!(leased[0].job.id, urgent.id);
    let merged = fetches(store).await.into_iter().filter(|view| view.state == "merged").collect::<Vec<_>>();
    assert_eq!(merged.len(), 2);
    assert!(merged.iter().any(|view| view.merged_into == Some(urgent.id)));
    assert!(store.fetch(urgent.id).await.unwrap().is_some_and(|view| view.state == "queued"));
}
