//! Any order: the state depends on which deliveries were applied, never on how they arrived.
//!
//! Six deliveries of one person's re-authentication have 720 orders of arrival. Each order gets an environment of its own,
//! so one batch carries one step of all of them: as if each had arrived alone.

use std::collections::BTreeMap;

use adapters::store::{ConnectionFilter, ConnectionView, Page, Prepared, RecordView, Span, Store};
use domain::id::{DeliveryId, Environment, UserId};
use serde_json::{Value, json};
use terra::event::DataKind;
use uuid::Uuid;

use super::support::{Sent, activities, at, auth, deauth, item, metres, reauth, sent, user};

const DELIVERIES: usize = 6;

/// Which deliveries carry the header that orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Always,
    Never,
    /// Of each person, every second one.
    Half,
}

/// Whom the two Terra users say they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum People {
    One,
    /// The old one and the new one name different people.
    Two,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    OneByOne,
    /// All six in one transaction.
    Together,
}

fn permutations() -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for next in 0..DELIVERIES {
        all = all
            .into_iter()
            .flat_map(|one| {
                (0..=next).map(move |place| {
                    let mut longer = one.clone();
                    longer.insert(place, next);
                    longer
                })
            })
            .collect();
    }
    all
}

/// The names of one environment's people.
fn names(environment: &str, people: People) -> (String, String) {
    let first = format!("ada-{environment}");
    let second = if people == People::Two { format!("bob-{environment}") } else { first.clone() };
    (first, second)
}

/// The six, in the order in which they were made.
fn story(environment: &str, header: Header, people: People) -> Vec<Sent> {
    let (first, second) = names(environment, people);
    let old = || user("old", Some(&first));
    let new = || user("new", Some(&second));
    // Data need not name anybody: who it is may be known from the lifecycle alone.
    let bare = |id: &str| {
        if header == Header::Half {
            user(id, None)
        } else if id == "old" {
            old()
        } else {
            new()
        }
    };
    let bodies: [Value; DELIVERIES] = [
        auth(old()),
        activities(bare("old"), vec![item("both", 1.0), item("early", 10.0)]),
        reauth(old(), new()),
        auth(new()),
        activities(bare("new"), vec![item("both", 2.0), item("late", 20.0)]),
        deauth(old()),
    ];
    let mut story = Vec::new();
    for (made, body) in bodies.into_iter().enumerate() {
        let made_at = i64::try_from(made).unwrap() * 10;
        let mut one = sent(body, made_at);
        one.environment = Environment::new(environment);
        one.ordering = (header == Header::Always || header == Header::Half && made % 2 == 0).then_some(made_at);
        story.push(one);
    }
    story
}

/// Puts a story into an order of arrival. With the header even the signed time follows the arrival: these are retries.
fn arranged(mut story: Vec<Sent>, order: &[usize]) -> Vec<Sent> {
    for (place, made) in order.iter().enumerate() {
        let one = &mut story[*made];
        one.id = DeliveryId(Uuid::now_v7());
        one.received = 100 + i64::try_from(place).unwrap();
        if one.ordering.is_some() {
            one.t = one.received;
        }
    }
    order.iter().map(|made| story[*made].clone()).collect()
}

async fn apply_all(store: &dyn Store, sent: impl Iterator<Item = &Sent>) {
    let batch: Vec<Prepared> = sent.map(Sent::prepare).collect();
    store.apply(&batch, at(200)).await.unwrap();
}

/// Everything that readers see, without ids: they are made when something arrives.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    connections: Vec<Value>,
    activities: BTreeMap<&'static str, Vec<Value>>,
}

