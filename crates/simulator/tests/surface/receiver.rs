//! A destination that keeps what it gets and answers what it is told to.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;
use tokio_util::task::TaskTracker;

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The header that a right signature would have, computed over the raw bytes.
    pub(crate) fn expected_signature(&self, secret: &str) -> String {
        let header = self.header("x-terra-signature").unwrap();
        let t = header.split([',', '=']).nth(1).unwrap().parse().unwrap();
        simulator::sign(secret, t, &self.body)
    }
}

#[derive(Default)]
struct Shelf {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<u16>>,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    shelf: Arc<Shelf>,
    server: actix_web::dev::ServerHandle,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let shelf = Arc::new(Shelf::default());
        let data = web::Data::from(shelf.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(64 * 1024 * 1024))
                .default_service(web::to(take))
        })
        .workers(1)
        .disable_signals()
        .listen(listener)
        .unwrap()
        .run();
        let handle = server.handle();
        TaskTracker::new().spawn(server);
        Self { url, shelf, server: handle }
    }

    /// Statuses for the next deliveries; after them 200.
    pub(crate) fn answer_next(&self, statuses: &[u16]) {
        self.shelf.answers.lock().unwrap().extend(statuses);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shelf.received.lock().unwrap().clone()
    }

    /// The first delivery, however many follow it.
    pub(crate) async fn first(&self) -> Received {
        self.reach(1).await.remove(0)
    }

    /// Waits until so many deliveries came; more are an error.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let received = self.reach(count).await;
        assert_eq!(received.len(), count);
        received
    }

    async fn reach(&self, count: usize) -> Vec<Received> {
        let enough = async {
            while self.received().len() < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, enough).await;
        let received = self.received();
        assert!(in_time.is_ok(), "only {} of {count} deliveries came", received.len());
        received
    }

    /// The types of the events that came, in order.
    pub(crate) async fn wait_for_types(&self, count: usize) -> Vec<String> {
        let received = self.wait_for(count).await;
        received.iter().map(|one| one.json()["type"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

async fn take(request: HttpRequest, shelf: web::Data<Shelf>, body: web::Bytes) -> HttpResponse {
    let text = |value: &actix_web::http::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    shelf.received.lock().unwrap().push(Received { headers, body: body.to_vec() });
    let status = shelf.answers.lock().unwrap().pop_front().unwrap_or(200);
    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
    HttpResponse::build(status).insert_header(("Location", "/elsewhere")).body("noted")
}
