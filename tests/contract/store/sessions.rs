//! Connect sessions: two roads, the redirect and the webhook, decide one session once.

use adapters::store::{FetchFilter, Store};
use domain::id::{ReferenceId, SessionId, UserId};
use domain::plan::{Context, confirmed};
use domain::session::{ConnectSession, SessionState};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use terra::event::Event;
use uuid::Uuid;

use super::support::{BACKFILL_DAYS, BACKFILL_JOBS, apply_one, at, auth, environment, everything, sent, user};

async fn open(store: &dyn Store, state: &str, created: i64) -> SessionId {
    let id = SessionId(Uuid::now_v7());
    let session = ConnectSession {
        id,
        environment: environment(),
        user: UserId::new("ada"),
        reference: ReferenceId::new("ada"),
        state_digest: Sha256::digest(state).into(),
        widget_session_id: None,
        widget_url: None,
        success_url: "https://app.example/done".into(),
        failure_url: None,
        created_at: at(created),
        expires_at: at(created + 900),
        state: SessionState::Pending,
        terra_user_id: None,
        provider: None,
        reason: None,
        returned_at: None,
    };
    store.create_session(&session).await.unwrap();
    assert_eq!(store.session(id).await.unwrap(), Some(session));
    id
}

async fn state(store: &dyn Store, id: SessionId) -> SessionState {
    store.session(id).await.unwrap().unwrap().state
}

fn named(widget: &str, user: Value) -> Value {
    let mut body = auth(user);
    body["widget_session_id"] = json!(widget);
    body
}

/// The redirect's road: Terra itself answered who this is.
async fn confirm(store: &dyn Store, session: SessionId, id: &str, now: Timestamp) {
    let Event::AuthSucceeded { user, .. } =
        terra::event::decode(auth(user(id, Some("ada"))).to_string().as_bytes()).unwrap()
    else {
        panic!("no auth")
    };
    let context = Context { backfill_days: BACKFILL_DAYS, ..Context::default() };
    let plan = confirmed(session, &environment(), &user, now, &context);
    let prepared = adapters::store::Prepared {
        plan,
        body: super::support::seal(b""),
        documents: Vec::new(),
        attempt: 1,
        replay: None,
    };
    store.apply(&[prepared], now).await.unwrap();
}

async fn backfills(store: &dyn Store) -> usize {
    store.fetches(&FetchFilter::default(), &everything()).await.unwrap().items.len() / BACKFILL_JOBS
}

pub(crate) async fn a_session_is_found_by_its_state_and_returns_once(store: &dyn Store) {
    let id = open(store, "state", 0).await;
    let digest: [u8; 32] = Sha256::digest("state").into();
    assert_eq!(store.session_by_state(&digest).await.unwrap().map(|session| session.id), Some(id));
    assert_eq!(store.session_by_state(&[0; 32]).await.unwrap(), None);
    assert!(store.session_returned(id, at(5)).await.unwrap());
    assert!(!store.session_returned(id, at(6)).await.unwrap(), "the same state only repeats its redirect");
    assert_eq!(store.session(id).await.unwrap().unwrap().returned_at, Some(at(5)));
    store.session_opened(id, Some("w1"), "https://widget.example/w1", at(300)).await.unwrap();
    let opened = store.session(id).await.unwrap().unwrap();
    assert_eq!((opened.widget_session_id.as_deref(), opened.expires_at), (Some("w1"), at(300)));
}

pub(crate) async fn a_webhook_decides_the_session_it_names(store: &dyn Store) {
    let named_one = open(store, "s1", 0).await;
    let younger = open(store, "s2", 1).await;
    store.session_opened(named_one, Some("w1"), "https://widget.example/w1", at(900)).await.unwrap();
    apply_one(store, &sent(named("w1", user("u", Some("ada"))), 10)).await;
    let decided = store.session(named_one).await.unwrap().unwrap();
    assert_eq!(
        (decided.state, decided.terra_user_id.as_deref(), decided.provider.as_deref()),
        (SessionState::Connected, Some("u"), Some("GARMIN"))
    );
    assert_eq!(state(store, younger).await, SessionState::Pending);
    assert_eq!(backfills(store).await, 1, "it happened before our eyes");
}