pub(super) async fn connections_by_environment(store: &dyn Store) -> BTreeMap<String, Vec<ConnectionView>> {
    let mut page = Page { after: None, limit: 1_000 };
    let mut found: BTreeMap<String, Vec<ConnectionView>> = BTreeMap::new();
    loop {
        let listing = store.connections(&ConnectionFilter::default(), &page).await.unwrap();
        for view in listing.items {
            found.entry(view.environment.to_string()).or_default().push(view);
        }
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

async fn listed(store: &dyn Store, user: &str) -> Vec<RecordView> {
    store.records(&UserId::new(user), DataKind::Activity, Span::default(), &Page::default()).await.unwrap().items
}

async fn seen(store: &dyn Store, environment: &str, people: People, connections: &[ConnectionView]) -> Seen {
    let (first, second) = names(environment, people);
    let role = |user: Option<&UserId>| user.map(|user| user.as_str().split('-').next().unwrap_or_default().to_owned());
    let mut seen = Seen::default();
    for view in connections {
        let aliases: BTreeMap<&str, &str> =
            view.aliases.iter().map(|alias| (alias.terra_user_id.as_str(), alias.status)).collect();
        seen.connections.push(json!({
            "user": role(view.user.as_ref()),
            "status": view.status,
            "aliases": aliases,
            "current": view.terra_user_id,
            "provider": view.provider,
            "scopes": view.scopes,
            "connected_at": view.connected_at,
            "last_data_at": view.last_data_at,
        }));
    }
    seen.connections.sort_by_key(Value::to_string);
    for (name, user) in [("first", first), ("second", second)] {
        let mut lines = Vec::new();
        for view in listed(store, &user).await {
            lines.push(json!([view.key, metres(&view), view.terra_user_id, view.order_inferred]));
        }
        lines.sort_by_key(Value::to_string);
        seen.activities.insert(name, lines);
    }
    seen
}

/// Nobody sees what came under the other's Terra user, not even for a moment.
async fn check_apart(store: &dyn Store, environment: &str) {
    let (first, second) = names(environment, People::Two);
    assert!(listed(store, &first).await.iter().all(|view| view.terra_user_id == "old"), "{environment}");
    assert!(listed(store, &second).await.iter().all(|view| view.terra_user_id == "new"), "{environment}");
}

async fn check(store: &dyn Store, header: Header, people: People, arrival: Arrival) {
    let orders = permutations();
    assert_eq!(orders.len(), 720);
    let stories: Vec<Vec<Sent>> = orders
        .iter()
        .enumerate()
        .map(|(index, order)| arranged(story(&format!("e{index}"), header, people), order))
        .collect();
    match arrival {
        Arrival::OneByOne => {
            for step in 0..DELIVERIES {
                apply_all(store, stories.iter().map(|story| &story[step])).await;
                if people == People::Two {
                    for index in (step..orders.len()).step_by(7) {
                        check_apart(store, &format!("e{index}")).await;
                    }
                }
                // What Terra sends twice comes while the rest is still on its way.
                let again: Vec<Sent> =
                    stories.iter().enumerate().map(|(index, story)| story[index % (step + 1)].again()).collect();
                apply_all(store, again.iter()).await;
            }
        }
        Arrival::Together => {
            for some in stories.chunks(40) {
                apply_all(store, some.iter().flatten()).await;
            }
        }
    }
    let again: Vec<Sent> = stories.iter().flatten().map(Sent::again).collect();
    for some in again.chunks(480) {
        apply_all(store, some.iter()).await;
    }
    check_ends(store, &orders, header, people).await;
}

async fn check_ends(store: &dyn Store, orders: &[Vec<usize>], header: Header, people: People) {
    let connections = connections_by_environment(store).await;
    let mut first: Option<Seen> = None;
    for (index, order) in orders.iter().enumerate() {
        let environment = format!("e{index}");
        let seen = seen(store, &environment, people, &connections[&environment]).await;
        match &first {
            None => {
                check_meaning(&seen, people);
                first = Some(seen);
            }
            Some(first) => assert_eq!(first, &seen, "arrival {order:?}, header {header:?}, {people:?}"),
        }
    }
}

fn check_meaning(seen: &Seen, people: People) {
    let lines = |name: &str| {
        seen.activities[name]
            .iter()
            .map(|line| (line[0].as_str().unwrap().to_owned(), line[1].as_f64().unwrap()))
            .collect::<Vec<_>>()
    };
    let expect =
        |lines: &[(&str, f64)]| lines.iter().map(|(key, metres)| ((*key).to_owned(), *metres)).collect::<Vec<_>>();
    match people {
        People::One => {
            assert_eq!(seen.connections.len(), 1, "{seen:?}");
            assert_eq!(seen.connections[0]["status"], json!("active"));
            assert_eq!(seen.connections[0]["current"], json!("new"));
            assert_eq!(seen.connections[0]["aliases"], json!({ "old": "revoked", "new": "active" }));
            assert_eq!(lines("first"), expect(&[("both", 2.0), ("early", 10.0), ("late", 20.0)]));
        }
        People::Two => {
            assert_eq!(seen.connections.len(), 2, "{seen:?}");
            assert!(seen.connections.iter().all(|connection| connection["status"] == json!("disputed")), "{seen:?}");
            assert_eq!(lines("first"), expect(&[("both", 1.0), ("early", 10.0)]));
            assert_eq!(lines("second"), expect(&[("both", 2.0), ("late", 20.0)]));
        }
    }
}

pub(crate) async fn all_orders_end_alike_with_the_ordering_header(store: &dyn Store) {
    check(store, Header::Always, People::One, Arrival::OneByOne).await;
}

pub(crate) async fn all_orders_end_alike_without_the_ordering_header(store: &dyn Store) {
    check(store, Header::Never, People::One, Arrival::OneByOne).await;
}

pub(crate) async fn all_orders_end_alike_with_the_ordering_header_on_half(store: &dyn Store) {
    check(store, Header::Half, People::One, Arrival::OneByOne).await;
}

pub(crate) async fn all_orders_end_alike_as_one_batch(store: &dyn Store) {
    check(store, Header::Always, People::One, Arrival::Together).await;
}

pub(crate) async fn all_orders_end_alike_as_one_batch_with_the_header_on_half(store: &dyn Store) {
    check(store, Header::Half, People::One, Arrival::Together).await;
}

pub(crate) async fn two_people_stay_apart_in_all_orders_with_the_header(store: &dyn Store) {
    check(store, Header::Always, People::Two, Arrival::OneByOne).await;
}

pub(crate) async fn two_people_stay_apart_in_all_orders_without_the_header(store: &dyn Store) {
    check(store, Header::Never, People::Two, Arrival::OneByOne).await;
}

pub(crate) async fn two_people_stay_apart_in_all_orders_with_the_header_on_half(store: &dyn Store) {
    check(store, Header::Half, People::Two, Arrival::OneByOne).await;
}

pub(crate) async fn two_people_stay_apart_in_all_orders_as_one_batch(store: &dyn Store) {
    check(store, Header::Never, People::Two, Arrival::Together).await;
}

/// Batches of one take the other way through the store where nothing about identity changes.
pub(crate) async fn each_delivery_alone_ends_like_all_together(store: &dyn Store) {
    let orders: Vec<Vec<usize>> = permutations().into_iter().step_by(7).collect();
    for (index, order) in orders.iter().enumerate() {
        let story = arranged(story(&format!("e{index}"), Header::Half, People::One), order);
        for one in &story {
            apply_all(store, std::iter::once(one)).await;
        }
        apply_all(store, std::iter::once(&story[index % DELIVERIES].again())).await;
    }
    check_ends(store, &orders, Header::Half, People::One).await;
}
