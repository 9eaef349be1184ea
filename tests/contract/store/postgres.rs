//! What only a server with many clients can get wrong: transactions that cross, migrations that race, an absent server.

use std::time::Duration;

use adapters::store::postgres::{PostgresSettings, PostgresStore};
use adapters::store::{
    EventLog, Holder, Leases, Reading, ReferencePolicy, SCHEMA_VERSION, Schema, StoreError, Upkeep, Work,
};
use futures_util::future::join_all;
use secrecy::SecretString;
use uuid::Uuid;

use super::database::Database;
use super::support::{DAY, activity, apply_one, at, seen_by, sent, user};

async fn migrated() -> (Database, PostgresStore) {
    let database = Database::create().await;
    let store = database.store(ReferencePolicy::IsTheUser);
    store.migrate().await.unwrap();
    (database, store)
}

async fn end(database: Database, store: PostgresStore) {
    store.close().await;
    database.remove().await;
}

#[tokio::test]
async fn an_event_that_is_committed_late_is_skipped_by_no_reader() {
    let (database, store) = migrated().await;
    let relay = Holder { name: "relay", holder: Uuid::from_u128(1) };
    assert!(store.hold(relay, at(0), at(DAY)).await.unwrap());
    let slow = database.client().await;
    slow.run(
        "BEGIN;
         INSERT INTO event (id, held, environment, entity, verb, happened_at, data)
         VALUES (gen_random_uuid(), false, 'default', 'slow', 'told', now(), '{}')",
    )
    .await;
    apply_one(&store, &sent(activity(user("u", Some("ada")), "run", 1.0), 10)).await;
    assert_eq!(store.number_events(relay, 10).await.unwrap(), 1);
    let seen: Vec<_> =
        store.events_after(0, 10).await.unwrap().into_iter().map(|event| (event.position, event.entity)).collect();
    assert_eq!(seen, [(1, "activity".to_owned())]);
    slow.run("COMMIT").await;
    assert_eq!(store.number_events(relay, 10).await.unwrap(), 1);
    let seen: Vec<_> =
        store.events_after(1, 10).await.unwrap().into_iter().map(|event| (event.position, event.entity)).collect();
    assert_eq!(seen, [(2, "slow".to_owned())], "inserted first, visible second");
    assert_eq!(slow.number("SELECT min(sequence) FROM event WHERE entity = 'slow'").await, 1);
    end(database, store).await;
}

