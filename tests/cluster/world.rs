//! What a run may call its own: a folder, and a name that everything it makes on this machine begins with. The script
//! that starts the run gives both, and removes whatever bears them afterwards.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::TestApp;

pub fn name() -> String {
    given("LANDFALL_TEST_CLUSTER")
}

/// A new folder below that of the run, which others may walk through.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(&given("LANDFALL_TEST_CLUSTER_FOLDER")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn given(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: `tests/cluster/run` runs these tests"))
}

/// What our processes said so far, for whoever has to find out why a row is not met.
pub fn keep_logs(app: &TestApp) {
    std::fs::write(folder("log").join("landfall.log"), app.logs()).unwrap();
}

/// Runs a command, which must succeed; what it printed.
#[track_caller]
pub fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", words[0]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder of programs `<parent>/<prefix><version>/<tail>` with the highest version.
pub fn newest(parent: &str, prefix: &str, tail: &str) -> PathBuf {
    let version = |name: &str| -> Option<Vec<u32>> {
        Some(name.strip_prefix(prefix)?.split('.').map(|number| number.parse().unwrap_or(0)).collect())
    };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| Some((version(&entry.file_name().to_string_lossy())?, entry.path())));
    let (_, newest) = found.max().unwrap_or_else(|| panic!("{parent}/{prefix}… is not there: is it installed?"));
    newest.join(tail)
}

/// A file system of so many MiB in a file, mounted.
pub fn volume(mebibytes: u32) -> PathBuf {
    let (image, place) = (folder("").join("volume.img"), folder("volume"));
    let (image, at) = (image.display().to_string(), place.display().to_string());
    run(&["truncate", "-s", &format!("{mebibytes}M"), &image]);
    run(&["mkfs.ext4", "-q", "-m", "0", &image]);
    run(&["mount", "-o", "loop", &image, &at]);
    place
}
