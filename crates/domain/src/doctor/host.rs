//! The machine and the settings: clock, data dir, payload store, secrets, open files.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Area, Finding};
use crate::id::Environment;

/// So far apart two clocks may be and nobody notices.
const CLOCK_NEAR: SignedDuration = SignedDuration::from_secs(5);

/// Connections, files of the stores and sockets of the listeners together.
const FILES_MIN: u64 = 8_192;

/// File systems that end with the machine.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];

/// File systems that end with the container.
const OF_A_CONTAINER: [&str; 4] = ["overlay", "overlayfs", "aufs", "fuse-overlayfs"];

/// How far our clock is ahead of somebody else's; negative: behind.
pub fn clock(other: &str, ahead: SignedDuration, tolerance: Duration) -> Finding {
    const CHECK: &str = "clock";
    let apart = ahead.abs();
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let text = format!("{:.1} s {side} {other}; signatures allow {} s", apart.as_secs_f64(), tolerance.as_secs());
    let fix = "set this machine's clock, and see that NTP runs";
    let half = SignedDuration::try_from(tolerance / 2).unwrap_or(SignedDuration::MAX);
    if apart >= half {
        Finding::bad(Area::Clock, CHECK, text, fix)
    } else if apart > CLOCK_NEAR {
        Finding::warning(Area::Clock, CHECK, text, fix)
    } else {
        Finding::good(Area::Clock, CHECK, text)
    }
}

pub fn no_other_clock() -> Finding {
    let fix = "set LANDFALL_TERRA_API_KEY, so that Terra's clock can be asked";
    Finding::not_checked(Area::Clock, "clock", "there is no other clock to compare with", fix)
}

/// The folder that the embedded engine and local payloads live in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    pub path: String,
    pub is_writable: bool,
    /// As the kernel names it; `None` where it does not tell.
    pub filesystem: Option<String>,
}

pub fn data_dir(dir: &DataDir) -> Finding {
    const CHECK: &str = "data_dir";
    let path = &dir.path;
    if !dir.is_writable {
        let fix = "make room there, make it writable for this user, or set LANDFALL_DATA_DIR";
        return Finding::bad(Area::Host, CHECK, format!("{path} cannot be written"), fix);
    }
    let fix = "mount a volume there, or set LANDFALL_DATA_DIR to one";
    match dir.filesystem.as_deref() {
        None => Finding::not_checked(Area::Host, CHECK, format!("the kernel does not tell what {path} lies on"), fix),
        Some(kind) if IN_MEMORY.contains(&kind) => {
            Finding::bad(Area::Host, CHECK, format!("{path} lies in memory ({kind}): it ends with this machine"), fix)
        }
        Some(kind) if OF_A_CONTAINER.contains(&kind) => {
            let text = format!("{path} lies in the container itself ({kind}): it ends with it");
            Finding::bad(Area::Host, CHECK, text, fix)
        }
        Some(kind) => Finding::good(Area::Host, CHECK, format!("{path} is writable, on {kind}")),
    }
}

/// Where large payloads lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Below the data dir, as nothing else was said.
    DataDir,
    Folder,
    Bucket,
}

/// `tried` is what became of writing, reading and deleting an object; `shared` whether several processes need it.
pub fn payloads(place: Place, shared: bool, tried: Result<(), &str>) -> Finding {
    const CHECK: &str = "payloads";
    if let Err(why) = tried {
        return Finding::bad(
            Area::Payloads,
            CHECK,
            format!("an object cannot be written and read: {why}"),
            "correct LANDFALL_PAYLOADS_URL",
        );
    }
    let fix = "set LANDFALL_PAYLOADS_URL to a bucket, or to a folder that receivers and workers share";
    match place {
        Place::DataDir if shared => {
            let text =
                "payloads lie in the data dir of each process: workers do not find what receivers wrote elsewhere";
            Finding::bad(Area::Payloads, CHECK, text, fix)
        }
        Place::Folder if shared => {
            let text = "payloads lie in a folder: it has to be the same one for receivers and workers";
            Finding::warning(Area::Payloads, CHECK, text, "see that it is one volume, or use a bucket")
        }
        Place::DataDir | Place::Folder => {
            Finding::good(Area::Payloads, CHECK, "a folder; an object was written and read")
        }
        Place::Bucket => Finding::good(Area::Payloads, CHECK, "a bucket; an object was written and read"),
    }
}

