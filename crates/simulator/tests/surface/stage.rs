//! A simulator, a receiver, and a client that can do what a browser and an app do.

use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use simulator::{Settings, Simulator, start};

use crate::receiver::Receiver;

/// 1 June 2026, 12:00 UTC.
const NOON: i64 = 1_780_315_200;

pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    pub(crate) receiver: Receiver,
    pub(crate) client: Client,
    pub(crate) settings: Settings,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(Settings::default()).await
    }

    pub(crate) async fn set_with(settings: Settings) -> Self {
        let receiver = Receiver::start();
        let settings = Settings { webhook_url: Some(receiver.url.clone()), start_unix_seconds: Some(NOON), ..settings };
        let simulator = start(settings.clone()).await.unwrap();
        // Shorter than servers keep an idle connection, so that none is used while it closes.
        let idle = Duration::from_secs(2);
        let none = reqwest::redirect::Policy::none();
        let client = Client::builder().redirect(none).no_proxy().pool_idle_timeout(idle).build().unwrap();
        Self { simulator, receiver, client, settings }
    }

    pub(crate) async fn get(&self, path_and_query: &str) -> Response {
        let url = format!("{}{path_and_query}", self.simulator.api_url());
        self.with_credentials(self.client.get(url)).send().await.unwrap()
    }

    pub(crate) async fn get_json(&self, path_and_query: &str) -> Value {
        let answer = self.get(path_and_query).await;
        assert_eq!(answer.status(), 200, "{path_and_query}");
        answer.json().await.unwrap()
    }

    pub(crate) fn with_credentials(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.header("dev-id", &self.settings.dev_id).header("x-api-key", &self.settings.api_key)
    }

    pub(crate) async fn control(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_simulator{path}", self.simulator.base_url());
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn control_get(&self, path: &str) -> Value {
        let url = format!("{}/_simulator{path}", self.simulator.base_url());
        self.client.get(url).send().await.unwrap().json().await.unwrap()
    }

    /// A connected user whose `auth` webhook is not sent.
    pub(crate) async fn user(&self, reference_id: &str) -> String {
        let body = json!({ "reference_id": reference_id, "announce": false });
        let created = self.control("/users", body).await;
        created["user"]["user_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn control_delete(&self, path: &str) {
        let url = format!("{}/_simulator{path}", self.simulator.base_url());
        assert_eq!(self.client.delete(url).send().await.unwrap().status(), 204, "{path}");
    }

    /// Waits until every webhook is accepted or given up, and answers the log of deliveries.
    pub(crate) async fn quiet(&self) -> Value {
        let settled = async {
            loop {
                let log = self.control_get("/deliveries").await;
                if log["pending"] == 0 {
                    return log;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), settled).await.unwrap()
    }
}
