//! Reconcile: the same state with and without it, whatever arrives when.

use adapters::store::{Page, Prepared, Store};
use domain::id::{ReferenceId, UserId};
use domain::plan::{Context, reconciled};
use domain::reconcile::run::{Counts, Reconcile, State};
use domain::reconcile::{Finding, Known, ReconcileId, Snapshot, bears_out, compare};
use serde_json::Value;
use terra::event::User;
use uuid::Uuid;

use super::support::{activity, apply_one, at, auth, deauth, environment, everything, log, reauth, seal, sent, user};

const HOUR: i64 = 3_600;

/// Six things that happen to one person, an hour apart.
fn story(person: &str) -> Vec<Value> {
    let (old, new) = (format!("{person}-old"), format!("{person}-new"));
    let (old, new) = (user(&old, Some(person)), user(&new, Some(person)));
    vec![
        auth(old.clone()),
        activity(old.clone(), &format!("{person}-1"), 1.0),
        reauth(old.clone(), new.clone()),
        auth(new.clone()),
        activity(new, &format!("{person}-2"), 2.0),
        deauth(old),
    ]
}

/// Whom Terra lists once the first `happened` of the six have happened.
fn listed(person: &str, happened: usize) -> Vec<User> {
    let shown = |id: &str, hour: i64| User {
        user_id: format!("{person}-{id}"),
        provider: Some("GARMIN".into()),
        reference_id: Some(person.into()),
        scopes: Some(vec!["activity".into(), "sleep".into()]),
        active: Some(true),
        created_at: Some(at(hour * HOUR - 60)),
        last_webhook_update: None,
    };
    match happened {
        0 => vec![],
        1 | 2 => vec![shown("old", 0)],
        _ => vec![shown("new", 2)],
    }
}

async fn known(store: &dyn Store, person: &str) -> Vec<Known> {
    store.known_aliases(&environment(), Some(&ReferenceId::new(person)), &everything()).await.unwrap().items
}

/// A whole reconcile of one person, in the middle of the hour after the last thing that happened.
async fn reconcile(store: &dyn Store, person: &str, happened: usize) -> Vec<&'static str> {
    let seconds = i64::try_from(happened).unwrap() * HOUR - HOUR / 2;
    let users = listed(person, happened);
    let snapshot = Snapshot { environment: environment(), started_at: at(seconds), listed_before: None, users };
    let comparison = compare(&snapshot, &known(store, person).await);
    let is_listed = |finding: &Finding| {
        let ids = snapshot.users.iter().map(|user| user.user_id.as_str());
        ids.into_iter().any(|id| id == finding.terra_user_id()).then_some(true)
    };
    let borne_out = comparison.doubtful.into_iter().filter(|finding| bears_out(finding, is_listed(finding)));
    let findings: Vec<Finding> = comparison.findings.into_iter().chain(borne_out).collect();
    let run = ReconcileId(Uuid::now_v7());
    let batch: Vec<Prepared> = findings
        .iter()
        .map(|finding| Prepared {
            plan: reconciled(run, &environment(), finding, at(seconds), &Context::default()),
            body: seal(b""),
            documents: Vec::new(),
            attempt: 1,
            replay: None,
        })
        .collect();
    store.apply(&batch, at(seconds)).await.unwrap();
    findings.iter().map(Finding::label).collect()
}

/// What others see of a person, without ids of ours.
async fn seen(store: &dyn Store, person: &str) -> String {
    let filter = adapters::store::ConnectionFilter { user: Some(UserId::new(person)), ..Default::default() };
    let connections = store.connections(&filter, &everything()).await.unwrap().items;
    let lines: Vec<String> = connections
        .iter()
        .map(|one| {
            format!(
                "{:?} {} {:?} {:?} {:?} {:?}",
                one.status,
                one.terra_user_id.replace(person, ""),
                one.scopes,
                one.connected_at,
                one.last_data_at,
                one.aliases
                    .iter()
                    .map(|alias| (alias.terra_user_id.replace(person, ""), alias.status))
                    .collect::<Vec<_>>()
            )
        })
        .collect();
    lines.join("\n")
}

/// A small generator: its seed is in the person's name.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % limit as u64).unwrap()
    }
}

