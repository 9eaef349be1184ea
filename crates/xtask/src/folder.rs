//! Where services and tests keep their files.
//!
//! In memory, where the machine has room for it: the tests kill processes, never the machine, so what a process wrote
//! is there after it whether or not a disk was asked to sync, and the suite is not bound by the disk's syncs. What a
//! sync costs is `landfall bench`'s subject, on a real disk.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

const MEMORY: &str = "/dev/shm";

/// RabbitMQ alone wants 4 GB free; the rest is for tests that run side by side.
const ROOM_KILOBYTES: u64 = 10 * 1_024 * 1_024;

/// A new folder that is gone when this is dropped.
pub(crate) fn temporary() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix("landfall-").tempdir_in(place()).context("create a temporary folder")
}

/// The folder that temporary folders are made in.
fn place() -> PathBuf {
    let memory = Path::new(MEMORY);
    if free_kilobytes(memory).is_some_and(|free| free >= ROOM_KILOBYTES) { memory.into() } else { std::env::temp_dir() }
}

/// - Errors: `None` where the folder is not there or `df` says nothing.
pub(crate) fn free_kilobytes(folder: &Path) -> Option<u64> {
    let listing = process::run(Command::new("df").arg("-Pk").arg(folder)).ok()?;
    listing.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}