pub(crate) async fn without_a_name_the_youngest_session_of_the_reference_is_meant(store: &dyn Store) {
    let older = open(store, "s1", 0).await;
    let younger = open(store, "s2", 1).await;
    apply_one(store, &sent(auth(user("u", Some("somebody-else"))), 10)).await;
    assert_eq!(state(store, younger).await, SessionState::Pending);
    apply_one(store, &sent(auth(user("v", Some("ada"))), 20)).await;
    assert_eq!(
        (state(store, older).await, state(store, younger).await),
        (SessionState::Pending, SessionState::Connected)
    );
}

pub(crate) async fn an_expired_session_is_not_guessed(store: &dyn Store) {
    let id = open(store, "s1", 0).await;
    apply_one(store, &sent(auth(user("u", Some("ada"))), 901)).await;
    let session = store.session(id).await.unwrap().unwrap();
    assert_eq!(session.state_at(at(901)), SessionState::Expired);
    assert_eq!(backfills(store).await, 0);
}

pub(crate) async fn redirect_first_and_webhook_later_are_one_connect(store: &dyn Store) {
    let id = open(store, "s1", 0).await;
    confirm(store, id, "u", at(10)).await;
    assert_eq!(state(store, id).await, SessionState::Connected);
    assert_eq!(backfills(store).await, 1);
    let next = open(store, "s2", 11).await;
    apply_one(store, &sent(auth(user("u", Some("ada"))), 12)).await;
    assert_eq!(state(store, next).await, SessionState::Pending, "the webhook of the first decides no other");
    assert_eq!(backfills(store).await, 1);
}

pub(crate) async fn webhook_first_and_redirect_later_are_one_connect(store: &dyn Store) {
    let id = open(store, "s1", 0).await;
    apply_one(store, &sent(auth(user("u", Some("ada"))), 5)).await;
    confirm(store, id, "u", at(10)).await;
    assert_eq!(store.session(id).await.unwrap().unwrap().terra_user_id.as_deref(), Some("u"));
    assert_eq!(backfills(store).await, 1);
}

pub(crate) async fn a_decided_session_stays_as_it_was_decided(store: &dyn Store) {
    let id = open(store, "s1", 0).await;
    store.session_opened(id, Some("w1"), "https://widget.example/w1", at(900)).await.unwrap();
    apply_one(store, &sent(named("w1", user("u", Some("ada"))), 10)).await;
    apply_one(store, &sent(named("w1", user("v", Some("ada"))), 20)).await;
    store.session_failed(id, "too late").await.unwrap();
    let kept = store.session(id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.terra_user_id.as_deref(), kept.reason), (SessionState::Connected, Some("u"), None));
}

pub(crate) async fn a_failed_attempt_fails_its_session(store: &dyn Store) {
    let id = open(store, "s1", 0).await;
    let failed = json!({ "type": "auth", "status": "error", "reason": "user_cancelled", "reference_id": "ada" });
    apply_one(store, &sent(failed, 10)).await;
    let kept = store.session(id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.reason.as_deref()), (SessionState::Failed, Some("user_cancelled")));
    let refused = open(store, "s2", 20).await;
    store.session_failed(refused, "terra_unavailable").await.unwrap();
    assert_eq!(state(store, refused).await, SessionState::Failed);
}

pub(crate) async fn sessions_go_a_day_after_their_end(store: &dyn Store) {
    let id = open(store, "s1", 0).await;
    store.upkeep(at(80_000), std::time::Duration::from_secs(86_400)).await.unwrap();
    assert!(store.session(id).await.unwrap().is_some());
    store.upkeep(at(90_000), std::time::Duration::from_secs(86_400)).await.unwrap();
    assert!(store.session(id).await.unwrap().is_none());
}
