//! A delivery whose writing takes longer than a statement may: it ends as a dead letter, and nothing beside it waits long.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::erase_waiting::become_one_of;
use crate::harness::{Engine, Options, TestApp, eventually, terra_says, within};

const SLOW: &str = "slow";
const NEIGHBOURS: usize = 8;

/// A statement ends after 15 s: of the whole batch, then of the one alone.
const NEIGHBOURS_WITHIN: Duration = Duration::from_secs(45);
const DEAD_WITHIN: Duration = Duration::from_secs(90);

const MAKE_SLOW: &str = "
CREATE FUNCTION landfall.take_long() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$;
CREATE TRIGGER take_long BEFORE INSERT ON landfall.activity
   FOR EACH ROW WHEN (NEW.natural_key LIKE 'slow%') EXECUTE FUNCTION landfall.take_long()";

fn run_of(name: &str) -> Value {
    terra_says::activity(terra_says::user("terra-ann", Some("ann")), name, 5.0)
}

/// Each statement stays below its limit, and what they take together does not.
const MAKE_EACH_SLOW: &str = "
CREATE FUNCTION landfall.take_long() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(11); RETURN NULL; END $$;
CREATE TRIGGER take_long AFTER INSERT ON landfall.processed FOR EACH STATEMENT EXECUTE FUNCTION landfall.take_long();
CREATE TRIGGER take_long AFTER INSERT ON landfall.alias FOR EACH STATEMENT EXECUTE FUNCTION landfall.take_long();
CREATE TRIGGER take_long AFTER INSERT ON landfall.activity FOR EACH STATEMENT EXECUTE FUNCTION landfall.take_long();
CREATE TRIGGER take_long AFTER INSERT ON landfall.event FOR EACH STATEMENT EXECUTE FUNCTION landfall.take_long();
CREATE TRIGGER take_long AFTER INSERT ON landfall.usage FOR EACH STATEMENT EXECUTE FUNCTION landfall.take_long();
CREATE TRIGGER take_long AFTER INSERT ON landfall.delivery FOR EACH STATEMENT EXECUTE FUNCTION landfall.take_long()";

async fn of(app: &TestApp, outcome: &str) -> Vec<Value> {
    app.all(&format!("/v1/deliveries?type=activity&outcome={outcome}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_takes_too_long_ends_dead_alone_and_is_replayed_once_mended() {
    let options = Options::default().set("LANDFALL_BACKFILL_DAYS", "0");
    let mut app = TestApp::start_with(Engine::Cluster, options).await;
    assert_eq!(app.send(&terra_says::auth(terra_says::user("terra-ann", Some("ann"))), &[]).await, 200);
    app.quiet().await;
    app.database.as_ref().unwrap().execute(MAKE_SLOW).await;
    // All in one batch.
    become_one_of(&mut app, "receive,api", "2").await;
    assert_eq!(app.send(&run_of(SLOW), &[]).await, 200);
    for number in 0..NEIGHBOURS {
        assert_eq!(app.send(&run_of(&format!("run-{number}")), &[]).await, 200);
    }
    let begun = Instant::now();
    become_one_of(&mut app, "receive,work,api", "2").await;
    within(NEIGHBOURS_WITHIN, "the others are worked", || async { of(&app, "processed").await.len() == NEIGHBOURS })
        .await;
    let neighbours = begun.elapsed();
    within(DEAD_WITHIN, "it is dead", || async { of(&app, "dead").await.len() == 1 }).await;
    eprintln!("neighbours after {neighbours:?}, dead after {:?}", begun.elapsed());
    let dead = app.all("/v1/dead-letters").await.remove(0);
    let told = (&dead["reason"], &dead["class"], &dead["attempts"]);
    assert_eq!(told, (&json!("too_slow"), &json!("transient"), &json!(2)), "{dead}");
    assert!(of(&app, "processed").await.iter().all(|one| one["attempts"] == 1));

    app.database.as_ref().unwrap().execute("DROP TRIGGER take_long ON landfall.activity").await;
    let (status, said) = app.post("/v1/dead-letters/replay", json!({})).await;
    assert!((200..300).contains(&status), "{status} {said}");
    eventually("it takes effect", || async {
        app.all("/v1/users/ann/activities").await.len() == NEIGHBOURS + 1 && of(&app, "dead").await.is_empty()
    })
    .await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_many_statements_none_of_which_is_too_slow_is_given_up_all_the_same() {
    let options = Options::default().set("LANDFALL_BACKFILL_DAYS", "0");
    let mut app = TestApp::start_with(Engine::Cluster, options).await;
    assert_eq!(app.send(&terra_says::auth(terra_says::user("terra-ann", Some("ann"))), &[]).await, 200);
    app.quiet().await;
    app.database.as_ref().unwrap().execute(MAKE_EACH_SLOW).await;
    become_one_of(&mut app, "receive,work,api", "1").await;
    assert_eq!(app.send(&run_of(SLOW), &[]).await, 200);
    let begun = Instant::now();
    within(2 * DEAD_WITHIN, "it is dead", || async { of(&app, "dead").await.len() == 1 }).await;
    let all_of_them = Duration::from_secs(60);
    assert!(
        begun.elapsed() > all_of_them,
        "each statement was in time, and it was given up after {:?}",
        begun.elapsed()
    );
    assert_eq!(app.all("/v1/dead-letters").await[0]["reason"], "too_slow");
    app.end().await;
}
