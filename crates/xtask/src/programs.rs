//! Where the programs of PostgreSQL and RabbitMQ are, and how to get them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The script that Debian's packages ask before they start a service; exit code 101 means no.
const START_POLICY: &str = "/usr/sbin/policy-rc.d";

const HOW_TO_GET: &str = "\
PostgreSQL 15 or later and RabbitMQ 3.10 or later are needed, as programs only: the tests start
private instances of their own and never touch the system's.
  Debian, Ubuntu   sudo apt-get install --no-install-recommends postgresql rabbitmq-server
  Fedora           sudo dnf install postgresql-server rabbitmq-server
  macOS            brew install postgresql@17 rabbitmq
Programs elsewhere are found if their folders are on PATH.";

/// The folders that hold the programs.
pub(crate) struct Programs {
    /// `initdb`, `pg_ctl`, `postgres`
    pub(crate) postgres: PathBuf,
    /// `rabbitmq-server`, `rabbitmqctl`
    pub(crate) rabbitmq: PathBuf,
    /// `epmd`, Erlang's port mapper
    pub(crate) erlang: PathBuf,
}

/// Says at once, before anything is compiled, if the programs are missing and cannot be installed.
pub(crate) fn check() -> Result<()> {
    match find() {
        Ok(_) => Ok(()),
        Err(_) if can_install() => Ok(()),
        Err(missing) => bail!("{missing} not found\n\n{HOW_TO_GET}"),
    }
}

/// Finds the programs, installing what is missing where that is possible.
pub(crate) fn provide() -> Result<Programs> {
    if let Ok(programs) = find() {
        return Ok(programs);
    }
    install()?;
    match find() {
        Ok(programs) => Ok(programs),
        Err(missing) => bail!("{missing} not found, even after installing\n\n{HOW_TO_GET}"),
    }
}

/// Prometheus' own tool for rules, which tests our alarms.
pub(crate) fn promtool() -> Result<PathBuf> {
    tool("promtool", "prometheus")
}

/// What shows the order of system calls: that an answer comes after its fsync.
pub(crate) fn strace() -> Result<PathBuf> {
    tool("strace", "strace")
}

/// A proxy of the kind that stands in front of receivers.
pub(crate) fn haproxy() -> Result<PathBuf> {
    tool("haproxy", "haproxy")
}

/// Finds a program, or installs the package that has it where that is possible.
fn tool(name: &'static str, package: &str) -> Result<PathBuf> {
    let find = || process::folder_of(name, &[]).map(|folder| folder.join(name));
    if let Some(program) = find() {
        return Ok(program);
    }
    if !can_install() {
        bail!("{name} not found: sudo apt-get install --no-install-recommends {package}");
    }
    eprintln!("xtask: installing {package}, for {name}");
    let _policy = NoServiceStarts::set()?;
    apt_get(&["update"])?;
    apt_get(&["install", "--yes", "--no-install-recommends", package])?;
    find().with_context(|| format!("find {name} after installing {package}"))
}

/// The programs, or the names of those that are not here.
fn find() -> std::result::Result<Programs, String> {
    // Debian keeps the programs of each PostgreSQL version apart, and puts wrappers before those
    // of RabbitMQ that insist on the system user: the folders behind them come before PATH.
    let mut postgres_folders = newest_first("/usr/lib/postgresql", "", "bin");
    postgres_folders.extend(newest_first("/usr", "pgsql-", "bin"));
    let rabbitmq_folders = newest_first("/usr/lib/rabbitmq/lib", "rabbitmq_server-", "sbin");
    let postgres = process::folder_of("initdb", &postgres_folders);
    let rabbitmq = process::folder_of("rabbitmq-server", &rabbitmq_folders);
    let erlang = process::folder_of("epmd", &[]);
    match (postgres, rabbitmq, erlang) {
        (Some(postgres), Some(rabbitmq), Some(erlang)) => Ok(Programs { postgres, rabbitmq, erlang }),
        (postgres, rabbitmq, erlang) => {
            let wanted = [
                ("initdb (PostgreSQL)", postgres.is_some()),
                ("rabbitmq-server", rabbitmq.is_some()),
                ("epmd (Erlang)", erlang.is_some()),
            ];
            let missing = wanted.iter().filter(|(_, here)| !here);
            let names: Vec<&str> = missing.map(|(name, _)| *name).collect();
            Err(names.join(", "))
        }
    }
}

/// `<parent>/<prefix><version>/<tail>` for every version there is, the highest first.
fn newest_first(parent: &str, prefix: &str, tail: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(number) = name.strip_prefix(prefix) {
            found.push((version(number), entry.path().join(tail)));
        }
    }
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|number| number.parse().unwrap_or(0)).collect()
}

fn can_install() -> bool {
    Path::new("/etc/debian_version").exists() && process::folder_of("apt-get", &[]).is_some() && process::is_root()
}

fn install() -> Result<()> {
    if !can_install() {
        bail!("programs missing\n\n{HOW_TO_GET}");
    }
    eprintln!("xtask: installing PostgreSQL and RabbitMQ");
    let _policy = NoServiceStarts::set()?;
    apt_get(&["update"])?;
    apt_get(&["install", "--yes", "--no-install-recommends", "postgresql", "rabbitmq-server"])
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut command).context("apt-get").map(drop)
}

/// While this lives, an installed package does not start its service: nothing would ever use it.
/// A machine that has a policy of its own keeps it.
struct NoServiceStarts {
    ours: bool,
}

impl NoServiceStarts {
    fn set() -> Result<Self> {
        let path = Path::new(START_POLICY);
        let ours = !path.exists();
        if ours {
            process::write_script(path, "exit 101\n")?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServiceStarts {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(START_POLICY)
        {
            eprintln!("xtask: remove {START_POLICY}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version("9.6") < version("15"));
        assert!(version("3.9.13") < version("3.10.8"));
    }
}
