//! A private PostgreSQL cluster on a free port of loopback.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, quoted};

const USER: &str = "landfall";
const CONNECTIONS_MAX: u32 = 300;
const START_TIMEOUT_S: u32 = 60;

pub(crate) struct Postgres {
    port: u16,
    /// `pg_ctl` for this cluster
    control: PathBuf,
}

/// Makes a cluster below `folder` and starts it.
///
/// Everybody on loopback is let in without a password: the hashing of `scram-sha-256` takes a good
/// part of a second in an unoptimised client, and the tests open many connections.
pub(crate) fn start(programs: &Path, folder: &Path) -> Result<Postgres> {
    let [port] = process::free_ports()?;
    let owner = if process::is_root() { Some(unprivileged_owner()?) } else { None };
    let data = folder.join("data");
    fs::create_dir(folder).with_context(|| format!("create {}", folder.display()))?;
    let mut as_owner = String::new();
    if let Some(Owner { user, group }) = owner {
        chown(folder, Some(user), Some(group)).context("give PostgreSQL its folder")?;
        // The server refuses to run as root.
        as_owner = format!("setpriv --reuid={user} --regid={group} --clear-groups ");
    }

    // A bare environment: the caller's PG* variables and locale are not for this cluster.
    let bare = format!("cd {}\nexec {as_owner}env -i PATH=\"$PATH\" LC_ALL=C.UTF-8 TZ=UTC ", quoted(folder));
    let create = folder.join("initdb");
    process::write_script(
        &create,
        &format!(
            "{bare}{} --pgdata={} --username={USER} --auth=trust --encoding=UTF8 --locale=C.UTF-8\n",
            quoted(programs.join("initdb")),
            quoted(&data),
        ),
    )?;
    process::run(&mut Command::new(&create)).context("create the PostgreSQL cluster")?;
    append(&data.join("postgresql.conf"), &settings(port, folder))?;

    let log = folder.join("log");
    let control = folder.join("pg_ctl");
    process::write_script(
        &control,
        &format!(
            "{bare}{} --pgdata={} --log={} --timeout={START_TIMEOUT_S} --wait --silent \"$@\"\n",
            quoted(programs.join("pg_ctl")),
            quoted(&data),
            quoted(&log),
        ),
    )?;
    let postgres = Postgres { port, control };
    process::run(Command::new(&postgres.control).arg("start"))
        .with_context(|| format!("start PostgreSQL; its log ends:\n{}", process::tail(&log, 20)))?;
    Ok(postgres)
}

impl Postgres {
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let Self { port, control } = self;
        vec![
            ("LANDFALL_TEST_POSTGRES_URL", format!("postgres://{USER}:landfall@127.0.0.1:{port}/postgres")),
            ("LANDFALL_TEST_PG_CTL", control.display().to_string()),
        ]
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A test may have left the server stopped, which `pg_ctl` reports as a failure. The data
        // is thrown away, so there is no reason to wait for a checkpoint.
        let _ = process::run(Command::new(&self.control).args(["stop", "--mode=immediate"]));
    }
}

/// `fsync` stays on: what survives a crash is what the tests are about.
fn settings(port: u16, folder: &Path) -> String {
    format!(
        "\n\
         listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         unix_socket_directories = '{}'\n\
         max_connections = {CONNECTIONS_MAX}\n\
         shared_buffers = 64MB\n\
         fsync = on\n\
         synchronous_commit = on\n\
         full_page_writes = on\n\
         timezone = 'UTC'\n\
         log_timezone = 'UTC'\n",
        folder.display()
    )
}

fn append(path: &Path, text: &str) -> Result<()> {
    let mut whole = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    whole.push_str(text);
    fs::write(path, whole).with_context(|| format!("write {}", path.display()))
}

struct Owner {
    user: u32,
    group: u32,
}

/// Whom the server runs as if we are root: its package's user, or the one that owns nothing.
fn unprivileged_owner() -> Result<Owner> {
    let id = |what: &str, user: &str| -> Result<u32> {
        let printed = process::run(Command::new("id").args([what, user]))?;
        printed.trim().parse().context("read a numeric id")
    };
    let of = |name: &str| -> Result<Owner> { Ok(Owner { user: id("-u", name)?, group: id("-g", name)? }) };
    of("postgres").or_else(|_| of("nobody")).context("find a user other than root for PostgreSQL")
}
