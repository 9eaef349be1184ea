//! Usage: what Terra delivered is counted with its effects, each delivery once.

use adapters::store::{Applied, FetchAsk, FetchFilter, Store, UsageBy, UsageFilter, UsageTotals, UsageView};
use domain::fetch::{Budget, Pace, Reaction};
use domain::usage::Tally;
use jiff::civil::{Date, date};
use serde_json::json;

use super::support::{
    activities, activity, apply, apply_one, at, auth, auth_of_new, everything, item, reauth, sent, stored, user,
};

const MONTH: Date = date(2026, 3, 1);

async fn listed(store: &dyn Store, by: UsageBy, above: u64) -> Vec<UsageView> {
    store.usage(&UsageFilter { month: MONTH, by, above }, &everything()).await.unwrap().items
}

async fn totals(store: &dyn Store, free: u64) -> UsageTotals {
    store.usage_totals(MONTH, free).await.unwrap()
}

async fn of_kind(store: &dyn Store, kind: &str) -> Option<Tally> {
    let rows = listed(store, UsageBy::Kind, 0).await;
    rows.into_iter().find(|row| row.kind.as_deref() == Some(kind)).map(|row| row.tally)
}

pub(crate) async fn a_delivery_is_counted_once_however_often_it_is_handed_out(store: &dyn Store) {
    let first = sent(activity(user("u", Some("ann")), "run", 1.0), 10);
    let bytes = first.body.to_string().len() as u64;
    assert_eq!(apply_one(store, &first).await, stored(1));
    for _ in 0..3 {
        // The queue lost our acknowledgement: the same delivery, not sent again by Terra.
        assert_eq!(apply_one(store, &first).await, Applied::AlreadyProcessed);
    }
    assert_eq!(of_kind(store, "activity").await, Some(Tally { deliveries: 1, unchanged: 0, duplicates: 0, bytes }));
    let retry = first.again();
    apply(store, &[&retry, &retry]).await;
    apply_one(store, &retry).await;
    let counted = of_kind(store, "activity").await;
    assert_eq!(counted, Some(Tally { deliveries: 1, unchanged: 0, duplicates: 1, bytes: 2 * bytes }));
}

pub(crate) async fn what_is_kept_without_effects_is_counted_once(store: &dyn Store) {
    let strange = sent(json!({ "type": "activity", "data": [] }), 10);
    apply(store, &[&strange, &strange]).await;
    apply_one(store, &strange).await;
    assert_eq!(of_kind(store, "activity").await.unwrap().deliveries, 1);
    let rows = listed(store, UsageBy::Connection, 0).await;
    assert_eq!((rows.len(), rows[0].connection), (1, None), "it names nobody");
    let totals = totals(store, 0).await;
    assert_eq!((totals.connections, totals.connections_over), (0, 0));
}

pub(crate) async fn data_that_changes_no_record_is_told_apart(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ann"))), 1)).await;
    for (metres, seconds) in [(1.0, 10), (1.0, 20), (2.0, 30), (1.5, 25)] {
        apply_one(store, &sent(activity(user("u", Some("ann")), "run", metres), seconds)).await;
    }
    apply_one(store, &sent(activities(user("u", Some("ann")), vec![]), 40)).await;
    let counted = of_kind(store, "activity").await.unwrap();
    assert_eq!((counted.deliveries, counted.unchanged), (5, 3), "the same, the older and the empty one");
    let lifecycle = of_kind(store, "auth").await.unwrap();
    assert_eq!((lifecycle.deliveries, lifecycle.unchanged), (1, 0), "no data to compare");
}

pub(crate) async fn what_we_asked_for_is_told_from_what_came_by_itself(store: &dyn Store) {
    apply_one(store, &sent(auth_of_new("u", "ann"), 1)).await;
    let ask = FetchAsk {
        now: at(10),
        until: at(70),
        pace: Pace { per_second: 1_000, daily_max: 1_000 },
        budget: Budget::default(),
        limit: 1,
        urgent_only: false,
    };
    let leased = store.lease_fetch_jobs(&ask).await.unwrap().remove(0);
    let accepted = Reaction::Requested { reference: Some("of-ours".into()) };
    assert!(store.finish_fetch(&leased, &accepted, Some(200), at(11)).await.unwrap());
    assert!(!store.fetches(&FetchFilter::default(), &everything()).await.unwrap().items.is_empty());
    let mut asked = sent(activity(user("u", Some("ann")), "old-run", 1.0), 20);
    asked.reference = Some("of-ours".into());
    apply_one(store, &asked).await;
    apply_one(store, &asked.again()).await;
    let mut chunk = sent(activity(user("u", Some("ann")), "older-run", 1.0), 30);
    chunk.trace_id = Some("large:chunk:1".into());
    apply_one(store, &chunk).await;
    apply_one(store, &sent(activity(user("u", Some("ann")), "run", 1.0), 40)).await;
    let row = listed(store, UsageBy::Provider, 0).await.remove(0);
    assert_eq!((row.provider.as_deref(), row.tally.deliveries, row.live), (Some("GARMIN"), 4, 2));
    assert_eq!(row.tally.duplicates, 1);
}

