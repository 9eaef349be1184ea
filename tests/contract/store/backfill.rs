//! Backfills: what came of what was asked, in whatever order it comes.

use std::time::Duration;

use adapters::store::view::BackfillView;
use adapters::store::{BackfillFilter, BackfillRound, FetchAsk, LeasedFetch, Store};
use domain::fetch::{self, Budget, FetchJob, FetchOrigin, Pace, Reaction, Window, Wish};
use domain::id::{AliasKey, BackfillId, UserId};
use jiff::Span;
use jiff::civil::{Date, date};
use serde_json::{Value, json};
use terra::event::DataKind;

use super::support::{
    Sent, activities, apply, apply_one, at, auth, auth_of_new, environment, everything, item, log, sent, told, user,
};

const STALL: Duration = Duration::from_secs(600);
const REFERENCE: &str = "terra-ref";
const CHUNKS: u32 = 9;

fn year() -> Window {
    Window { start: date(2025, 1, 1), end: date(2025, 4, 1) }
}

/// One large request of ninety days.
fn wish(cause: &[u8]) -> Vec<FetchJob> {
    fetch::jobs(&Wish {
        alias: &AliasKey::new(&environment(), "u"),
        provider: Some("GARMIN"),
        kinds: &[DataKind::Activity],
        days: year(),
        origin: FetchOrigin::Request,
        cause,
        window_days_max: 93,
    })
}

async fn lease(store: &dyn Store, seconds: i64) -> Vec<LeasedFetch> {
    let pace = Pace { per_second: 1_000, daily_max: 100_000 };
    let (now, until) = (at(seconds), at(seconds + 60));
    let ask = FetchAsk { now, until, pace, budget: Budget::default(), limit: 100, urgent_only: false };
    store.lease_fetch_jobs(&ask).await.unwrap()
}

async fn look(store: &dyn Store, seconds: i64) -> BackfillRound {
    store.settle_backfills(at(seconds), STALL, 100).await.unwrap()
}

async fn show(store: &dyn Store, id: BackfillId, seconds: i64) -> BackfillView {
    store.backfill(id, at(seconds), STALL).await.unwrap().unwrap()
}

fn of_request(body: Value, trace: &str, seconds: i64) -> Sent {
    Sent { trace_id: Some(trace.into()), reference: Some(REFERENCE.into()), ..sent(body, seconds) }
}

fn day(offset: u32) -> Date {
    year().start.checked_add(Span::new().days(i64::from(offset))).unwrap()
}

/// Chunk `number` of nine: ten days each.
fn chunk(number: u32, seconds: i64) -> Sent {
    let record = |offset: u32| {
        let mut record = item(&format!("run-{offset}"), 1.0);
        record["metadata"]["start_time"] = json!(format!("{}T07:00:00.000000+01:00", day(offset)));
        record
    };
    let first = (number - 1) * 10;
    let body = activities(user("u", Some("ada")), (first..first + 10).map(record).collect());
    of_request(body, &format!("{REFERENCE}:chunk:{number}"), seconds)
}

fn processing(seconds: i64) -> Sent {
    let body = json!({ "type": "large_request_processing", "status": "processing", "user": user("u", Some("ada")), "reference": REFERENCE });
    of_request(body, "trace-processing", seconds)
}

fn sending(seconds: i64) -> Sent {
    let body = json!({ "type": "large_request_sending", "user": user("u", Some("ada")), "reference": REFERENCE, "expected_payloads": CHUNKS });
    of_request(body, "trace-sending", seconds)
}

enum Step {
    Answer,
    Say(Sent),
}

