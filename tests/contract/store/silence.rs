//! Silence: rhythms learned with the effects, verdicts kept and told once.

use adapters::store::{Holder, Store};
use domain::silence::{Judgement, Rhythm, USERS_MIN, judge};
use jiff::SignedDuration;
use uuid::Uuid;

use super::support::{DAY, activity, apply, apply_one, at, auth, auth_of_new, deauth, everything, log, sent, user};

const HOUR: i64 = 3_600;
const LOOKER: Holder<'static> = Holder { name: "silence", holder: Uuid::from_u128(7) };

async fn look(store: &dyn Store, now: i64) -> Judgement {
    assert!(store.hold(LOOKER, at(now), at(now + 60)).await.unwrap());
    let judgement = judge(&store.silence_seen(at(now)).await.unwrap(), at(now));
    assert!(store.keep_silence(LOOKER, &judgement, at(now)).await.unwrap());
    judgement
}

async fn look_all(store: &dyn Store, from: i64, to: i64) {
    for now in (from..to).step_by(1_200) {
        look(store, now).await;
    }
}

/// What was told of silence, in order.
async fn told(store: &dyn Store) -> Vec<String> {
    let events = log(store).await.into_iter();
    events
        .filter(|event| ["stale", "fresh", "silent", "resumed"].contains(&event.verb.as_str()))
        .map(|event| format!("{}.{}", event.entity, event.verb))
        .collect()
}

async fn connect(store: &dyn Store, id: &str, seconds: i64) {
    apply_one(store, &sent(auth(user(id, Some(&format!("p-{id}")))), seconds)).await;
}

async fn run(store: &dyn Store, id: &str, seconds: i64) {
    apply_one(store, &sent(activity(user(id, Some(&format!("p-{id}"))), &format!("{id}-{seconds}"), 1.0), seconds))
        .await;
}

pub(crate) async fn a_rhythm_is_learned_from_live_data_alone(store: &dyn Store) {
    apply_one(store, &sent(auth_of_new("u", "p-u"), 0)).await;
    for day in 0..5 {
        run(store, "u", day * DAY).await;
    }
    let again = sent(activity(user("u", Some("p-u")), "u-again", 1.0), 4 * DAY + HOUR);
    apply_one(store, &again).await;
    apply(store, &[&again.again(), &again.again()]).await;
    let mut chunk = sent(activity(user("u", Some("p-u")), "u-old", 1.0), 4 * DAY + 2 * HOUR);
    chunk.trace_id = Some("large:chunk:1".into());
    apply_one(store, &chunk).await;
    let due = store.silence_seen(at(20 * DAY)).await.unwrap();
    assert_eq!(due.channels.len(), 1);
    assert_eq!(due.channels[0].last_at, at(4 * DAY + HOUR), "neither duplicate nor chunk");
    let mut expected = Rhythm::begin(at(0));
    (1..5).for_each(|day| expected.hear(at(day * DAY)));
    expected.hear(at(4 * DAY + HOUR));
    assert_eq!(due.overdue.len(), 1);
    assert_eq!(due.overdue[0].bound.as_secs(), expected.bound().unwrap().as_secs());
    assert_eq!(due.overdue[0].user.as_ref().unwrap().as_str(), "p-u");
}

pub(crate) async fn a_stale_connection_is_told_once_and_once_when_it_is_fresh(store: &dyn Store) {
    for id in ["ann", "bob"] {
        connect(store, id, 0).await;
        for day in 0..5 {
            run(store, id, day * DAY).await;
        }
    }
    look_all(store, 4 * DAY, 5 * DAY).await;
    for day in 5..9 {
        run(store, "bob", day * DAY).await;
        look_all(store, day * DAY + 60, (day + 1) * DAY).await;
    }
    assert_eq!(told(store).await, ["connection.stale"]);
    let stale = store.stale_connections(&everything()).await.unwrap().items;
    assert_eq!(stale.len(), 1);
    assert_eq!((stale[0].user.as_ref().unwrap().as_str(), stale[0].last_data_at), ("p-ann", at(4 * DAY)));
    assert_eq!(store.silences().await.unwrap().stale, [("GARMIN".to_owned(), 1)]);
    run(store, "ann", 9 * DAY).await;
    look(store, 9 * DAY + 60).await;
    look(store, 9 * DAY + 120).await;
    assert_eq!(told(store).await, ["connection.stale", "connection.fresh"]);
    assert!(store.silences().await.unwrap().stale.is_empty());
}

