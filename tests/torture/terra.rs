//! Terra's REST interface under torture: what is asked of it, how it fails, and how many requests met that.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::fleet::Fleet;
use crate::harness::TestApp;
use crate::harness::dice::Dice;

/// People whose connections are older than the run: their history is asked for by hand.
pub const FETCHED: [&str; 4] = ["fetched-0", "fetched-1", "fetched-2", "fetched-3"];

/// One record a day.
pub const KIND: &str = "daily";

/// Terra has something for each of so many days.
const DAYS: i64 = 80;

/// Longer than our client waits for an answer.
const TOO_SLOW: Duration = Duration::from_secs(33);

/// What is asked for as late as this, or fails so late, may not have been tried again when the faults end.
pub const LAST: Duration = Duration::from_secs(45);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Connections are refused.
    Down,
    TooSlow,
    TooMany,
    Fails,
    Unavailable,
    WebPage,
    /// 200, and nothing that can be read.
    Garbage,
    ProviderFails,
    /// The one answer here that ends a job for good.
    Forbidden,
}

pub const TROUBLES: [Trouble; 9] = [
    Trouble::Down,
    Trouble::TooSlow,
    Trouble::TooMany,
    Trouble::Fails,
    Trouble::Unavailable,
    Trouble::WebPage,
    Trouble::Garbage,
    Trouble::ProviderFails,
    Trouble::Forbidden,
];

/// The reason that a job has which Terra refused for good.
pub const FORBIDDEN: &str = "not_enabled";

/// What was asked of Terra.
#[derive(Default)]
pub struct Asked {
    next_day: i64,
    /// Ids of jobs whose request was answered 202.
    pub jobs: BTreeSet<String>,
    /// Users who connected while we were watching, by Terra's ids: their history is asked for without a word from us.
    pub connected: BTreeSet<String>,
    /// Jobs that could not reach Terra, as they were shown meanwhile, with the number of the try.
    refused: BTreeSet<(String, u64)>,
}

impl Trouble {
    /// What the simulator is told; nothing where it is not asked at all.
    fn fault(self) -> Option<Value> {
        let answer = match self {
            Trouble::Down => return None,
            Trouble::TooSlow => json!({ "delay_ms": u64::try_from(TOO_SLOW.as_millis()).unwrap(), "times": 2 }),
            Trouble::TooMany => {
                let of_terra = json!({ "X-Terra-RateLimit-Rule": "r2", "X-Terra-RateLimit-Remaining": "0" });
                json!({ "status": 429, "retry_after": 2, "headers": of_terra })
            }
            Trouble::Fails => json!({ "status": 500 }),
            Trouble::Unavailable => json!({ "status": 503, "retry_after": 2, "times": 4 }),
            Trouble::WebPage => json!({ "status": 502, "html": true, "delay_ms": 500 }),
            Trouble::Garbage => json!({ "status": 200, "body": "neither an answer nor data" }),
            // Pauses grow with the number of failures in a row.
            Trouble::ProviderFails => json!({ "status": 424, "times": 1 }),
            Trouble::Forbidden => json!({ "status": 403, "times": 1 }),
        };
        let mut fault = json!({ "path": format!("/{KIND}"), "name": format!("{self:?}"), "times": 3 });
        fault.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
        Some(fault)
    }
}

impl Asked {
    /// Somebody asks for a day; in a long run, for one that was asked for before.
    pub async fn ask(&mut self, app: &TestApp, dice: &mut Dice, times: u32) {
        for _ in 0..times {
            let user = dice.pick(&FETCHED);
            // Not side by side: those would become one request.
            self.next_day = (self.next_day + 2) % DAYS;
            let today = crate::harness::now().to_zoned(jiff::tz::TimeZone::UTC).date();
            let from = today.saturating_sub(jiff::Span::new().days(2 + self.next_day));
            let wish = json!({ "types": [KIND], "from": from, "to": from.tomorrow().unwrap() });
            let asking = app.http.post(app.api(&format!("/v1/users/{user}/fetches"))).json(&wish);
            // Nobody may be listening just now, or the database may be away.
            let Ok(answer) = asking.timeout(Duration::from_secs(5)).send().await else { continue };
            if answer.status() == 202 {
                let queued: Value = answer.json().await.unwrap_or_default();
                let ids = queued["items"].as_array().into_iter().flatten().filter_map(|job| job["id"].as_str());
                self.jobs.extend(ids.map(str::to_owned));
            }
        }
    }

    /// Somebody connects, which Terra tells us by a webhook of its own.
    pub async fn connect(&mut self, app: &TestApp) {
        let reference = format!("connected-{}", self.connected.len());
        let answer = app.terra_control("users", json!({ "reference_id": reference, "provider": "GARMIN" })).await;
        self.connected.insert(answer["user"]["user_id"].as_str().unwrap().to_owned());
    }

    pub async fn trouble(&mut self, trouble: Trouble, fleet: &Fleet, dice: &mut Dice) {
        let app = &fleet.app;
        match trouble.fault() {
            Some(fault) => {
                app.terra_control("faults", fault).await;
                self.ask(app, dice, 4).await;
            }
            None => {
                fleet.terra().refuse();
                self.ask(app, dice, 4).await;
                tokio::time::sleep(Duration::from_millis(1_000 + dice.up_to(2_000))).await;
                self.note_refused(app).await;
                fleet.terra().open();
            }
        }
    }

    async fn note_refused(&mut self, app: &TestApp) {
        let asking = app.http.get(app.api("/v1/fetches?state=queued&limit=1000")).timeout(Duration::from_secs(5));
        let Ok(answer) = asking.send().await else { return };
        let page: Value = answer.json().await.unwrap_or_default();
        for job in page["items"].as_array().into_iter().flatten().filter(|job| job["reason"] == "unreachable") {
            self.refused.insert((job["id"].to_string(), job["attempts"].as_u64().unwrap_or_default()));
        }
    }

    /// How many requests met each kind of trouble.
    pub async fn met(&self, app: &TestApp) -> BTreeMap<String, u64> {
        let answer = app.http.get(format!("{}/_simulator/faults", app.terra.base_url())).send().await.unwrap();
        let faults: Value = answer.json().await.unwrap();
        let mut met: BTreeMap<String, u64> = serde_json::from_value(faults["acted"].clone()).unwrap();
        met.insert(format!("{:?}", Trouble::Down), self.refused.len() as u64);
        met
    }
}
