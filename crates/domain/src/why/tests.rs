//! Each layer at fault, from evidence alone.

use jiff::civil::date;
use uuid::Uuid;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn delivery_id() -> DeliveryId {
    DeliveryId(Uuid::from_u128(4))
}

/// A sleep of 1 March that went all the way.
fn fine() -> Evidence {
    let record = RecordId(Uuid::from_u128(2));
    Evidence {
        kind: DataKind::Sleep,
        date: date(2026, 3, 1),
        now: at("2026-03-05T12:00:00Z"),
        connection: ConnectionSeen {
            id: ConnectionId(Uuid::from_u128(1)),
            user: Some(UserId::new("ann")),
            provider: Some("OURA".into()),
            status: Status::Active,
            health: AliasStatus::Active,
            terra_user_id: "terra-ann".into(),
            connected_at: Some(at("2026-01-01T00:00:00Z")),
            revoked_at: None,
            failed_at: None,
            scopes: vec!["sleep:read".into(), "daily:read".into()],
        },
        serves: Some(true),
        ledger_from: at("2026-02-20T00:00:00Z"),
        jobs: Vec::new(),
        deliveries: vec![delivery(Outcome::Processed, None)],
        log: LogSeen::NotAsked,
        records: vec![RecordSeen {
            id: record,
            key: "night".into(),
            deleted: false,
            order_inferred: false,
            sent_at: at("2026-03-01T08:00:00Z"),
            updated_at: at("2026-03-01T08:00:01Z"),
        }],
        events: vec![EventSeen { record, verb: "upserted".into(), position: Some(7), held: false }],
    }
}

fn delivery(outcome: Outcome, reason: Option<&str>) -> DeliverySeen {
    DeliverySeen {
        id: delivery_id(),
        received_at: at("2026-03-01T08:00:01Z"),
        outcome,
        reason: reason.map(str::to_owned),
        retry_at: None,
        unread: 0,
    }
}

fn job(state: &str) -> JobSeen {
    JobSeen {
        id: FetchJobId(Uuid::from_u128(5)),
        state: state.into(),
        reason: None,
        status: Some(200),
        reference: Some("r-1".into()),
        run_at: at("2026-03-05T13:00:00Z"),
    }
}

/// Nothing came, and nothing is there.
fn empty() -> Evidence {
    Evidence { deliveries: Vec::new(), records: Vec::new(), events: Vec::new(), ..fine() }
}

#[track_caller]
fn check(evidence: &Evidence, layer: Option<Layer>, words: &str) {
    let explanation = explain(evidence);
    let Verdict { layer: found, words: said } = &explanation.verdict;
    assert_eq!(*found, layer, "{said}\n{:#?}", explanation.steps);
    assert!(said.contains(words), "`{said}` has no `{words}`");
    assert!(explanation.steps.is_sorted_by_key(|step| step.layer), "layers come in their order");
    assert_eq!(explanation.steps.len(), 8);
}

#[test]
fn what_went_all_the_way_misses_nothing() {
    check(&fine(), None, "nothing is missing: 1 sleep of 2026-03-01; services were told (upserted) at position 7");
}

#[test]
fn the_connection_is_at_fault() {
    let mut evidence = empty();
    evidence.connection.status = Status::Revoked;
    evidence.connection.health = AliasStatus::Revoked;
    evidence.connection.revoked_at = Some(at("2026-03-01T10:00:00Z"));
    check(&evidence, Some(Layer::Connection), "the connection was revoked on 2026-03-01, before that day ended");
    evidence.connection.revoked_at = Some(at("2026-03-02T00:00:00Z"));
    check(&evidence, Some(Layer::Received), "no sleep of this person arrived");

    let mut evidence = empty();
    evidence.connection.health = AliasStatus::Degraded;
    evidence.connection.failed_at = Some(at("2026-02-25T10:00:00Z"));
    check(&evidence, Some(Layer::Connection), "OURA refuses Terra since 2026-02-25: the person has to connect again");
    evidence.connection.failed_at = Some(at("2026-03-04T10:00:00Z"));
    check(&evidence, Some(Layer::Received), "no sleep");
}