pub(crate) async fn who_left_is_not_stale(store: &dyn Store) {
    connect(store, "ann", 0).await;
    for day in 0..5 {
        run(store, "ann", day * DAY).await;
    }
    look_all(store, 4 * DAY, 7 * DAY).await;
    assert_eq!(told(store).await, ["connection.stale"]);
    apply_one(store, &sent(deauth(user("ann", Some("p-ann"))), 7 * DAY)).await;
    look(store, 7 * DAY + 60).await;
    look(store, 7 * DAY + 120).await;
    assert_eq!(told(store).await, ["connection.stale"], "revoked is told by its own event");
    assert!(store.stale_connections(&everything()).await.unwrap().items.is_empty());
}

/// Enough people of one provider, each with a rhythm, whose deliveries come an hour apart.
async fn crowd(store: &dyn Store, days: i64) {
    for number in 0..i64::try_from(USERS_MIN).unwrap() {
        connect(store, &format!("u{number}"), 0).await;
    }
    for day in 0..days {
        for number in 0..i64::try_from(USERS_MIN).unwrap() {
            run(store, &format!("u{number}"), day * DAY + number * HOUR).await;
            if day > 0 {
                look_all(store, day * DAY + number * HOUR + 60, day * DAY + (number + 1) * HOUR).await;
            }
        }
        look_all(store, day * DAY + i64::try_from(USERS_MIN).unwrap() * HOUR, (day + 1) * DAY).await;
    }
}

pub(crate) async fn a_provider_that_stops_is_silent_and_nobody_is_stale(store: &dyn Store) {
    crowd(store, 5).await;
    assert_eq!(told(store).await, Vec::<String>::new());
    look_all(store, 5 * DAY, 8 * DAY).await;
    assert_eq!(told(store).await, ["provider.silent"], "412 people are no 412 cases");
    let silent = store.silences().await.unwrap().providers;
    assert_eq!(silent.len(), 1);
    assert_eq!((silent[0].channel.provider.as_str(), silent[0].channel.kind.as_str()), ("GARMIN", "activity"));
    assert_eq!((silent[0].users, silent[0].since), (USERS_MIN, at(4 * DAY + 19 * HOUR)));
    for number in 0..i64::try_from(USERS_MIN).unwrap() {
        run(store, &format!("u{number}"), 8 * DAY + number).await;
    }
    look(store, 8 * DAY + 60).await;
    look(store, 8 * DAY + 120).await;
    assert_eq!(told(store).await, ["provider.silent", "provider.resumed"]);
}

pub(crate) async fn verdicts_of_one_who_lost_the_lease_are_not_kept(store: &dyn Store) {
    connect(store, "ann", 0).await;
    for day in 0..5 {
        run(store, "ann", day * DAY).await;
    }
    look(store, 4 * DAY).await;
    let late = judge(&store.silence_seen(at(4 * DAY + 60)).await.unwrap(), at(4 * DAY + 60));
    let other = Holder { name: "silence", holder: Uuid::from_u128(8) };
    assert!(store.hold(other, at(5 * DAY), at(6 * DAY)).await.unwrap());
    assert!(!store.keep_silence(LOOKER, &late, at(5 * DAY)).await.unwrap());
    let watch = store.silence_seen(at(5 * DAY)).await.unwrap().watch.unwrap();
    assert_eq!(watch.checked_at, at(4 * DAY));
    assert!(late.watch.since.duration_since(at(4 * DAY)) <= SignedDuration::ZERO);
}
