//! The HTTP client against a server that answers as Terra does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::fetch::Window;
use jiff::civil::date;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;

const JSON: &str = "content-type: application/json";
const KEY: &str = "key-4711";

/// Answers every request alike and keeps what was asked.
struct Stand {
    client: TerraClient,
    asked: Arc<Mutex<String>>,
}

impl Stand {
    async fn new(status: u16, headers: &str, body: &str) -> Stand {
        // Another test may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(String::new()));
        let length = body.len();
        let answer =
            format!("HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n\r\n{body}");
        TaskTracker::new().spawn(serve(listener, answer, asked.clone()));
        let base = |path: &str| Url::parse(&format!("http://{address}{path}")).unwrap();
        let bases =
            Bases { api_url: base("/api/v2"), widget_url: base("/api/widget/session"), legacy_url: base("/v2/") };
        let credentials = Credentials { dev_id: "dev-1".into(), api_key: KEY.into() };
        Stand { client: TerraClient::new(bases, credentials).unwrap(), asked }
    }

    #[track_caller]
    fn was_asked(&self, parts: &[&str]) {
        let asked = self.asked.lock().unwrap();
        for part in parts {
            assert!(asked.contains(part), "{part:?} is not in {asked}");
        }
    }

    async fn widget(&self, mode: WidgetMode) -> Result<WidgetSession, TerraError> {
        let request = WidgetRequest {
            reference_id: Some("ana".into()),
            providers: vec!["GARMIN".into(), "FITBIT".into()],
            success_url: Some("https://app/ok".into()),
            ..WidgetRequest::default()
        };
        self.client.widget_session(mode, &request).await
    }

    async fn user(&self) -> Result<Option<UserInfo>, TerraError> {
        self.client.user_info("u-1", Duration::from_secs(5)).await
    }
}

async fn serve(listener: TcpListener, answer: String, asked: Arc<Mutex<String>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !is_whole(&request) {
            if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                break;
            }
        }
        *asked.lock().unwrap() = String::from_utf8_lossy(&request).into_owned();
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

const SESSION: &str = r#"{"session_id":"s","url":"https://w/s","status":"success","expires_in":900}"#;

#[tokio::test]
async fn a_widget_session_is_opened_at_either_endpoint() {
    let stand = Stand::new(201, JSON, SESSION).await;
    assert_eq!(stand.widget(WidgetMode::Session).await.unwrap().url, "https://w/s");
    stand.was_asked(&[
        "POST /api/widget/session HTTP",
        "dev-id: dev-1",
        "x-api-key: key-4711",
        "content-type: application/json",
        r#""providers":"GARMIN,FITBIT""#,
        r#""auth_success_redirect_url":"https://app/ok""#,
    ]);
    stand.widget(WidgetMode::Legacy).await.unwrap();
    stand.was_asked(&["POST /v2/auth/generateWidgetSession HTTP"]);
}

#[tokio::test]
async fn each_refusal_of_a_widget_session_says_what_to_do() {
    let cases = [
        (401, JSON, "{}", "copy both"),
        (403, JSON, "{}", "copy both"),
        (410, JSON, "{}", "LANDFALL_WIDGET=session"),
        (500, "content-type: text/html", "<h1>", "enable one"),
        (500, JSON, r#"{"message":"oops"}"#, "answered 500"),
        (429, "retry-after: 7", "", "for 7 s"),
        (302, "location: http://169.254.169.254/", "", "answered 302"),
        (200, JSON, "[]", "could not be read"),
    ];
    for (status, headers, body, words) in cases {
        let stand = Stand::new(status, headers, body).await;
        let error = stand.widget(WidgetMode::Session).await.unwrap_err().to_string();
        assert!(error.contains(words), "{status}: {error}");
    }
}

#[tokio::test]
async fn an_error_never_repeats_the_key() {
    let stand = Stand::new(400, JSON, r#"{"message":"key-4711 is bad"}"#).await;
    let error = stand.user().await.unwrap_err();
    assert_eq!(error.to_string(), "Terra answered 400", "Terra's words are not part of the text");
    assert!(
        matches!(&error, TerraError::Refused { message: Some(said), .. } if said == "[x-api-key] is bad"),
        "{error:?}"
    );
    assert!(!format!("{:?} {error:?}", stand.client).contains(KEY));
}

#[tokio::test]
async fn a_user_is_found_or_not() {
    let body = r#"{"user":{"user_id":"u-1","active":true},"is_authenticated":true}"#;
    let stand = Stand::new(200, JSON, body).await;
    assert!(stand.user().await.unwrap().unwrap().is_authenticated);
    stand.was_asked(&["GET /api/v2/userInfo?user_id=u-1 HTTP"]);
    let stand = Stand::new(404, JSON, "{}").await;
    assert!(stand.user().await.unwrap().is_none());
    stand.client.deauthenticate("u 1").await.unwrap();
    stand.was_asked(&["DELETE /api/v2/auth/deauthenticateUser?user_id=u+1 HTTP"]);
}

#[tokio::test]
async fn a_silent_terra_is_unreachable_after_the_deadline() {
    let stand = Stand::new(200, "content-type: x\r\ncontent-length: 9", "").await;
    let asking = stand.client.user_info("u-1", Duration::from_millis(50));
    assert!(matches!(asking.await, Err(TerraError::Unreachable(_))));
}

#[tokio::test]
async fn data_is_asked_for_with_every_flag_said() {
    let headers = "x-terra-ratelimit-remaining: 0\r\nretry-after: 30";
    let stand = Stand::new(429, headers, "{}").await;
    let mut request = DataRequest {
        kind: DataKind::Sleep,
        terra_user_id: "u-1",
        window: Window { start: date(2026, 1, 1), end: date(2026, 1, 29) },
        to_webhook: true,
        with_samples: false,
    };
    let answer = stand.client.data(request).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (429, &b"{}"[..]));
    assert_eq!(answer.limit.retry_after_seconds, Some(30));
    stand.was_asked(&[
        "GET /api/v2/sleep?user_id=u-1&to_webhook=true&start_date=2026-01-01&end_date=2026-01-29&with_samples=false&retry_if_rate_limited=true HTTP",
    ]);
    request.kind = DataKind::Athlete;
    stand.client.data(request).await.unwrap();
    stand.was_asked(&["GET /api/v2/athlete?user_id=u-1&to_webhook=true&retry_if_rate_limited=true HTTP"]);
}

#[tokio::test]
async fn an_answer_is_not_read_beyond_the_limit() {
    let stand = Stand::new(200, JSON, &"x".repeat(5_000)).await;
    let response = stand.client.get(&["userInfo"]).send().await.unwrap();
    let answer = Answer::take(response, 1_000).await.unwrap();
    assert!(answer.body.is_none());
    assert!(matches!(answer.read(reply::user_info), Err(TerraError::Unreadable)));
}
