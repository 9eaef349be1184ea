//! `cargo xtask conformance --schemas DIR`: is what we take for Terra's events what Terra says they are?
//!
//! The simulator's golden files hold one event of every type in both dialects. Each is validated by
//! the schema that Terra publishes for it (`tryterra/openapi`, folder `schemas`). The same schemas are
//! then compared with what our own decoder knows; that it reads the events is a test of its own.

mod decoder;
mod schemas;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use schemas::{Published, Verdict};

/// Seen from the root of the workspace.
const GOLDEN: &str = "crates/simulator/tests/golden";

/// An event of a golden file.
pub(crate) struct Golden {
    /// Such as `activity.newer`.
    pub(crate) name: String,
    pub(crate) event: Value,
}

pub(crate) fn check(folder: &Path) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("find the workspace")?;
    let events = golden(&root.join(GOLDEN))?;
    let published = Published::read(folder)?;
    let mut violations = 0;
    let mut without_event = published.events();
    for Golden { name, event } in &events {
        match published.judge(event)? {
            Verdict::Conforming { schema } => {
                println!("conforming  {name}  ({schema})");
                without_event.remove(&schema);
            }
            // The folder describes the newer platform alone, and some shapes were never published.
            Verdict::Unpublished => println!("no schema   {name}"),
            Verdict::Violating { schema, violations: found } => {
                violations += found.len();
                println!("VIOLATING   {name}  ({schema})");
                found.iter().for_each(|violation| println!("              {violation}"));
                without_event.remove(&schema);
            }
        }
    }
    without_event.iter().for_each(|schema| println!("NO EVENT    for {schema}"));
    let differences = decoder::check_our_decoder(folder)?;
    differences.iter().for_each(|line| println!("DIFFERENT   {line}"));
    println!(
        "\n{} events, {violations} violations, {} schemas without an event, {} differences from our decoder",
        events.len(),
        without_event.len(),
        differences.len()
    );
    if violations + without_event.len() + differences.len() > 0 {
        bail!("not conforming to {}", folder.display());
    }
    Ok(())
}

fn golden(folder: &Path) -> Result<Vec<Golden>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        files.push(entry.with_context(|| format!("list {}", folder.display()))?.path());
    }
    files.sort();
    if files.is_empty() {
        bail!("{} holds no events", folder.display());
    }
    files
        .iter()
        .map(|file| {
            let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
            let event = serde_json::from_str(&text).with_context(|| format!("read {}", file.display()))?;
            Ok(Golden { name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), event })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_files_are_found_and_are_events() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let events = golden(&root.join(GOLDEN)).unwrap();
        assert!(events.len() > 40, "{}", events.len());
        assert!(events.iter().all(|golden| golden.event["type"].is_string()));
    }
}
