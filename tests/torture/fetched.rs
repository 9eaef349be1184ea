//! The books of what was asked of Terra: every job came to its end, and what was fetched is there, each day once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::books::{none, some, text};
use super::fleet::Fleet;
use super::terra::{Asked, FETCHED, FORBIDDEN, KIND, Trouble};
use crate::harness::{API_KEY, DEV_ID, TestApp};

const ENDED: [&str; 4] = ["done", "nothing", "merged", "failed"];

pub struct Fetched {
    jobs: Vec<Value>,
    /// How many requests met each trouble.
    met: BTreeMap<String, u64>,
    /// (user, day) of what Terra has for the windows that were answered, and of what we keep, as often as we do.
    expected: BTreeSet<(String, String)>,
    kept: BTreeMap<(String, String), u32>,
    /// How often a record of a fetched kind was told, by subject and key.
    told: BTreeMap<(String, String), u32>,
}

/// Whether every job there is has come to its end.
pub async fn all_ended(app: &TestApp) -> bool {
    app.all("/v1/fetches?state=queued").await.is_empty()
}

impl Fetched {
    pub async fn open(fleet: &Fleet, asked: &Asked, events: &[Value]) -> Fetched {
        let app = &fleet.app;
        let jobs = app.all("/v1/fetches").await;
        let mut fetched = Fetched {
            met: asked.met(app).await,
            expected: BTreeSet::new(),
            kept: BTreeMap::new(),
            told: BTreeMap::new(),
            jobs,
        };
        for user in FETCHED {
            let connections = app.all(&format!("/v1/users/{user}/connections")).await;
            let terra_user_id = text(&connections[0]["aliases"][0], "terra_user_id");
            for job in fetched.jobs.iter().filter(|job| text(job, "terra_user_id") == terra_user_id) {
                if job["state"] == "done" && job["type"] == KIND {
                    let days = at_terra(app, terra_user_id, text(job, "start"), text(job, "end")).await;
                    fetched.expected.extend(days.into_iter().map(|day| (user.to_owned(), day)));
                }
            }
            for record in app.all(&format!("/v1/users/{user}/dailies")).await {
                *fetched.kept.entry((user.to_owned(), begin_of(text(&record, "start_time")))).or_default() += 1;
            }
        }
        for event in events.iter().filter(|event| event["type"] == "landfall.daily.upserted.v1") {
            if FETCHED.contains(&text(event, "subject")) {
                let key = (text(event, "subject").to_owned(), text(&event["data"], "key").to_owned());
                *fetched.told.entry(key).or_default() += 1;
            }
        }
        fetched
    }

    pub fn tally(&self) -> String {
        let mut states: BTreeMap<&str, u32> = BTreeMap::new();
        for job in &self.jobs {
            *states.entry(text(job, "state")).or_default() += 1;
        }
        let met = self.met.iter().map(|(trouble, times)| format!("{times} × {trouble}")).collect::<Vec<_>>().join(", ");
        let (jobs, days) = (self.jobs.len(), self.kept.len());
        format!("{jobs} fetch jobs: {states:?}; {days} days fetched by hand; requests that met a failing Terra: {met}")
    }

    /// A job fails for a reason that Terra gave, or not at all.
    pub fn every_job_ended(&self, asked: &Asked) -> Result<(), String> {
        let by_id: BTreeMap<&str, &Value> = self.jobs.iter().map(|job| (text(job, "id"), job)).collect();
        let lost: Vec<_> = asked.jobs.iter().filter(|id| !by_id.contains_key(id.as_str())).collect();
        let open: Vec<_> = self.jobs.iter().filter(|job| !ENDED.contains(&text(job, "state"))).collect();
        let failed: Vec<_> = self.jobs.iter().filter(|job| job["state"] == "failed").collect();
        let refused = self.met.get(&format!("{:?}", Trouble::Forbidden)).copied().unwrap_or_default();
        let wrong = failed.iter().filter(|job| text(job, "reason") != FORBIDDEN).count();
        if self.expected.is_empty() || asked.connected.is_empty() {
            return Err("next to nothing was fetched: no load".into());
        }
        if lost.is_empty() && open.is_empty() && wrong == 0 && failed.len() as u64 <= refused {
            return Ok(());
        }
        let (lost_count, open_count) = (lost.len(), open.len());
        let (lost, open, failed) = (some(&lost), some(&open), some(&failed));
        Err(format!("{lost_count} lost {lost:?}, {open_count} open {open:?}, {refused} refused, failed {failed:?}"))
    }

    /// Who connected before our eyes was asked for, without anybody's wish.
    pub fn connected_were_asked_for(&self, asked: &Asked) -> Result<(), String> {
        let asked_for: BTreeSet<&str> = self.jobs.iter().map(|job| text(job, "terra_user_id")).collect();
        none(asked.connected.iter().filter(|id| !asked_for.contains(id.as_str())).count(), "not asked for")
    }

    pub fn each_day_is_there_once(&self) -> Result<(), String> {
        let missing: Vec<_> = self.expected.iter().filter(|day| !self.kept.contains_key(day)).collect();
        let unknown: Vec<_> = self.kept.keys().filter(|day| !self.expected.contains(day)).collect();
        let doubled = self.kept.values().filter(|count| **count > 1).count();
        let told_twice = self.told.values().filter(|count| **count > 1).count();
        if missing.is_empty() && unknown.is_empty() && doubled + told_twice == 0 && self.told.len() == self.kept.len() {
            return Ok(());
        }
        let (lacks, knows, told) = (missing.len(), unknown.len(), self.told.len());
        let (missing, unknown) = (some(&missing), some(&unknown));
        Err(format!(
            "{lacks} missing {missing:?}, {knows} unknown {unknown:?}, {doubled} doubled, {told} told, {told_twice} twice"
        ))
    }
}

/// The days that Terra has in a window, by when they begin.
async fn at_terra(app: &TestApp, terra_user_id: &str, start: &str, end: &str) -> Vec<String> {
    let url = format!("{}/{KIND}", app.terra.api_url());
    let query = [("user_id", terra_user_id), ("to_webhook", "false"), ("start_date", start), ("end_date", end)];
    let asking = app.http.get(url).query(&query).header("dev-id", DEV_ID).header("x-api-key", API_KEY);
    let answer: Value = asking.send().await.unwrap().json().await.unwrap();
    let records = answer["data"].as_array().unwrap_or_else(|| panic!("{start} to {end}: {answer}"));
    records.iter().map(|record| begin_of(text(&record["metadata"], "start_time"))).collect()
}

/// The same moment is written alike by both.
fn begin_of(time: &str) -> String {
    let moment: jiff::Timestamp = time.parse().unwrap_or_else(|error| panic!("{time}: {error}"));
    json!(moment).to_string()
}
