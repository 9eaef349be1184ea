//! The door: who is let in, who is not, and what is kept although nothing can be made of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Engine, Options, SECRET, TestApp, eventually, now_seconds, terra_says};

crate::on_every_engine!(
    a_genuine_delivery_takes_effect_and_a_duplicate_does_not,
    only_genuine_and_fresh_deliveries_are_accepted,
    a_stale_delivery_is_processed_if_it_is_new,
    what_cannot_be_read_is_kept_with_its_reason,
    several_environments_share_a_url_or_have_their_own,
    without_a_secret_nothing_is_accepted_and_nothing_is_refused_for_ever,
    a_large_body_goes_through_the_claim_check,
    slow_and_oversized_requests_are_cut,
);

fn ann() -> Value {
    terra_says::user("terra-ann", Some("ann"))
}

async fn outcomes(app: &TestApp) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    app.all("/v1/deliveries")
        .await
        .iter()
        .map(|delivery| (text(&delivery["outcome"]), text(&delivery["reason"])))
        .collect()
}

async fn a_genuine_delivery_takes_effect_and_a_duplicate_does_not(engine: Engine) {
    let app = TestApp::start(engine).await;
    let body = terra_says::activity(ann(), "run-1", 5_000.0);
    for _ in 0..3 {
        assert_eq!(app.send(&body, &[("x-terra-trace-id", "trace-1")]).await, 200);
    }
    app.quiet().await;
    let activities = app.all("/v1/users/ann/activities").await;
    assert_eq!(activities.len(), 1);
    assert_eq!(
        (activities[0]["distance_meters"].as_f64(), activities[0]["summary_id"].as_str()),
        (Some(5_000.0), Some("run-1"))
    );
    assert_eq!(activities[0]["start_time"], "2026-02-03T07:00:00.000000+01:00", "as delivered");
    let document = app.get(&format!("/v1/records/{}/document", activities[0]["id"].as_str().unwrap())).await;
    assert_eq!(document, body["data"][0], "Terra's whole object");
    let mut seen = outcomes(&app).await;
    seen.sort();
    assert_eq!(
        seen.iter().map(|(outcome, _)| outcome.as_str()).collect::<Vec<_>>(),
        ["duplicate", "duplicate", "processed"]
    );
    assert_eq!(app.events().await.iter().filter(|event| event["type"] == "landfall.activity.upserted.v1").count(), 1);

    // The header is unsigned: a reused trace id must not suppress another body.
    assert_eq!(app.send(&terra_says::activity(ann(), "run-2", 1.0), &[("x-terra-trace-id", "trace-1")]).await, 200);
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 2);
    // Terra deletes one, a minute later by its own clock.
    let later = ((now_seconds() + 60) * 1_000).to_string();
    let mut deleted = terra_says::activity(ann(), "run-2", 1.0);
    deleted["data"][0]["metadata"]["upload_type"] = json!(4);
    assert_eq!(
        app.send(&deleted, &[("x-terra-trace-id", "trace-2"), ("x-terra-ordering-timestamp", &later)]).await,
        200
    );
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 1);
    assert!(app.events().await.iter().any(|event| event["type"] == "landfall.activity.deleted.v1"));
    app.end().await;
}

