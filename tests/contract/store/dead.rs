//! Dead letters: their causes, choosing among deliveries, discarding, and what the audit keeps.

use std::collections::BTreeSet;

use adapters::store::{Audit, AuditFilter, DeliveryFilter, LedgerOutcome, Page, Span, Store};
use domain::id::DeliveryId;
use domain::replay::Selection;
use domain::settle::class::{Class, fingerprint};
use serde_json::json;
use terra::event::Kind;

use super::replay::{bury, job};
use super::support::{Sent, activity, apply_one, at, auth, everything, sent, stored, user};

fn dead() -> Selection {
    Selection { outcome: Some("dead".into()), ..Selection::default() }
}

async fn selected(store: &dyn Store, selection: &Selection) -> Vec<DeliveryId> {
    let mut found: Vec<DeliveryId> = Vec::new();
    loop {
        let page = store.select_deliveries(selection, found.last().copied(), None, 2).await.unwrap();
        found.extend(page.iter().map(|one| one.job.delivery.id));
        if page.len() < 2 {
            return found;
        }
    }
}

fn discard_by(actor: &str) -> Audit {
    Audit {
        actor: actor.into(),
        action: "dead.discard",
        subject: "dead_letters".into(),
        detail: json!({ "reason": "test data" }),
    }
}

/// Two people, three causes: [ann's two panics, bob's panic, ann's rule].
async fn four_dead(store: &dyn Store) -> [Sent; 4] {
    let of = |id: &str, name: &str, key: &str, seconds| sent(activity(user(id, Some(name)), key, 1.0), seconds);
    apply_one(store, &sent(auth(user("u", Some("ann"))), 1)).await;
    apply_one(store, &sent(auth(user("v", Some("bob"))), 2)).await;
    let four = [of("u", "ann", "a", 10), of("u", "ann", "b", 20), of("v", "bob", "c", 30), of("u", "ann", "d", 40)];
    for one in &four[..3] {
        bury(store, one, "panicked").await;
    }
    bury(store, &four[3], "rejected:activity_rule").await;
    four
}

pub(crate) async fn dead_letters_are_grouped_by_their_cause(store: &dyn Store) {
    let four = four_dead(store).await;
    let groups = store.dead_groups(&dead(), &everything()).await.unwrap().items;
    assert_eq!(groups.len(), 2, "{groups:?}");
    let panicked = fingerprint("panicked", Kind::Activity);
    let group = groups.iter().find(|group| group.fingerprint == panicked).unwrap();
    assert_eq!((group.deliveries, group.users, group.class.as_deref()), (3, 2, Some("poison")));
    assert_eq!((group.first_seen, group.last_seen, group.sample), (at(10), at(30), four[2].id));
    assert_eq!((group.reason.as_deref(), group.type_name.as_deref()), (Some("panicked"), Some("activity")));
    let of_bob = Selection { user: Some("bob".into()), ..dead() };
    assert_eq!(store.dead_groups(&of_bob, &everything()).await.unwrap().items[0].deliveries, 1);
    let first = store.dead_groups(&dead(), &Page { after: None, limit: 1 }).await.unwrap();
    let second = store.dead_groups(&dead(), &Page { after: first.next.clone(), limit: 1 }).await.unwrap();
    let pages: BTreeSet<String> =
        first.items.iter().chain(&second.items).map(|group| group.fingerprint.clone()).collect();
    assert_eq!((pages.len(), second.next), (2, None));

    let list = async |filter: DeliveryFilter| {
        let items = store.deliveries(&filter, &everything()).await.unwrap().items;
        items.iter().map(|view| view.id).collect::<Vec<_>>()
    };
    let of_class = DeliveryFilter { class: Some(Class::Contract), ..Default::default() };
    assert_eq!(list(of_class).await, [four[3].id]);
    let of_cause =
        DeliveryFilter { fingerprint: Some(panicked), outcome: Some(LedgerOutcome::Dead), ..Default::default() };
    assert_eq!(list(of_cause).await, [four[2].id, four[1].id, four[0].id]);
    let span = Span { from: Some(at(20)), to: Some(at(30)) };
    assert_eq!(list(DeliveryFilter { span, ..Default::default() }).await, [four[1].id]);
}