async fn run(store: &dyn Store, steps: Vec<Step>) -> BackfillId {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 0)).await;
    let jobs = wish(b"one");
    store.enqueue_fetches(&jobs, at(1)).await.unwrap();
    let leased = lease(store, 2).await.remove(0);
    for step in steps {
        match step {
            Step::Answer => {
                let accepted = Reaction::Requested { reference: Some(REFERENCE.into()) };
                assert!(store.finish_fetch(&leased, &accepted, Some(200), at(3)).await.unwrap());
            }
            Step::Say(sent) => {
                apply_one(store, &sent).await;
            }
        }
        look(store, 20).await;
    }
    look(store, 100).await;
    jobs[0].backfill
}

fn chunks(numbers: impl IntoIterator<Item = u32>) -> impl Iterator<Item = Step> {
    numbers.into_iter().map(|number| Step::Say(chunk(number, 10 + i64::from(number))))
}

#[track_caller]
fn is_whole(view: &BackfillView) {
    assert_eq!((view.state, view.requested, view.expected, view.received), ("complete", 1, 9, 9), "{view:?}");
    assert!(view.bytes > 1_000);
}

pub(crate) async fn chunks_before_their_announcement_count(store: &dyn Store) {
    let mut steps: Vec<Step> = chunks(1..=CHUNKS).collect();
    steps.extend([Step::Say(sending(30)), Step::Say(processing(31)), Step::Answer]);
    is_whole(&show(store, run(store, steps).await, 200).await);
    let completed: Vec<_> = log(store).await.into_iter().filter(|event| event.entity == "backfill").collect();
    assert_eq!(completed.len(), 1);
    assert_eq!((completed[0].verb.as_str(), completed[0].subject.clone()), ("completed", Some(UserId::new("ada"))));
    assert_eq!((&completed[0].data["received"], &completed[0].data["missing"]), (&json!(9), &json!(0)));
}

pub(crate) async fn an_announcement_before_the_answer_counts(store: &dyn Store) {
    let mut steps = vec![Step::Say(processing(5)), Step::Say(sending(6)), Step::Answer];
    steps.extend(chunks((1..=CHUNKS).rev()));
    is_whole(&show(store, run(store, steps).await, 200).await);
}

pub(crate) async fn a_late_duplicate_chunk_changes_nothing(store: &dyn Store) {
    let mut steps = vec![Step::Answer, Step::Say(sending(6))];
    steps.extend(chunks(1..=CHUNKS));
    let id = run(store, steps).await;
    let before = show(store, id, 200).await;
    let events = log(store).await.len();
    for number in [1, 5, 9] {
        apply_one(store, &chunk(number, 300).again()).await;
    }
    apply_one(store, &sending(310).again()).await;
    look(store, 400).await;
    let after = show(store, id, 400).await;
    is_whole(&after);
    assert_eq!((before.bytes, before.settled_at, before.received), (after.bytes, after.settled_at, after.received));
    assert_eq!(log(store).await.len(), events);
}

pub(crate) async fn chunks_of_one_batch_count_one_by_one(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 0)).await;
    let all: Vec<Sent> =
        (1..=CHUNKS).map(|number| chunk(number, 5)).chain([sending(5), processing(5), chunk(3, 5).again()]).collect();
    apply(store, &all.iter().collect::<Vec<_>>()).await;
    let jobs = wish(b"one");
    store.enqueue_fetches(&jobs, at(6)).await.unwrap();
    let leased = lease(store, 7).await.remove(0);
    let accepted = Reaction::Requested { reference: Some(REFERENCE.into()) };
    store.finish_fetch(&leased, &accepted, Some(200), at(8)).await.unwrap();
    assert_eq!(look(store, 9).await, BackfillRound { looked: 1, completed: 1, ..BackfillRound::default() });
    is_whole(&show(store, jobs[0].backfill, 10).await);
}