/// One environment's signing secrets: how many, and whether one is known to everybody.
pub fn secrets(environment: &Environment, count: usize, is_public: bool) -> Finding {
    const CHECK: &str = "signing_secret";
    if count == 0 {
        let text = format!("environment {environment} has no signing secret: its webhooks are answered 503");
        return Finding::bad(
            Area::Configuration,
            CHECK,
            text,
            "take it from Terra's dashboard into LANDFALL_TERRA_SIGNING_SECRETS",
        );
    }
    if is_public {
        let text = format!(
            "a signing secret of environment {environment} is the public one of the examples: anybody can sign with it"
        );
        return Finding::bad(Area::Configuration, CHECK, text, "replace it by the one in Terra's dashboard");
    }
    let plural = if count == 1 { "" } else { "s" };
    Finding::good(Area::Configuration, CHECK, format!("environment {environment} has {count} signing secret{plural}"))
}

pub fn settings(warnings: &[String]) -> Vec<Finding> {
    const CHECK: &str = "settings";
    if warnings.is_empty() {
        return vec![Finding::good(Area::Configuration, CHECK, "the settings are valid")];
    }
    let warning =
        |text: &String| Finding::warning(Area::Configuration, CHECK, text.clone(), "correct its name, or remove it");
    warnings.iter().map(warning).collect()
}

/// The limit of open files of this process.
pub fn files(limit: Option<u64>) -> Finding {
    const CHECK: &str = "open_files";
    let fix = "raise it (LimitNOFILE= for systemd, ulimits for a container)";
    match limit {
        None => Finding::not_checked(Area::Host, CHECK, "the limit of open files is not told", fix),
        Some(limit) if limit < FILES_MIN => {
            Finding::warning(Area::Host, CHECK, format!("{limit} files may be open, {FILES_MIN} are recommended"), fix)
        }
        Some(limit) => Finding::good(Area::Host, CHECK, format!("{limit} files may be open")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[track_caller]
    fn check(finding: &Finding, expected: State) {
        assert_eq!(finding.state, expected, "{}", finding.text);
        assert_eq!(finding.fix.is_none(), expected == State::Good, "{}", finding.text);
    }

    #[test]
    fn a_clock_that_is_off_fails_long_before_signatures_do() {
        let of = |seconds: i64| clock("Terra", SignedDuration::from_secs(seconds), Duration::from_secs(300));
        check(&of(1), State::Good);
        check(&of(-30), State::Warning);
        check(&of(150), State::Bad);
        check(&of(-3_600), State::Bad);
        assert!(of(-30).text.contains("30.0 s behind Terra"));
        check(&no_other_clock(), State::NotChecked);
    }

    #[test]
    fn a_data_dir_that_does_not_outlive_the_process_fails() {
        let dir = |filesystem: Option<&str>| DataDir {
            path: "/data".into(),
            is_writable: true,
            filesystem: filesystem.map(str::to_owned),
        };
        check(&data_dir(&dir(Some("ext4"))), State::Good);
        check(&data_dir(&dir(Some("tmpfs"))), State::Bad);
        check(&data_dir(&dir(Some("overlay"))), State::Bad);
        check(&data_dir(&dir(None)), State::NotChecked);
        check(&data_dir(&DataDir { is_writable: false, ..dir(Some("ext4")) }), State::Bad);
    }

    #[test]
    fn payloads_that_workers_do_not_find_fail() {
        check(&payloads(Place::DataDir, false, Ok(())), State::Good);
        check(&payloads(Place::DataDir, true, Ok(())), State::Bad);
        check(&payloads(Place::Folder, true, Ok(())), State::Warning);
        check(&payloads(Place::Bucket, true, Ok(())), State::Good);
        check(&payloads(Place::Bucket, true, Err("no such bucket")), State::Bad);
    }

    #[test]
    fn no_secret_and_a_public_one_fail() {
        let environment = Environment::new("default");
        check(&secrets(&environment, 2, false), State::Good);
        check(&secrets(&environment, 0, false), State::Bad);
        check(&secrets(&environment, 1, true), State::Bad);
    }

    #[test]
    fn unknown_settings_and_few_files_are_worth_a_word() {
        check(&settings(&[])[0], State::Good);
        check(&settings(&["unknown variable X".into()])[0], State::Warning);
        check(&files(Some(65_536)), State::Good);
        check(&files(Some(1_024)), State::Warning);
        check(&files(None), State::NotChecked);
    }
}
