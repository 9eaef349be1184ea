//! Requests whose signature failed: each once, within bounds, until they are let in or forgotten.

use adapters::payloads::Sealed;
use adapters::store::{Held, LetIn, Page, QuarantineFilter, QuarantineTotals, Store};
use bytes::Bytes;
use domain::id::{DeliveryId, Environment};
use domain::quarantine::{Part, QuarantineId, Quarantined, Why};
use terra::headers::DeliveryHeaders;
use terra::signature::Change;
use uuid::Uuid;

use super::support::{at, everything, seal};

const ROOM: u64 = 1_000_000;

fn held(number: u8, seconds: i64) -> Held {
    Held {
        request: Quarantined {
            id: QuarantineId(Uuid::now_v7()),
            fingerprint: [number; 32],
            first_seen: at(seconds),
            last_seen: at(seconds),
            seen: 1,
            address: Some(Environment::new("staging")),
            why: Why {
                part: Part::BodyChanged,
                environment: Some(Environment::new("staging")),
                change: Some(Change::Reserialised),
            },
            looks_like_terra: true,
            signature: Some("t=1,v1=00".into()),
            t_seconds: Some(1),
            headers: DeliveryHeaders {
                trace_id: Some("trace".into()),
                reference: Some("reference".into()),
                ordering_ms: Some(7),
            },
            type_name: Some("sleep".into()),
            terra_user_id: Some("u".into()),
            size_bytes: Some(4),
            held_bytes: 100,
        },
        body: Some(seal(b"body")),
    }
}

/// One that names this Terra user.
pub(super) fn held_of(terra_user_id: &str, seconds: i64) -> Held {
    let mut one = held(0, seconds);
    one.request.fingerprint = terra::signature::body_digest(terra_user_id.as_bytes());
    one.request.address = None;
    one.request.terra_user_id = Some(terra_user_id.into());
    one.body = Some(seal(format!("{terra_user_id} and a value").as_bytes()));
    one
}

/// Of which nothing is known but that it came.
fn bare(number: u8, seconds: i64) -> Held {
    let Held { request, .. } = held(number, seconds);
    Held {
        request: Quarantined {
            address: None,
            why: Why { part: Part::HeaderMissing, environment: None, change: None },
            looks_like_terra: false,
            signature: None,
            t_seconds: None,
            headers: DeliveryHeaders::default(),
            type_name: None,
            terra_user_id: None,
            size_bytes: None,
            ..request
        },
        body: None,
    }
}

fn stored(held: Held) -> Held {
    Held { body: Some(Sealed(Bytes::from_static(b"\x02{\"key\":\"somewhere\"}"))), ..held }
}

/// What is to be deleted from the payload store, each once.
async fn let_go_of(store: &dyn Store) -> Vec<Sealed> {
    let (numbers, payloads): (Vec<i64>, Vec<Sealed>) = store.unneeded_payloads(10).await.unwrap().into_iter().unzip();
    store.gone(&numbers).await.unwrap();
    payloads
}

async fn listed(store: &dyn Store, filter: &QuarantineFilter) -> Vec<u8> {
    let listing = store.quarantined(filter, &everything()).await.unwrap();
    listing.items.iter().map(|held| held.request.fingerprint[0]).collect()
}

async fn all(store: &dyn Store) -> Vec<u8> {
    listed(store, &QuarantineFilter::default()).await
}

pub(crate) async fn the_same_request_is_one_row_with_a_count(store: &dyn Store) {
    let (first, second) = (held(1, 10), bare(2, 20));
    assert!(store.note_quarantined(std::slice::from_ref(&first.request)).await.unwrap().is_empty());
    store.quarantine(&[first.clone(), second.clone()], ROOM).await.unwrap();
    assert_eq!(let_go_of(store).await, []);
    let shown = store.quarantined(&QuarantineFilter::default(), &everything()).await.unwrap().items;
    assert_eq!(shown.iter().map(|held| &held.request).collect::<Vec<_>>(), [&second.request, &first.request]);
    assert_eq!(shown.iter().map(|held| held.body.is_some()).collect::<Vec<_>>(), [false, true]);

    let again = Quarantined {
        last_seen: at(50),
        seen: 3,
        signature: Some("t=2,v1=00".into()),
        t_seconds: Some(2),
        why: Why { part: Part::SecretOrBody, environment: None, change: None },
        ..held(1, 50).request
    };
    let known = store.note_quarantined(&[again.clone(), held(3, 50).request]).await.unwrap();
    assert_eq!(known, [[1; 32]].into());
    let expected = Quarantined { last_seen: at(50), seen: 4, ..again.clone() };
    let expected = Quarantined { id: first.request.id, first_seen: at(10), ..expected };
    let shown = store.quarantined(&QuarantineFilter::default(), &everything()).await.unwrap().items;
    assert_eq!(shown[1].request, expected, "the first time stays, signature and reason are the last ones");

    // Another process was faster: counted all the same, and its payload is not needed.
    let late = stored(held(1, 60));
    store.quarantine(std::slice::from_ref(&late), ROOM).await.unwrap();
    assert_eq!(let_go_of(store).await, [late.body.unwrap()]);
    let shown = store.quarantined(&QuarantineFilter::default(), &everything()).await.unwrap().items;
    assert_eq!((shown.len(), shown[1].request.seen), (2, 5));
    assert_eq!(store.quarantine_totals().await.unwrap(), QuarantineTotals { rows: 2, bytes: 200 });
}