#[test]
fn the_provider_is_at_fault() {
    let evidence = Evidence { serves: Some(false), kind: DataKind::Nutrition, ..empty() };
    check(&evidence, Some(Layer::Provider), "OURA does not serve nutrition: nothing will ever come");
}

#[test]
fn the_scopes_are_at_fault_where_they_speak_of_kinds() {
    let mut evidence = empty();
    evidence.connection.scopes = vec!["activity".into(), "daily:read".into()];
    check(&evidence, Some(Layer::Scopes), "the person did not allow sleep: the scopes are activity, daily:read");
    evidence.connection.scopes = vec!["activity".into(), "HEALTH_EXPORT".into()];
    check(&evidence, Some(Layer::Received), "no sleep");
    assert_eq!(explain(&evidence).steps[2].state, State::Unknown, "words of the provider's own prove nothing");
    evidence.connection.scopes = Vec::new();
    assert_eq!(explain(&evidence).steps[2].state, State::Unknown);
}

#[test]
fn terra_is_at_fault() {
    let asked = |state: &str| Evidence { jobs: vec![job(state)], ..empty() };
    check(&asked("nothing"), Some(Layer::Terra), "Terra was asked for that day and answered: no data");
    check(&asked("queued"), Some(Layer::Terra), "Terra is yet to be asked for that day");
    check(&asked("requested"), Some(Layer::Terra), "(reference r-1) and has not delivered");
    let mut failed = asked("failed");
    failed.jobs[0].reason = Some("user_unknown_to_terra".into());
    failed.jobs[0].status = Some(404);
    check(&failed, Some(Layer::Terra), "it failed (user_unknown_to_terra), status 404");
    let mut twice = asked("queued");
    twice.jobs.push(job("nothing"));
    check(&twice, Some(Layer::Terra), "no data");
    // Other days came by themselves; this one was asked for.
    let around = Evidence { deliveries: vec![delivery(Outcome::Processed, None)], ..asked("nothing") };
    check(&around, Some(Layer::Terra), "no data");
    let future = Evidence { date: date(2026, 3, 9), ..empty() };
    check(&future, Some(Layer::Terra), "that day has not come yet");
}

#[test]
fn nothing_was_received() {
    check(&empty(), Some(Layer::Received), "no sleep of this person arrived around that day");
    assert!(explain(&empty()).steps[3].words.contains("Terra's own log was not asked"));
    // Before the ledger begins nothing can be said of it.
    let long_ago = Evidence { date: date(2026, 1, 1), ..empty() };
    check(&long_ago, Some(Layer::Record), "no sleep of that day is kept, and what came then is not known");
    assert_eq!(explain(&long_ago).steps[4].state, State::Unknown);
}

#[test]
fn the_decision_is_at_fault() {
    let stuck = |outcome, reason| Evidence { deliveries: vec![delivery(outcome, Some(reason))], ..empty() };
    let show = format!("`landfall deliveries show {}`", delivery_id());
    let dead = stuck(Outcome::Dead, "payload_lost");
    check(&dead, Some(Layer::Decision), &format!("the delivery is dead: payload_lost; {show}"));
    check(&stuck(Outcome::SetAside, "missing_user"), Some(Layer::Decision), "set aside");
    check(&stuck(Outcome::Quarantined, "too_old"), Some(Layer::Decision), "quarantined: too_old");
    let mut retried = stuck(Outcome::Retry, "panicked");
    retried.deliveries[0].retry_at = Some(at("2026-03-05T12:10:00Z"));
    check(&retried, Some(Layer::Decision), "tried again at 2026-03-05T12:10:00Z: panicked");
    // What did arrive was allowed and served, whatever the lists say.
    check(&Evidence { serves: Some(false), ..dead }, Some(Layer::Decision), "dead");
    // A dead one beside the one that counts is not what is missing.
    let mut beside = fine();
    beside.deliveries.push(delivery(Outcome::Dead, Some("payload_lost")));
    check(&beside, None, "nothing is missing");
}