pub(crate) async fn deliveries_are_chosen_by_what_they_are(store: &dyn Store) {
    let four = four_dead(store).await;
    let [first, .., ride] = &four;
    let ids = |these: &[&Sent]| these.iter().map(|sent| sent.id).collect::<Vec<_>>();
    let all: Vec<DeliveryId> = ids(&four.iter().collect::<Vec<_>>());
    assert_eq!(selected(store, &dead()).await, all);
    assert_eq!(selected(store, &Selection::default()).await.len(), 6, "two were processed");
    let with = |change: fn(&mut Selection)| {
        let mut selection = dead();
        change(&mut selection);
        selection
    };
    assert_eq!(selected(store, &with(|one| one.user = Some("bob".into()))).await, ids(&[&four[2]]));
    assert_eq!(selected(store, &with(|one| one.terra_user_id = Some("v".into()))).await, ids(&[&four[2]]));
    assert_eq!(selected(store, &with(|one| one.provider = Some("GARMIN".into()))).await, all);
    assert_eq!(selected(store, &with(|one| one.provider = Some("OURA".into()))).await, []);
    assert_eq!(selected(store, &with(|one| one.class = Some(Class::Contract))).await, ids(&[ride]));
    assert_eq!(selected(store, &with(|one| one.type_name = Some("sleep".into()))).await, []);
    assert_eq!(selected(store, &with(|one| one.environment = Some("default".into()))).await, all);
    assert_eq!(selected(store, &with(|one| one.from = Some(at(30)))).await, ids(&[&four[2], ride]));
    assert_eq!(selected(store, &with(|one| one.to = Some(at(20)))).await, ids(&[first]));
    let of_trace = Selection { trace_id: first.trace_id.clone(), ..Selection::default() };
    assert_eq!(selected(store, &of_trace).await, ids(&[first]));
    let of_cause = Selection { fingerprint: Some(fingerprint("panicked", Kind::Activity)), ..Selection::default() };
    assert_eq!(selected(store, &of_cause).await, ids(&[&four[0], &four[1], &four[2]]));
    let named = Selection { ids: vec![ride.id, first.id, DeliveryId(uuid::Uuid::now_v7())], ..Selection::default() };
    assert_eq!(selected(store, &named).await, ids(&[first, ride]));
    assert_eq!(store.newest_delivery().await.unwrap(), Some(ride.id), "whenever it says it was received");
    let until = store.select_deliveries(&dead(), None, Some(four[1].id), 10).await.unwrap();
    assert_eq!(until.len(), 2, "nothing that came after it was asked for");
    assert_eq!((until[0].outcome, &until[0].job), (LedgerOutcome::Dead, &job(first)));
    // A duplicate is only chosen by name; a stored payload, whose link is past, never.
    let copy = sent(json!({ "type": "s3_payload", "user": { "user_id": "u" } }), 50);
    bury(store, &copy, "payload_gone").await;
    assert_eq!(selected(store, &dead()).await, all);
    let again = sent(auth(user("u", Some("ann"))), 60);
    apply_one(store, &again).await;
    apply_one(store, &again.again()).await;
    let duplicates = Selection { outcome: Some("duplicate".into()), ..Selection::default() };
    assert_eq!(selected(store, &duplicates).await.len(), 1);
    assert_eq!(selected(store, &Selection::default()).await.len(), 7);
}