pub(crate) async fn a_full_quarantine_parts_with_strange_requests_first_then_with_old_ones(store: &dyn Store) {
    for (number, held) in [held(1, 1), bare(2, 2), stored(held(3, 3)), held(4, 4), bare(5, 5)].into_iter().enumerate() {
        store.quarantine(&[held], 500).await.unwrap();
        assert_eq!(let_go_of(store).await, [], "{number}");
    }
    assert_eq!(all(store).await, [5, 4, 3, 2, 1], "full and no more");
    store.quarantine(&[held(6, 6)], 500).await.unwrap();
    assert_eq!(all(store).await, [6, 4, 3, 1], "a tenth is freed: the two that are not Terra's");
    store.quarantine(&[held(7, 7)], 500).await.unwrap();
    store.quarantine(&[held(8, 8)], 300).await.unwrap();
    assert_eq!(all(store).await, [8, 7], "the oldest went");
    assert_eq!(let_go_of(store).await.len(), 1, "and its object with it");
    store.quarantine(&[bare(9, 9)], 200).await.unwrap();
    assert_eq!(all(store).await, [8], "a strange one does not push out one of Terra's for itself");
    assert!(store.quarantine_totals().await.unwrap().bytes <= 200);
}

pub(crate) async fn quarantined_requests_page_and_are_filtered(store: &dyn Store) {
    let production = Some(Environment::new("production"));
    let (first, second, mut elsewhere) = (held(1, 1), bare(2, 2), held(3, 3));
    elsewhere.request.why.part = Part::OtherEnvironment;
    elsewhere.request.why.environment.clone_from(&production);
    for held in [first, second, elsewhere, held(4, 4)] {
        store.quarantine(&[held], ROOM).await.unwrap();
    }
    let filter = |part, environment| QuarantineFilter { part, environment };
    assert_eq!(listed(store, &filter(Some(Part::BodyChanged), None)).await, [4, 1]);
    assert_eq!(listed(store, &filter(None, production.clone())).await, [3]);
    assert_eq!(listed(store, &filter(Some(Part::BodyChanged), production)).await, Vec::<u8>::new());
    let first = store.quarantined(&QuarantineFilter::default(), &Page { after: None, limit: 3 }).await.unwrap();
    let rest = store.quarantined(&QuarantineFilter::default(), &Page { after: first.next, limit: 3 }).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.next), (3, 1, None));
    let foreign = Page { after: Some("x".into()), limit: 3 };
    assert!(store.quarantined(&QuarantineFilter::default(), &foreign).await.is_err());

    let verifiable = store.verifiable(&QuarantineFilter::default(), None, 2).await.unwrap();
    assert_eq!(verifiable.iter().map(|held| held.request.fingerprint[0]).collect::<Vec<_>>(), [1, 3], "oldest first");
    assert_eq!(verifiable[0].body, Some(seal(b"body")));
    let after = Some(verifiable[1].request.id);
    let rest = store.verifiable(&QuarantineFilter::default(), after, 2).await.unwrap();
    assert_eq!(rest.iter().map(|held| held.request.fingerprint[0]).collect::<Vec<_>>(), [4]);
    let staging = filter(None, Some(Environment::new("staging")));
    assert_eq!(store.verifiable(&staging, None, 10).await.unwrap().len(), 3);
}

pub(crate) async fn what_is_let_in_leaves_and_what_is_old_is_forgotten(store: &dyn Store) {
    let (one, two, three) = (stored(held(1, 1)), held(2, 2), stored(held(3, 3)));
    store.quarantine(&[one.clone(), two.clone(), three.clone()], ROOM).await.unwrap();
    let let_in = |held: &Held| LetIn { id: held.request.id, delivery: DeliveryId(Uuid::now_v7()) };
    store.let_in(&[let_in(&one), let_in(&two)], "ops", at(10)).await.unwrap();
    assert_eq!(let_go_of(store).await, [one.body.unwrap()], "only what lies in the payload store");
    assert_eq!(all(store).await, [3]);
    assert_eq!(store.forget_quarantined(at(3)).await.unwrap(), 0);
    assert_eq!(store.forget_quarantined(at(4)).await.unwrap(), 1);
    assert_eq!(let_go_of(store).await, [three.body.unwrap()]);
    assert_eq!(store.quarantine_totals().await.unwrap(), QuarantineTotals::default());
}