#[tokio::test]
async fn eight_processes_that_migrate_at_once_apply_each_version_once() {
    let database = Database::create().await;
    let stores: Vec<_> = (0..8).map(|_| database.store(ReferencePolicy::IsTheUser)).collect();
    assert!(matches!(stores[0].schema().await.unwrap(), Schema::Behind { version: 0, .. }));
    let applied = join_all(stores.iter().map(|store| store.migrate())).await;
    let mut versions: Vec<u32> = applied.into_iter().flat_map(Result::unwrap).collect();
    versions.sort();
    assert_eq!(versions, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    assert_eq!(stores[7].schema().await.unwrap(), Schema::Fits { version: SCHEMA_VERSION });
    for store in stores {
        store.close().await;
    }
    database.remove().await;
}

#[tokio::test]
async fn a_schema_made_by_a_newer_binary_is_judged_by_its_own_word() {
    let (database, store) = migrated().await;
    let client = database.client().await;
    client.run("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (99, 'later', '2027-01-01T00:00:00Z', '1')").await;
    assert_eq!(store.schema().await.unwrap(), Schema::Fits { version: 99 });
    assert_eq!(store.migrate().await.unwrap(), [] as [u32; 0]);
    client.run("UPDATE schema_level SET readable_from = 99").await;
    assert_eq!(store.schema().await.unwrap(), Schema::Ahead { version: 99, readable_from: 99 });
    end(database, store).await;
}

#[tokio::test]
async fn a_day_that_went_to_the_default_partition_gets_its_own_with_its_rows() {
    let (database, store) = migrated().await;
    let client = database.client().await;
    let one = sent(activity(user("u", Some("ada")), "run", 1.0), 10);
    apply_one(&store, &one).await;
    assert_eq!(client.number("SELECT count(*) FROM delivery_default").await, 1);
    store.upkeep(at(0), Duration::from_secs(14 * 86_400)).await.unwrap();
    assert_eq!(client.number("SELECT count(*) FROM delivery_default").await, 0);
    assert_eq!(client.number("SELECT count(*) FROM delivery_20260301").await, 1);
    assert!(store.delivery(one.id).await.unwrap().is_some());
    // One of a day without a partition, as after a pause of the upkeep: it goes with its day, not row by row.
    let late = sent(activity(user("u", Some("ada")), "late", 1.0), 9 * DAY);
    apply_one(&store, &late).await;
    assert_eq!(client.number("SELECT count(*) FROM delivery_default").await, 1);
    store.upkeep(at(12 * DAY), Duration::from_secs(14 * 86_400)).await.unwrap();
    assert_eq!(client.number("SELECT count(*) FROM delivery_default").await, 0);
    assert_eq!(client.number("SELECT count(*) FROM delivery_20260310").await, 1);
    store.upkeep(at(30 * DAY), Duration::from_secs(14 * 86_400)).await.unwrap();
    let dropped = "SELECT count(*) FROM pg_class WHERE relname IN ('delivery_20260301', 'delivery_20260310')";
    assert_eq!(client.number(dropped).await, 0);
    end(database, store).await;
}

#[tokio::test]
async fn a_batch_that_loses_a_race_for_a_row_waits_and_then_wins() {
    let (database, store) = migrated().await;
    apply_one(&store, &sent(activity(user("u", Some("ada")), "run", 1.0), 10)).await;
    let other = database.client().await;
    other.run("BEGIN; UPDATE activity SET name = name").await;
    let later = sent(activity(user("u", Some("ada")), "run", 2.0), 20);
    let release = async {
        while other.number("SELECT count(*) FROM pg_locks WHERE NOT granted").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.run("COMMIT").await;
    };
    futures_util::future::join(apply_one(&store, &later), release).await;
    assert_eq!(seen_by(&store, "ada").await, [("run".to_owned(), 2.0)]);
    end(database, store).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_no_transaction() {
    let (database, store) = migrated().await;
    apply_one(&store, &sent(activity(user("u", Some("ada")), "run", 1.0), 10)).await;
    let prepared = [sent(activity(user("u", Some("ada")), "ride", 1.0), 20).prepare()];
    // Polled once, so the unit is under way; then dropped.
    let started = tokio::time::timeout(Duration::ZERO, store.apply(&prepared, at(20))).await;
    assert!(started.is_err());
    let client = database.client().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while client.number("SELECT count(*) FROM processed").await < 2 {
        assert!(std::time::Instant::now() < deadline, "the transaction was not finished");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'").await, 0);
    end(database, store).await;
}

#[tokio::test]
async fn a_connection_that_was_cut_is_replaced() {
    let (database, store) = migrated().await;
    store.ping().await.unwrap();
    let client = database.client().await;
    client.number("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'landfall'").await;
    apply_one(&store, &sent(activity(user("u", Some("ada")), "run", 1.0), 10)).await;
    end(database, store).await;
}

#[tokio::test]
async fn a_refused_row_names_the_rule_and_nothing_of_the_row() {
    let (database, store) = migrated().await;
    database
        .client()
        .await
        .run("ALTER TABLE activity ADD CONSTRAINT no_marathons CHECK (distance_meters < 42000)")
        .await;
    let refused = store.apply(&[sent(activity(user("u", Some("ada")), "run", 42_195.5), 10).prepare()], at(10)).await;
    let Err(StoreError::Rejected { constraint }) = refused else { panic!("{refused:?}") };
    assert_eq!(constraint, "no_marathons");
    assert!(
        store.deliveries(&Default::default(), &Default::default()).await.unwrap().items.is_empty(),
        "the whole batch was undone"
    );
    end(database, store).await;
}

#[tokio::test]
async fn a_schema_that_is_missing_is_incompatible_not_unavailable() {
    let database = Database::create().await;
    let store = database.store(ReferencePolicy::IsTheUser);
    let asked = store.stats(at(0)).await;
    assert!(matches!(asked, Err(StoreError::Incompatible(_))), "{asked:?}");
    end(database, store).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_found_out_at_the_first_use() {
    let store = PostgresStore::connect(PostgresSettings {
        url: SecretString::from("postgres://landfall:landfall@127.0.0.1:1/none"),
        schema: "landfall".into(),
        policy: ReferencePolicy::IsTheUser,
        pool_max: 2,
    })
    .unwrap();
    let asked = store.ping().await;
    assert!(matches!(asked, Err(StoreError::Unavailable(_))), "{asked:?}");
}