async fn only_genuine_and_fresh_deliveries_are_accepted(engine: Engine) {
    let app = TestApp::start_with(
        engine,
        Options::default().set("LANDFALL_MAX_BODY", "1MiB").set("LANDFALL_STALE_POLICY", "reject"),
    )
    .await;
    let body = terra_says::activity(ann(), "run-1", 1.0).to_string();
    let good = simulator::sign(SECRET, now_seconds(), body.as_bytes());
    let digits = good.split("v1=").nth(1).unwrap().to_owned();
    let post = |headers: Vec<(&'static str, String)>, body: String| {
        let mut request = app.http.post(app.webhook_url());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async move { request.body(body).send().await.unwrap() }
    };
    let new = "x-terra-signature";
    let old = "terra-signature";
    let other = simulator::sign("another-secret-of-someone", now_seconds(), body.as_bytes());
    let refused: Vec<(&str, Vec<(&'static str, String)>)> = vec![
        ("none", vec![]),
        ("empty", vec![(new, String::new())]),
        ("garbage", vec![(new, "bar".into())]),
        ("another secret", vec![(new, other.clone())]),
        ("no v1", vec![(new, good.replace("v1=", "v0="))]),
        ("cut", vec![(new, good[..good.len() - 1].into())]),
        ("two that differ", vec![(new, good.clone()), (old, other.clone())]),
        ("stale", vec![(new, simulator::sign(SECRET, now_seconds() - 900, body.as_bytes()))]),
        ("future", vec![(new, simulator::sign(SECRET, now_seconds() + 900, body.as_bytes()))]),
        ("another time", vec![(new, format!("t={},v1={digits}", now_seconds() - 100))]),
    ];
    let mut bodies = Vec::new();
    for (name, headers) in refused {
        let answer = post(headers, body.clone()).await;
        assert_eq!(answer.status().as_u16(), 401, "{name}");
        bodies.push(answer.text().await.unwrap());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "a 401 has a constant body");
    assert!(app.metric("landfall_webhooks_refused_total{reason=\"mismatch\"}").await >= 2.0);

    let accepted: Vec<(&str, Vec<(&'static str, String)>)> = vec![
        ("the new header", vec![(new, good.clone())]),
        ("the old header", vec![(old, good.clone())]),
        ("both, equal", vec![(new, good.clone()), (old, good.clone())]),
        ("several v1", vec![(new, format!("{},v1={digits},v0=00", good.replace(&digits, &"0".repeat(64))))]),
    ];
    for (name, headers) in accepted {
        assert_eq!(post(headers, body.clone()).await.status().as_u16(), 200, "{name}");
    }
    let encoded = post(vec![(new, good.clone()), ("content-encoding", "gzip".into())], body.clone()).await;
    assert_eq!(encoded.status().as_u16(), 415);
    let large = "x".repeat(1_100_000);
    assert_eq!(
        post(vec![(new, simulator::sign(SECRET, now_seconds(), large.as_bytes()))], large).await.status().as_u16(),
        413
    );
    app.end().await;
}

async fn a_stale_delivery_is_processed_if_it_is_new(engine: Engine) {
    let app = TestApp::start(engine).await;
    let send_at = |age: i64, summary: &'static str, trace: &'static str| {
        let body = terra_says::activity(ann(), summary, 1.0).to_string();
        let signature = simulator::sign(SECRET, now_seconds() - age, body.as_bytes());
        let request = app
            .http
            .post(app.webhook_url())
            .header("x-terra-signature", signature)
            .header("x-terra-trace-id", trace)
            .body(body);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(send_at(3_600, "an-hour-old", "t1").await, 200);
    assert_eq!(send_at(60 * 3_600, "days-old", "t2").await, 200);
    app.quiet().await;
    assert_eq!(app.all("/v1/users/ann/activities").await.len(), 1, "the one of an hour, not the one of days");
    let seen = outcomes(&app).await;
    assert!(seen.contains(&("quarantined".into(), "too_old".into())), "{seen:?}");
    // A captured delivery under another trace id: the signed bytes are known.
    let body = terra_says::activity(ann(), "replayed", 1.0).to_string();
    let signature = simulator::sign(SECRET, now_seconds() - 1_000, body.as_bytes());
    for trace in ["t3", "t4"] {
        let answer = app
            .http
            .post(app.webhook_url())
            .header("x-terra-signature", &signature)
            .header("x-terra-trace-id", trace)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        app.quiet().await;
    }
    let seen = outcomes(&app).await;
    assert_eq!(seen.iter().filter(|(outcome, _)| outcome == "duplicate").count(), 1, "{seen:?}");
    app.end().await;
}

async fn what_cannot_be_read_is_kept_with_its_reason(engine: Engine) {
    let app = TestApp::start(engine).await;
    let nested = format!(
        "{{\"type\":\"activity\",\"user\":{{\"user_id\":\"u\"}},\"data\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for body in [
        "this is not JSON",
        "",
        "[1,2]",
        "{\"no\":\"type\"}",
        &nested,
        "{\"type\":\"activity\",\"data\":[{}]}",
        "{\"type\":\"deauth\",\"status\":\"success\"}",
        "\u{0}\u{1}\u{feff}",
    ] {
        assert_eq!(app.send_bytes(body.as_bytes().to_vec(), &[]).await, 200, "{:.40}", body);
    }
    assert_eq!(app.send(&json!({ "type": "a_kind_of_tomorrow", "user": ann(), "x": 1 }), &[]).await, 200);
    assert_eq!(app.send(&json!({ "type": "nutrition", "user": ann(), "version": "1", "data": [{ "metadata": { "start_time": "2026-02-03T00:00:00+01:00", "end_time": "2026-02-04T00:00:00+01:00" } }] }), &[]).await, 200);
    app.quiet().await;
    let seen = outcomes(&app).await;
    assert_eq!(seen.len(), 10);
    let reasons: Vec<&str> =
        seen.iter().filter(|(outcome, _)| outcome == "set_aside").map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons.len(), 8, "{seen:?}");
    assert!(
        reasons.iter().filter(|reason| **reason == "missing_user").count() == 2 && reasons.contains(&"not_json"),
        "{reasons:?}"
    );
    assert_eq!(seen.iter().filter(|(outcome, _)| outcome == "processed").count(), 2);
    assert_eq!(app.all("/v1/users/ann/nutritions").await.len(), 1);
    assert_eq!(app.metric("landfall_deliveries_processed_total{type=\"other\",outcome=\"processed\"}").await, 1.0);
    app.end().await;
}

async fn several_environments_share_a_url_or_have_their_own(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("landfall.toml");
    std::fs::write(
        &file,
        "[[environment]]\nname = \"staging\"\nsigning_secrets = [\"staging-secret-one-0001\", \"staging-secret-two-0002\"]\n\n[[environment]]\nname = \"production\"\nsigning_secrets = [\"production-secret-0001\"]\n",
    )
    .unwrap();
    let app = TestApp::start_with(engine, Options::default().set("LANDFALL_CONFIG", file.display().to_string())).await;
    let send = |secret: &'static str, path: &'static str, user: &'static str| {
        let body = terra_says::activity(terra_says::user(user, Some(user)), user, 1.0).to_string();
        let request = app
            .http
            .post(format!("http://{}{path}", app.public))
            .header("x-terra-signature", simulator::sign(secret, now_seconds(), body.as_bytes()))
            .body(body);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(send("staging-secret-two-0002", "/webhooks/terra", "u1").await, 200, "several secrets: any may match");
    assert_eq!(send("production-secret-0001", "/webhooks/terra/production", "u2").await, 200);
    assert_eq!(
        send("production-secret-0001", "/webhooks/terra/staging", "u3").await,
        401,
        "another environment's own URL"
    );
    assert_eq!(send("production-secret-0001", "/webhooks/terra/nowhere", "u4").await, 404);
    assert_eq!(send(SECRET, "/webhooks/terra", "u5").await, 200);
    app.quiet().await;
    let mut matched: Vec<String> = app
        .all("/v1/deliveries")
        .await
        .iter()
        .map(|delivery| delivery["environment"].as_str().unwrap().to_owned())
        .collect();
    matched.sort();
    assert_eq!(matched, ["default", "production", "staging"], "the one that matched is recorded");
    app.end().await;
}

async fn without_a_secret_nothing_is_accepted_and_nothing_is_refused_for_ever(engine: Engine) {
    let app =
        TestApp::start_with(engine, Options::default().unset("LANDFALL_TERRA_SIGNING_SECRETS").without_waiting()).await;
    let body = terra_says::activity(ann(), "s", 1.0).to_string();
    let answer = app
        .http
        .post(app.webhook_url())
        .header("x-terra-signature", simulator::sign(SECRET, now_seconds(), body.as_bytes()))
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(app.http.get(app.api("/readyz")).send().await.unwrap().status().as_u16(), 503);
    assert_eq!(app.http.get(app.api("/livez")).send().await.unwrap().status().as_u16(), 200);
    app.end().await;
}

async fn a_large_body_goes_through_the_claim_check(engine: Engine) {
    let app = TestApp::start(engine).await;
    let sent = app.terra_control("events", json!({ "type": "activity", "reference_id": "ann", "size": "5MB" })).await;
    assert_eq!(sent["status"], 200, "{sent}");
    app.quiet().await;
    let deliveries = app.all("/v1/deliveries").await;
    assert!(deliveries[0]["size_bytes"].as_u64().unwrap() > 4_000_000);
    let activities = app.all("/v1/users/ann/activities").await;
    assert_eq!(activities.len(), 1);
    let document = app.get(&format!("/v1/records/{}/document", activities[0]["id"].as_str().unwrap())).await;
    assert!(
        document["heart_rate_data"]["detailed"]["hr_samples"].as_array().unwrap().len() > 1_000,
        "samples are in the document"
    );
    app.end().await;
}

async fn slow_and_oversized_requests_are_cut(engine: Engine) {
    let app = TestApp::start(engine).await;
    let connect = || {
        let stream = TcpStream::connect(app.public).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let cut = |mut stream: TcpStream| {
        let started = Instant::now();
        let mut answer = String::new();
        // A reset is also an end.
        let _ = stream.read_to_string(&mut answer);
        (started.elapsed(), answer)
    };
    let signature = simulator::sign(SECRET, now_seconds(), b"x");
    let mut stalled_body = connect();
    write!(
        stalled_body,
        "POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-terra-signature: {signature}\r\ncontent-length: 100\r\n\r\nabc"
    )
    .unwrap();
    let mut stalled_head = connect();
    write!(stalled_head, "POST /webhooks/terra HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut oversized = connect();
    let _ = write!(oversized, "POST /webhooks/terra HTTP/1.1\r\nhost: x\r\nx-big: {}\r\n", "a".repeat(1_000_000));
    let results =
        tokio::task::spawn_blocking(move || [cut(stalled_body), cut(stalled_head), cut(oversized)]).await.unwrap();
    for (name, (elapsed, answer)) in ["stalled body", "stalled head", "oversized head"].into_iter().zip(&results) {
        assert!(*elapsed < Duration::from_secs(12), "{name}: {elapsed:?}");
        assert!(!answer.contains(" 200 "), "{name}: {answer}");
    }
    assert!(results[0].1.contains(" 408 "), "{}", results[0].1);
    eventually("others are served meanwhile", || async {
        app.send(&terra_says::activity(ann(), "s", 1.0), &[]).await == 200
    })
    .await;
    app.end().await;
}
