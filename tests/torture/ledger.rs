//! The sender's ledger: a file that is only ever appended to, before each request and after each answer. What was
//! promised is read from it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempPath;

pub struct Ledger {
    file: Mutex<File>,
    path: TempPath,
}

/// What the file says.
#[derive(Debug, Default, Clone)]
pub struct Entries {
    /// Trace ids that got a 2xx at least once.
    pub accepted: BTreeSet<String>,
    /// The SHA-256 of the bytes that were sent, by trace id.
    pub digests: BTreeMap<String, String>,
    /// How often each status was answered; 0 stands for none.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests that were begun.
    pub begun: u64,
}

impl Ledger {
    pub fn create() -> Self {
        let path = tempfile::Builder::new().prefix("landfall-torture-").suffix(".jsonl").tempfile().unwrap();
        let path = path.into_temp_path();
        Ledger { file: Mutex::new(OpenOptions::new().append(true).open(&path).unwrap()), path }
    }

    pub fn will_send(&self, trace_id: &str, digest: &str, order: i64) {
        self.append(&json!({ "trace_id": trace_id, "sha256": digest, "order": order }));
    }

    pub fn was_answered(&self, trace_id: &str, status: u16) {
        self.append(&json!({ "trace_id": trace_id, "status": status }));
    }

    fn append(&self, entry: &Value) {
        let mut entry = entry.clone();
        entry["at"] = json!(crate::harness::now());
        self.file.lock().unwrap().write_all(format!("{entry}\n").as_bytes()).unwrap();
    }

    pub fn read(&self) -> Entries {
        Entries::of(&self.path)
    }

    /// A copy that stays, for whoever looks for the cause of a failure.
    pub fn keep(&self) -> PathBuf {
        let kept = self.path.with_extension("kept.jsonl");
        std::fs::copy(&self.path, &kept).unwrap();
        kept
    }
}

impl Entries {
    fn of(path: &Path) -> Entries {
        let mut entries = Entries::default();
        for line in BufReader::new(File::open(path).unwrap()).lines() {
            let entry: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let trace_id = entry["trace_id"].as_str().unwrap().to_owned();
            match entry["status"].as_u64() {
                Some(status) => {
                    let status = u16::try_from(status).unwrap();
                    *entries.statuses.entry(status).or_default() += 1;
                    if (200..300).contains(&status) {
                        entries.accepted.insert(trace_id);
                    }
                }
                None => {
                    entries.begun += 1;
                    entries.digests.insert(trace_id, entry["sha256"].as_str().unwrap().to_owned());
                }
            }
        }
        entries
    }
}
