//! Payloads that Terra left in storage: what is downloaded, what is refused, and what becomes of what is gone.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Engine, Options, TestApp, eventually, now_seconds, terra_says};

crate::on_every_engine!(
    links_that_lead_elsewhere_or_to_nothing_are_recorded_and_asked_for_again,
    what_was_downloaded_waits_for_a_payload_store_that_is_away,
    a_body_that_no_row_knows_goes_with_its_day,
    a_page_of_large_documents_ends_early_and_goes_on,
);

const USER: &str = "terra-ann";

async fn ping(app: &TestApp, kind: &str, ping: Value) {
    app.terra_control("events", json!({ "type": kind, "user_id": USER, "ping": ping })).await;
}

/// The reason that the ledger gives for the newest stored payload, once it is settled.
async fn settled(app: &TestApp, count: usize) -> Vec<(String, String)> {
    eventually("every stored payload is settled", || async {
        let rows = rows(app).await;
        rows.len() == count && rows.iter().all(|(outcome, _)| outcome != "retry")
    })
    .await;
    rows(app).await
}

async fn rows(app: &TestApp) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = app.all("/v1/deliveries?type=s3_payload").await;
    rows.iter().map(|row| (text(&row["outcome"]), text(&row["reason"]))).collect()
}

async fn links_that_lead_elsewhere_or_to_nothing_are_recorded_and_asked_for_again(engine: Engine) {
    let options = Options::default().set("LANDFALL_BACKFILL_DAYS", "0").set("LANDFALL_MAX_BODY", "1MiB");
    let app = TestApp::start_with(engine, options).await;
    app.terra_control("users", json!({ "user_id": USER, "reference_id": "ann" })).await;
    eventually("ann is connected", || async { app.all("/v1/users/ann/connections").await.len() == 1 }).await;
    app.quiet().await;

    ping(&app, "sleep", json!({ "redirect": "self" })).await;
    let refused = ("set_aside".to_owned(), "payload_link_refused".to_owned());
    assert_eq!(settled(&app, 1).await, [refused]);
    ping(&app, "sleep", json!({ "extra_bytes": 2_000_000 })).await;
    assert_eq!(settled(&app, 2).await[0].1, "payload_too_large");
    assert!(app.all("/v1/fetches").await.is_empty(), "nobody knows whose it was");
    assert!(app.all("/v1/users/ann/sleeps").await.is_empty());

    // Whose it was is known: the days around it are asked for.
    ping(&app, "sleep", json!({ "vanish": true, "names_user": true })).await;
    let (outcome, reason) = settled(&app, 3).await.remove(0);
    assert_eq!((outcome.as_str(), reason.as_str()), ("processed", "payload_gone"));
    let fetches = app.all("/v1/fetches").await;
    assert!(fetches.iter().any(|fetch| fetch["type"] == "sleep" && fetch["origin"] == "recover"), "{fetches:?}");

    // And one that can be had is the event itself.
    ping(&app, "daily", json!({})).await;
    eventually("the day is there", || async { !app.all("/v1/users/ann/dailies").await.is_empty() }).await;
    app.end().await;
}

/// A folder that is a file: nothing can be put there, by whomever.
pub(crate) struct Away {
    folder: PathBuf,
    aside: PathBuf,
}

impl Away {
    pub(crate) fn take(folder: PathBuf) -> Self {
        let aside = folder.with_extension("aside");
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::write(&folder, "").unwrap();
        Away { folder, aside }
    }

    pub(crate) fn back(self) {
        std::fs::remove_file(&self.folder).unwrap();
        std::fs::rename(&self.aside, &self.folder).unwrap();
    }
}

async fn what_was_downloaded_waits_for_a_payload_store_that_is_away(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let payloads = folder.path().join("payloads");
    std::fs::create_dir(&payloads).unwrap();
    let url = format!("file://{}", payloads.display());
    let options = Options::default().set("LANDFALL_BACKFILL_DAYS", "0").set("LANDFALL_PAYLOADS_URL", url);
    let app = TestApp::start_with(engine, options).await;
    app.terra_control("users", json!({ "user_id": USER, "reference_id": "ann" })).await;
    eventually("ann is connected", || async { app.all("/v1/users/ann/connections").await.len() == 1 }).await;
    app.quiet().await;

    let downloaded = "landfall_payload_downloads_total{outcome=\"downloaded\"}";
    let away = Away::take(payloads);
    ping(&app, "sleep", json!({ "extra_bytes": 200_000 })).await;
    eventually("it is downloaded", || async { app.metric(downloaded).await > 0.0 }).await;
    // Longer than a few tries to keep it take.
    let warned = "a stored payload waits";
    eventually("it waits", || async { app.processes[0].log().matches(warned).count() >= 3 }).await;
    assert_eq!(rows(&app).await, [("retry".to_owned(), "payload_waits".to_owned())]);
    away.back();
    eventually("the night is there", || async { app.all("/v1/users/ann/sleeps").await.len() == 1 }).await;
    assert_eq!(app.metric(downloaded).await, 1.0, "the link may have ended: once is enough");
    let row = app.all("/v1/deliveries").await.into_iter().find(|row| row["reason"] == "payload_waits");
    assert!(row.is_none(), "{row:?}");
    app.end().await;
}

async fn a_body_that_no_row_knows_goes_with_its_day(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let body = |day: &str| folder.path().join(format!("deliveries/{day}/019e0000-0000-7000-8000-000000000000-0123"));
    let document = folder.path().join("documents/2020-01-01/019e0000-0000-7000-8000-000000000000/4-0123");
    let today = jiff::Timestamp::from_second(now_seconds()).unwrap().to_zoned(jiff::tz::TimeZone::UTC).date();
    // As a receiver leaves it that is killed between keeping the body and queueing the delivery.
    let (old, new) = (body("2020-01-01"), body(&today.to_string()));
    for file in [&old, &new, &document] {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "of a person").unwrap();
    }
    let options = Options::default().set("LANDFALL_PAYLOADS_URL", folder.path().display().to_string());
    let app = TestApp::start_with(engine, options).await;
    eventually("the old one is gone", || async { !old.exists() }).await;
    assert!(new.exists(), "its row may be on its way");
    assert!(document.exists(), "that is a record's: they live until they are erased");
    app.end().await;
}

async fn a_page_of_large_documents_ends_early_and_goes_on(engine: Engine) {
    const RECORDS: usize = 20;
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_BACKFILL_DAYS", "0")).await;
    for number in 0..RECORDS {
        let mut body = terra_says::activity(terra_says::user(USER, Some("ann")), &format!("run-{number}"), 1.0);
        body["data"][0]["padding"] = "x".repeat(1024 * 1024).into();
        assert_eq!(app.send(&body, &[]).await, 200);
    }
    app.quiet().await;
    let (mut after, mut pages, mut found) = (String::new(), Vec::new(), std::collections::BTreeSet::new());
    loop {
        let page = app.get(&format!("/v1/users/ann/activities?samples=true&limit=1000{after}")).await;
        let items = page["items"].as_array().unwrap();
        pages.push(items.len());
        for item in items {
            assert_eq!(item["document"]["padding"].as_str().unwrap().len(), 1024 * 1024);
            assert!(found.insert(item["id"].as_str().unwrap().to_owned()), "twice");
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!((found.len(), pages.as_slice()), (RECORDS, [8, 8, 4].as_slice()), "8 MiB and no more at once");
    app.end().await;
}
