//! What a run did not show, said at its end: goals that are not met, and what this machine did not let the tests try.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Goals that a measurement fell short of, each with its figure.
const NOT_MET: &str = "tests/not-met.txt";

/// Where the tests write what they could not try, a line each.
const NOT_TRIED: &str = "LANDFALL_TEST_NOT_TRIED";

pub(crate) struct Shortfalls {
    not_met: PathBuf,
    not_tried: PathBuf,
}

impl Shortfalls {
    pub(crate) fn begin(root: &Path) -> Result<Self> {
        let not_tried = root.join("target").join(format!("not-tried-{}.txt", std::process::id()));
        fs::write(&not_tried, "").with_context(|| format!("write {}", not_tried.display()))?;
        Ok(Self { not_met: root.join(NOT_MET), not_tried })
    }

    /// For the environment of the tests.
    pub(crate) fn variable(&self) -> (&'static str, &Path) {
        (NOT_TRIED, &self.not_tried)
    }

    pub(crate) fn say(&self) {
        if let Ok(text) = fs::read_to_string(&self.not_met) {
            println!("\nnot met ({NOT_MET}):\n{}", text.trim_end());
        }
        let not_tried = fs::read_to_string(&self.not_tried).unwrap_or_default();
        for what in not_tried.lines().collect::<BTreeSet<_>>() {
            println!("not tried: {what}");
        }
    }
}

impl Drop for Shortfalls {
    fn drop(&mut self) {
        // It has been said.
        let _ = fs::remove_file(&self.not_tried);
    }
}
