//! A machine whose clock is wrong says so before anybody loses by it.

use crate::harness::{Engine, Options, TestApp, eventually, terra_says};

crate::on_every_engine!(a_clock_that_is_off_is_told_and_harms_no_delivery);

async fn a_clock_that_is_off_is_told_and_harms_no_delivery(engine: Engine) {
    let options = Options::default().set("FAILPOINTS", "clock=return(3600)");
    let app = TestApp::start_with(engine, options).await;
    let series = match engine {
        Engine::Embedded => "landfall_clock_ahead_seconds{of=\"terra\"}",
        Engine::Cluster => "landfall_clock_ahead_seconds{of=\"database\"}",
    };
    eventually("the metric shows an hour", || async {
        let ahead = app.metric(series).await;
        (3_595.0..=3_605.0).contains(&ahead)
    })
    .await;
    eventually("the log says it", || async { app.logs().contains("our clock is wrong: 3") }).await;
    // To us it is an hour old: kept, and marked as late.
    let body = terra_says::activity(terra_says::user("terra-ann", Some("ann")), "run-1", 5_000.0);
    assert_eq!(app.send(&body, &[]).await, 200);
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 1);
    app.end().await;
}