pub(crate) async fn discarded_dead_letters_are_none_and_are_remembered(store: &dyn Store) {
    let four = four_dead(store).await;
    let panics = Selection { fingerprint: Some(fingerprint("panicked", Kind::Activity)), ..dead() };
    assert_eq!(store.discard(&panics, "test data", &discard_by("ops"), 2, at(100)).await.unwrap(), 2);
    assert_eq!(store.discard(&panics, "test data", &discard_by("ops"), 2, at(101)).await.unwrap(), 1);
    assert_eq!(store.discard(&panics, "test data", &discard_by("ops"), 2, at(102)).await.unwrap(), 0);
    assert_eq!(store.stats(at(103)).await.unwrap().dead_letters, 1);
    let view = store.delivery(four[0].id).await.unwrap().unwrap();
    assert_eq!((view.outcome, view.reason.as_deref()), (LedgerOutcome::Discarded, Some("panicked")));
    assert_eq!((view.discarded_by.as_deref(), view.discard_reason.as_deref()), (Some("ops"), Some("test data")));
    assert_eq!(store.dead_groups(&dead(), &everything()).await.unwrap().items.len(), 1);
    let listed = DeliveryFilter { outcome: Some(LedgerOutcome::Discarded), ..Default::default() };
    assert_eq!(store.deliveries(&listed, &everything()).await.unwrap().items.len(), 3);
    let audited = store.audits(&AuditFilter::default(), &everything()).await.unwrap().items;
    let counts: Vec<_> = audited.iter().map(|entry| entry.detail["deliveries"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 2], "newest first; what discarded nothing is no decision");
    assert_eq!((audited[0].at, audited[0].actor.as_str()), (at(101), "ops"));
    let only = Selection { ids: vec![four[3].id], ..dead() };
    assert_eq!(store.discard(&only, "one", &discard_by("eve"), 10, at(104)).await.unwrap(), 1);
    // Terra sends it again after all, or a person changes their mind.
    assert_eq!(apply_one(store, &four[3]).await, stored(1));
    let revived = store.delivery(four[3].id).await.unwrap().unwrap();
    assert_eq!((revived.outcome, revived.discarded_by), (LedgerOutcome::Processed, None));
}

pub(crate) async fn the_audit_ends_with_its_time(store: &dyn Store) {
    let entry =
        |subject: &str| Audit { actor: "ops".into(), action: "looked", subject: subject.into(), detail: json!({}) };
    for second in [10, 20, 30] {
        store.audit(&entry(&format!("{second}")), at(second)).await.unwrap();
    }
    let left = async || {
        let left = store.audits(&AuditFilter::default(), &everything()).await.unwrap().items;
        left.into_iter().map(|entry| entry.subject).collect::<Vec<_>>()
    };
    assert_eq!(store.forget_audits(at(10)).await.unwrap(), 0);
    assert_eq!(store.forget_audits(at(30)).await.unwrap(), 2);
    assert_eq!(left().await, ["30"], "what is newer stays");
    assert_eq!(store.forget_audits(at(100)).await.unwrap(), 1);
    assert!(left().await.is_empty());
}

pub(crate) async fn the_audit_pages_newest_first_and_is_filtered(store: &dyn Store) {
    let entry = |actor: &str, action: &'static str, subject: &str| Audit {
        actor: actor.into(),
        action,
        subject: subject.into(),
        detail: json!({ "name\u{0}": "with a NUL" }),
    };
    for (second, one) in
        [entry("ann", "a", "x"), entry("bob", "a", "y"), entry("ann", "b", "x")].into_iter().enumerate()
    {
        store.audit(&one, at(i64::try_from(second).unwrap())).await.unwrap();
    }
    let list = async |filter: AuditFilter| {
        let (mut page, mut found) = (Page { after: None, limit: 1 }, Vec::new());
        loop {
            let listing = store.audits(&filter, &page).await.unwrap();
            found.extend(listing.items.into_iter().map(|view| (view.actor, view.action)));
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return found,
            }
        }
    };
    let pairs = |these: &[(&str, &str)]| these.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();
    assert_eq!(list(AuditFilter::default()).await, pairs(&[("ann", "b"), ("bob", "a"), ("ann", "a")]));
    assert_eq!(list(AuditFilter { actor: Some("bob".into()), ..Default::default() }).await, pairs(&[("bob", "a")]));
    assert_eq!(
        list(AuditFilter { action: Some("a".into()), subject: Some("x".into()), ..Default::default() }).await,
        pairs(&[("ann", "a")])
    );
}