pub(crate) async fn any_order_with_reconciles_at_any_moment_ends_alike(store: &dyn Store) {
    let mut expected = None;
    for number in 0..40 {
        let person = format!("person{number}");
        let mut dice = Dice(number);
        let mut order: Vec<usize> = (0..6).collect();
        // The first is told in order and without reconcile.
        if number > 0 {
            (1..6).rev().for_each(|place| order.swap(place, dice.up_to(place + 1)));
        }
        let moments: Vec<usize> = (0..dice.up_to(4)).map(|_| dice.up_to(7)).collect();
        let story = story(&person);
        for place in 0..=6 {
            let arrived = order[..place].iter().max().map_or(0, |last| last + 1);
            for _ in moments.iter().filter(|moment| number > 0 && **moment == place) {
                let happened = arrived + dice.up_to(7 - arrived);
                reconcile(store, &person, happened.max(1)).await;
            }
            if let Some(event) = order.get(place) {
                apply_one(store, &sent(story[*event].clone(), i64::try_from(*event).unwrap() * HOUR)).await;
            }
        }
        let end = seen(store, &person).await;
        assert_eq!(*expected.get_or_insert(end.clone()), end, "{person}: {order:?}, reconciles after {moments:?}");
    }
}

pub(crate) async fn a_lost_auth_and_a_lost_deauth_are_made_good(store: &dyn Store) {
    let story = story("ann");
    assert_eq!(reconcile(store, "ann", 1).await, ["opened"]);
    assert_eq!(reconcile(store, "ann", 1).await, Vec::<&str>::new(), "once");
    apply_one(store, &sent(story[1].clone(), HOUR)).await;
    assert_eq!(reconcile(store, "ann", 3).await, ["opened", "gone"], "a re-authentication of which nothing came");
    let told: Vec<(String, Value)> = log(store)
        .await
        .into_iter()
        .filter(|event| event.entity == "connection")
        .map(|event| (event.verb, event.data["origin"].clone()))
        .collect();
    let expected = ["connected", "connected", "revoked"].map(|verb| (verb.to_owned(), Value::from("reconcile")));
    assert_eq!(told, expected);
    let known = known(store, "ann").await;
    assert_eq!(known.len(), 2);
    apply_one(store, &sent(story[2].clone(), 2 * HOUR)).await;
    assert!(self::known(store, "ann").await.iter().any(|known| known.replaced), "now it is known what replaced it");
}

pub(crate) async fn known_aliases_page_by_terra_user(store: &dyn Store) {
    for number in 0..5 {
        apply_one(store, &sent(auth(user(&format!("u{number}"), Some("ann"))), number)).await;
    }
    let mut page = Page { after: None, limit: 2 };
    let mut ids = Vec::new();
    loop {
        let listing = store.known_aliases(&environment(), None, &page).await.unwrap();
        ids.extend(listing.items.into_iter().map(|known| known.alias.key.terra_user_id.to_string()));
        match listing.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(ids, ["u0", "u1", "u2", "u3", "u4"]);
    let nobody = store.known_aliases(&environment(), Some(&ReferenceId::new("bob")), &everything()).await.unwrap();
    assert!(nobody.items.is_empty());
}

pub(crate) async fn runs_wait_in_order_and_keep_what_they_found(store: &dyn Store) {
    let run = |seconds: i64| Reconcile {
        id: ReconcileId(Uuid::now_v7()),
        environment: None,
        reference: None,
        dry_run: false,
        scheduled: true,
        requested_at: at(seconds),
        started_at: None,
        finished_at: None,
        state: State::Queued,
        counts: Counts::default(),
        reason: None,
    };
    let (mut first, second) = (run(1), Reconcile { dry_run: true, scheduled: false, ..run(2) });
    store.write_reconcile(&second).await.unwrap();
    store.write_reconcile(&first).await.unwrap();
    assert_eq!(store.next_reconcile().await.unwrap().unwrap().id, first.id);
    first.state = State::Refused;
    first.started_at = Some(at(3));
    first.finished_at = Some(at(4));
    first.counts = Counts { seen: 7, revoked: 0, ..Counts::default() };
    first.reason = Some("too many".into());
    store.write_reconcile(&first).await.unwrap();
    assert_eq!(store.reconcile(first.id).await.unwrap().unwrap(), first);
    assert_eq!(store.next_reconcile().await.unwrap().unwrap(), second);
    let marks = store.reconcile_marks().await.unwrap();
    assert_eq!((marks.scheduled, marks.listed, marks.refused), (Some(at(1)), Some(at(3)), true));
    let ids: Vec<_> = store.reconciles(&everything()).await.unwrap().items.iter().map(|run| run.id).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.is_sorted_by(|a, b| a.0 > b.0), "newest first");
    assert_eq!(store.reconcile(ReconcileId(Uuid::nil())).await.unwrap(), None);
}