pub(crate) async fn a_connection_over_its_free_events_is_listed(store: &dyn Store) {
    apply_one(store, &sent(auth(user("old", Some("ann"))), 1)).await;
    apply_one(store, &sent(auth(user("new", Some("ann"))), 2)).await;
    apply_one(store, &sent(reauth(user("old", Some("ann")), user("new", Some("ann"))), 3)).await;
    apply_one(store, &sent(auth(user("bob", Some("bob"))), 4)).await;
    for number in 0..4 {
        let whose = if number % 2 == 0 { "old" } else { "new" };
        apply_one(store, &sent(activity(user(whose, Some("ann")), &format!("run-{number}"), 1.0), 10 + number)).await;
    }
    let all = listed(store, UsageBy::Connection, 0).await;
    assert_eq!(all.len(), 2, "two aliases of one person are one connection");
    let over = listed(store, UsageBy::Connection, 5).await;
    assert_eq!(over.len(), 1);
    assert_eq!((over[0].user.as_deref(), over[0].tally.deliveries), (Some("ann"), 7));
    assert_eq!(over[0].terra_user_id.as_deref(), Some("new"), "the current one");
    let totals = totals(store, 5).await;
    assert_eq!((totals.connections, totals.connections_over, totals.events_over), (2, 1, 2));
    assert_eq!(totals.tally.deliveries, 8);
}

pub(crate) async fn usage_pages_without_gap_or_repetition(store: &dyn Store) {
    for number in 0..5 {
        apply_one(store, &sent(auth(user(&format!("u{number}"), Some(&format!("p{number}")))), number)).await;
    }
    let mut body = activity(user("u0", Some("p0")), "s", 1.0);
    for kind in ["sleep", "daily", "body"] {
        body["type"] = json!(kind);
        apply_one(store, &sent(body.clone(), 20)).await;
    }
    apply_one(store, &sent(json!({ "type": "healthcheck" }), 30)).await;
    for (by, expected) in [(UsageBy::Connection, 6), (UsageBy::Kind, 5), (UsageBy::Provider, 2)] {
        let filter = UsageFilter { month: MONTH, by, above: 0 };
        let mut places = Vec::new();
        let mut page = adapters::store::Page { after: None, limit: 2 };
        loop {
            let listing = store.usage(&filter, &page).await.unwrap();
            places.extend(listing.items.iter().map(|row| (row.connection, row.place.clone())));
            match listing.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(places.len(), expected, "{by:?}: {places:?}");
        assert_eq!(places.iter().collect::<std::collections::BTreeSet<_>>().len(), expected, "{by:?}");
    }
}

pub(crate) async fn batches_side_by_side_lose_no_count(store: &dyn Store) {
    apply_one(store, &sent(auth(user("u", Some("ann"))), 1)).await;
    let batches = (0..8).map(|batch| async move {
        for number in 0..5 {
            let body = activities(user("u", Some("ann")), vec![item(&format!("{batch}-{number}"), 1.0)]);
            apply_one(store, &sent(body, 10 + batch)).await;
        }
    });
    futures_util::future::join_all(batches).await;
    assert_eq!(of_kind(store, "activity").await.unwrap().deliveries, 40);
}

pub(crate) async fn months_are_counted_apart(store: &dyn Store) {
    let month = 31 * super::support::DAY;
    apply_one(store, &sent(activity(user("u", Some("ann")), "march", 1.0), 10)).await;
    apply_one(store, &sent(activity(user("u", Some("ann")), "april", 1.0), month)).await;
    assert_eq!(totals(store, 0).await.tally.deliveries, 1);
    assert_eq!(store.usage_totals(date(2026, 4, 1), 0).await.unwrap().tally.deliveries, 1);
    store.upkeep(at(month * 26), std::time::Duration::from_secs(1)).await.unwrap();
    assert_eq!(totals(store, 0).await.tally.deliveries, 0, "two years later it is forgotten");
    assert_eq!(store.usage_totals(date(2026, 4, 1), 0).await.unwrap().tally.deliveries, 1);
}