#[test]
fn the_record_is_at_fault() {
    let mut gone = fine();
    gone.records[0].deleted = true;
    check(&gone, Some(Layer::Record), "Terra deleted it");
    let others = Evidence { deliveries: vec![delivery(Outcome::Processed, None)], ..empty() };
    check(&others, Some(Layer::Record), "what arrived around it was about other days");
    let mut unread = others;
    unread.deliveries[0].unread = 2;
    check(&unread, Some(Layer::Record), "could not be read: `landfall deliveries show");
}

#[test]
fn the_event_is_held() {
    let mut held = fine();
    held.events[0] = EventSeen { position: None, held: true, ..held.events[0].clone() };
    held.connection.status = Status::Unresolved;
    check(
        &held,
        Some(Layer::Event),
        "its event is held because no internal user is known for it: `landfall connections",
    );
    held.connection.status = Status::Disputed;
    check(&held, Some(Layer::Event), "its connection is disputed between users");
    let waiting = Evidence { events: vec![EventSeen { held: false, ..held.events[0].clone() }], ..fine() };
    check(&waiting, None, "waits to be numbered");
    check(&Evidence { events: Vec::new(), ..fine() }, None, "the ledger no longer says");
}

#[test]
fn of_several_connections_the_one_that_came_furthest_speaks() {
    let (nothing, dead, all) = (
        explain(&empty()),
        explain(&Evidence { deliveries: vec![delivery(Outcome::Dead, None)], ..empty() }),
        explain(&fine()),
    );
    assert_eq!(overall("ann", &[&dead, &nothing]).layer, Some(Layer::Decision));
    assert_eq!(overall("ann", &[&all, &dead]).layer, None);
    let nobody = overall("ann", &[]);
    assert_eq!(nobody.layer, Some(Layer::Connection));
    assert!(nobody.words.contains("nobody is connected under `ann`"), "{}", nobody.words);
}

#[test]
fn terras_list_speaks_of_what_has_days() {
    let list = crate::plan::Capabilities::new([("oura".to_owned(), vec![DataKind::Sleep])]);
    assert_eq!(list.serves(Some("OURA"), DataKind::Sleep), Some(true));
    assert_eq!(list.serves(Some("Oura"), DataKind::Nutrition), Some(false));
    for kind in [DataKind::Athlete, DataKind::LabReport, DataKind::Hormone] {
        assert_eq!(list.serves(Some("OURA"), kind), None, "{}", kind.label());
    }
    assert_eq!(list.serves(Some("GARMIN"), DataKind::Sleep), None);
    assert_eq!(list.serves(None, DataKind::Sleep), None);
}

#[test]
fn terras_own_log_tells_where_it_was_lost() {
    let with = |log: LogSeen| {
        let evidence = Evidence { deliveries: vec![], records: vec![], events: vec![], log, ..fine() };
        let explanation = explain(&evidence);
        (explanation.verdict.layer, explanation.verdict.words)
    };
    let asked = |delivered, failed, last_status| LogSeen::Asked { delivered, failed, last_status };
    let (layer, words) = with(asked(0, 0, None));
    assert_eq!(layer, Some(Layer::Terra), "{words}");
    let (layer, words) = with(asked(0, 3, Some(503)));
    assert_eq!(layer, Some(Layer::Received), "{words}");
    assert!(words.contains("our answer was 503") && words.contains("landfall recover"), "{words}");
    let (layer, words) = with(asked(0, 1, None));
    assert_eq!(layer, Some(Layer::Received), "{words}");
    assert!(words.contains("nobody answered"), "{words}");
    let (layer, words) = with(asked(1, 0, Some(200)));
    assert_eq!(layer, Some(Layer::Received), "{words}");
    for unknown in [LogSeen::NotAsked, LogSeen::Unreachable] {
        assert_eq!(with(unknown).0, Some(Layer::Received));
    }
}