pub(crate) async fn a_stalled_one_asks_again_for_the_missing_days_alone(store: &dyn Store) {
    let mut steps = vec![Step::Answer, Step::Say(processing(5)), Step::Say(sending(6))];
    steps.extend(chunks((1..=CHUNKS).filter(|number| *number != 4)));
    let id = run(store, steps).await;
    let view = show(store, id, 500).await;
    assert_eq!((view.state, view.expected, view.received, view.missing), ("open", 9, 8, 1));
    assert_eq!(view.stalled_for_seconds, None, "not yet");
    let days = |view: &BackfillView| {
        let days = view.missing_days.as_ref().unwrap();
        days.iter().map(|days| (days.kind.clone(), days.start.clone(), days.end.clone())).collect::<Vec<_>>()
    };
    let hole = [("activity".to_owned(), day(29).to_string(), day(41).to_string())];
    assert_eq!(days(&view), hole);
    assert_eq!(look(store, 618).await.asked_again, 0);
    // Ten minutes after the last chunk. The hole lies in two months.
    let round = look(store, 620).await;
    assert_eq!(round.asked_again, 2);
    let view = show(store, id, 739).await;
    assert_eq!(view.stalled_for_seconds, Some(720));
    let listed = store
        .backfills(
            &BackfillFilter { user: Some(UserId::new("ada")), ..BackfillFilter::default() },
            &everything(),
            at(739),
        )
        .await
        .unwrap();
    assert_eq!((listed.items[0].missing, listed.items[0].stalled_for_seconds), (1, Some(720)));
    let again = lease(store, 740).await;
    let windows: Vec<_> = again.iter().map(|leased| (leased.job.origin, leased.job.window)).collect();
    let window = |start: Date, end: Date| (FetchOrigin::Missing, Window { start, end });
    assert_eq!(windows, [window(date(2025, 2, 1), day(41)), window(day(29), date(2025, 2, 1))]);
    for leased in &again {
        store.finish_fetch(leased, &Reaction::Inline { bytes: 700 }, Some(200), at(745)).await.unwrap();
    }
    assert_eq!(look(store, 800).await.completed, 1);
    let view = show(store, id, 801).await;
    is_whole(&view);
    assert_eq!(days(&view), [], "what was asked for again counts once");
}

pub(crate) async fn a_gap_that_never_comes_ends_incomplete_after_three_rounds(store: &dyn Store) {
    let mut steps = vec![Step::Answer, Step::Say(sending(6))];
    steps.extend(chunks(2..=CHUNKS));
    let id = run(store, steps).await;
    let mut seconds = 700;
    let mut rounds = 0;
    loop {
        let round = look(store, seconds).await;
        for leased in lease(store, seconds + 1).await {
            rounds += 1;
            let refused = Reaction::Failed { reason: "terra_failed" };
            store.finish_fetch(&leased, &refused, Some(500), at(seconds + 2)).await.unwrap();
        }
        seconds += 700;
        if round.incomplete == 1 {
            break;
        }
        assert!(seconds < 10_000, "never gave up");
    }
    assert_eq!(rounds, 3);
    let view = show(store, id, seconds).await;
    assert_eq!((view.state, view.reason.as_deref(), view.missing), ("incomplete", Some("terra_failed"), 1));
    assert_eq!(view.missing_days.unwrap()[0].end, day(11).to_string());
    let told = told(store).await;
    assert!(told.contains(&("backfill.incomplete".to_owned(), Some("ada".to_owned()))), "{told:?}");
    assert!(lease(store, seconds).await.is_empty());
}

pub(crate) async fn a_lost_answer_counts_once(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 0)).await;
    let jobs = wish(b"one");
    store.enqueue_fetches(&jobs, at(1)).await.unwrap();
    // Terra took it, and the answer was lost: its chunks come under a reference that nobody stored.
    let lost = lease(store, 2).await.remove(0);
    for number in 1..=3 {
        let stray = Sent { reference: Some("lost-ref".into()), ..chunk(number, 10) };
        apply_one(store, &Sent { trace_id: Some(format!("lost-ref:chunk:{number}")), ..stray }).await;
    }
    let again = lease(store, 62).await.remove(0);
    assert_eq!(again.job.id, lost.job.id);
    let accepted = |reference: &str| Reaction::Requested { reference: Some(reference.into()) };
    assert!(!store.finish_fetch(&lost, &accepted("lost-ref"), Some(200), at(63)).await.unwrap());
    assert!(store.finish_fetch(&again, &accepted(REFERENCE), Some(200), at(64)).await.unwrap());
    apply_one(store, &sending(65)).await;
    for number in 1..=CHUNKS {
        apply_one(store, &chunk(number, 70)).await;
    }
    look(store, 80).await;
    is_whole(&show(store, jobs[0].backfill, 81).await);
}

