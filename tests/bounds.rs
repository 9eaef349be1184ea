//! What waits is bounded: a lane that is full is refused at once, costs no other, and loses nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::erase_waiting::become_one_of;
use crate::harness::{Engine, Options, TestApp, eventually, terra_says, within};

#[cfg(feature = "services")]
mod slow;

crate::on_every_engine!(a_full_lane_is_answered_503_at_once_and_takes_again_once_it_is_worked_off);

const QUEUE_MAX: f64 = 1_048_576.0;
/// More than one message is.
const ONE: f64 = 65_536.0;
const REFUSED: usize = 20;
/// The figures of a broker's management API are some seconds old.
const TOLD_WITHIN: Duration = Duration::from_secs(60);
/// From the request to the whole answer.
const AT_ONCE: Duration = Duration::from_millis(100);

fn user() -> Value {
    terra_says::user("terra-ann", Some("ann"))
}

/// Packed it takes some 30 KiB, which stay in the message.
fn large(number: usize) -> Value {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 + number as u64;
    let text: String = (0..30_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'!' + (state % 90) as u8)
        })
        .collect();
    let mut body = terra_says::activity(user(), &format!("run-{number}"), 5.0);
    body["data"][0]["metadata"]["name"] = json!(text);
    body
}

async fn a_full_lane_is_answered_503_at_once_and_takes_again_once_it_is_worked_off(engine: Engine) {
    let options = Options::default().set("LANDFALL_QUEUE_MAX", "1MiB").set("LANDFALL_BACKFILL_DAYS", "0");
    let mut app = TestApp::start_with(engine, options).await;
    #[cfg(feature = "services")]
    if engine == Engine::Cluster {
        let url = crate::harness::servers::Addresses::shared().get("LANDFALL_TEST_MANAGEMENT_URL").to_owned();
        app.settings.insert("LANDFALL_QUEUE_MANAGEMENT_URL".into(), url);
    }
    assert_eq!(app.send(&terra_says::auth(user()), &[]).await, 200);
    app.quiet().await;
    become_one_of(&mut app, "receive,api", "12").await;

    let (mut accepted, mut refused) = (0, Vec::new());
    while refused.len() < REFUSED {
        let body = large(accepted + refused.len());
        let begun = Instant::now();
        match app.send(&body, &[]).await {
            200 => accepted += 1,
            503 => refused.push(begun.elapsed()),
            other => panic!("{other}"),
        }
        assert!(accepted < 80, "nothing bounds it");
    }
    assert!(accepted > 25, "refused too early: {accepted}");
    refused.sort();
    eprintln!(
        "{accepted} accepted; refused in the middle after {:?}, at most {:?}",
        refused[REFUSED / 2],
        refused[REFUSED - 1]
    );
    assert!(refused[REFUSED / 2] <= AT_ONCE, "{refused:?}");

    let reason = match engine {
        Engine::Embedded => "full",
        Engine::Cluster => "refused",
    };
    let counted = app.metric(&format!("landfall_publish_failures_total{{reason=\"{reason}\"}}")).await;
    assert_eq!(counted, REFUSED as f64);
    assert_eq!(app.metric("landfall_webhooks_refused_total{reason=\"not_durable\"}").await, REFUSED as f64);
    assert_eq!(app.metric("landfall_queue_max_bytes{lane=\"live\"}").await, QUEUE_MAX);
    within(TOLD_WITHIN, "the lane is seen to be full", || async {
        let bytes = app.metric("landfall_queue_bytes{lane=\"live\"}").await;
        // A broker refuses what comes after the message that went beyond.
        bytes > 0.9 * QUEUE_MAX && bytes <= QUEUE_MAX + ONE
    })
    .await;
    assert_eq!(app.send(&terra_says::auth(user()), &[]).await, 200, "another lane");

    become_one_of(&mut app, "receive,work,api", "12").await;
    eventually("it takes more", || async { app.send(&large(1_000), &[]).await == 200 }).await;
    eventually("all that was accepted takes effect", || async {
        app.all("/v1/users/ann/activities").await.len() == accepted + 1
    })
    .await;
    app.quiet().await;
    app.end().await;
}
