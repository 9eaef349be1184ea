//! Our own decoder against Terra's schemas.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Names the folder to the test that compares; see there.
const FOLDER: &str = "LANDFALL_TEST_SCHEMAS";
const TEST: [&str; 7] = ["test", "--quiet", "--package", "terra", "--test", "published", "--"];

/// A line for each member that Terra's schemas have and our decoder does not know, or the other way round.
///
/// The decoder lives behind a wall that this program may not look over (it uses none of our crates), so the comparison is
/// a test of that crate. It must say that it compared: a test that had nothing to do passes too.
pub(crate) fn check_our_decoder(folder: &Path) -> Result<Vec<String>> {
    let folder = folder.canonicalize().with_context(|| format!("find {}", folder.display()))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(TEST).args(["--nocapture", "--test-threads=1"]).env(FOLDER, &folder);
    let output = command.stdin(Stdio::null()).output().context("run the test of our decoder")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    match differences(&printed) {
        Some(lines) if lines.is_empty() == output.status.success() => Ok(lines),
        Some(_) | None => bail!("compare our decoder\n{printed}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// `None` where nothing was compared.
fn differences(printed: &str) -> Option<Vec<String>> {
    printed
        .lines()
        .any(|line| line.starts_with("compared "))
        .then(|| printed.lines().filter_map(|line| line.strip_prefix("difference: ")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_compared_is_not_taken_for_equal() {
        assert_eq!(differences("running 1 test\nchecked the comparison and no schema of Terra's\n"), None);
        assert_eq!(differences("compared 11 kinds, 1240 members\n"), Some(vec![]));
        assert_eq!(
            differences("difference: sleep: a number\ncompared 11 kinds\n"),
            Some(vec!["sleep: a number".into()])
        );
    }
}