pub(crate) async fn ordinary_requests_are_whole_with_their_first_delivery(store: &dyn Store) {
    apply_one(store, &sent(auth_of_new("u", "ada"), 0)).await;
    let leased = lease(store, 2).await;
    let id = leased[0].job.backfill;
    for (index, one) in leased.iter().enumerate() {
        let reaction = match index {
            0 => Reaction::Requested { reference: Some("small".into()) },
            1 => Reaction::Inline { bytes: 50 },
            _ => Reaction::Nothing,
        };
        store.finish_fetch(one, &reaction, Some(200), at(3)).await.unwrap();
    }
    look(store, 4).await;
    let requests = u64::try_from(leased.len()).unwrap();
    let view = show(store, id, 5).await;
    assert_eq!((view.state, view.expected, view.received), ("open", requests, requests - 1));
    assert_eq!(view.origin, "connect");
    let body = activities(user("u", Some("ada")), Vec::new());
    apply_one(store, &Sent { reference: Some("small".into()), ..sent(body, 6) }).await;
    assert_eq!(look(store, 7).await.completed, 1);
    assert_eq!(show(store, id, 8).await.received, requests);
}

pub(crate) async fn a_large_request_that_we_did_not_make_has_an_account_too(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 0)).await;
    apply_one(store, &processing(1)).await;
    for number in 1..=CHUNKS {
        apply_one(store, &chunk(number, 2)).await;
    }
    assert_eq!(look(store, 100).await.looked, 0, "it may be ours: its answer may be on its way");
    apply_one(store, &sending(110)).await;
    assert_eq!(look(store, 125).await.completed, 1);
    let found = store.backfills(&BackfillFilter::default(), &everything(), at(130)).await.unwrap().items;
    assert_eq!((found[0].origin.as_str(), found[0].received, found[0].from.as_deref()), ("terra", 9, None));
}

pub(crate) async fn a_day_that_two_wish_for_completes_both(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ada"))), 0)).await;
    let (first, second) = (wish(b"one"), wish(b"two"));
    store.enqueue_fetches(&first, at(1)).await.unwrap();
    store.enqueue_fetches(&second, at(1)).await.unwrap();
    store.enqueue_fetches(&second, at(1)).await.unwrap();
    let leased = lease(store, 2).await;
    assert_eq!(leased.len(), 1, "asked for once");
    store.finish_fetch(&leased[0], &Reaction::Nothing, Some(200), at(3)).await.unwrap();
    assert_eq!(look(store, 4).await.completed, 2);
}

pub(crate) async fn accounts_go_ninety_days_after_they_were_closed(store: &dyn Store) {
    let mut steps = vec![Step::Answer, Step::Say(sending(6))];
    steps.extend(chunks(1..=CHUNKS));
    let id = run(store, steps).await;
    const DAY: i64 = 86_400;
    let keep = Duration::from_secs(365 * 86_400);
    store.upkeep(at(89 * DAY), keep).await.unwrap();
    is_whole(&show(store, id, 89 * DAY).await);
    store.upkeep(at(91 * DAY), keep).await.unwrap();
    assert!(store.backfill(id, at(91 * DAY), STALL).await.unwrap().is_none());
    assert!(store.fetches(&adapters::store::FetchFilter::default(), &everything()).await.unwrap().items.is_empty());
}
