//! The second process: owns the two services, and ends them when the first process is gone.
//!
//! Its standard input is a pipe from the first process, which the kernel closes whatever happens
//! to that one. So there is one way to stop, and it needs no signal handler. Being in a process
//! group of its own, it outlives the Ctrl-C that ends the first.
//!
//! Lines in: `start <id>` when a step begins in process group `<id>`, `end` when it is over.
//! Lines out: the variables for the tests as `NAME=value`, then `ready`.

use std::fs;
use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::folder;
use crate::postgres::{self, Postgres};
use crate::rabbitmq::{self, RabbitMq};
use crate::{process, programs};

pub(crate) const COMMAND: &str = "keep";
pub(crate) const READY: &str = "ready";

/// Folder of the tests' own temporary files, beside those of the services.
const TESTS: &str = "tests";

/// A test runner that is told to stop wants to stop its tests first.
const STEP_GRACE: Duration = Duration::from_secs(10);

pub(crate) fn run() -> Result<()> {
    // Reads from the start, so that a step ends at once even while the services are starting.
    let watch = std::thread::spawn(end_step_when_the_pipe_closes);
    let services = start()?;
    tell_first_process(&services)?;
    watch.join().ok().context("watch the first process")?;
    Ok(())
}

/// Fields drop in this order: the folder goes when nobody writes to it any more.
struct Running {
    postgres: Postgres,
    rabbitmq: RabbitMq,
    folder: tempfile::TempDir,
}

fn start() -> Result<Running> {
    let programs = programs::provide()?;
    let folder = folder::temporary()?;
    // PostgreSQL may run as another user, who must be able to get to its folder inside.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
        .context("open the temporary folder to its users")?;
    let postgres = postgres::start(&programs.postgres, &folder.path().join("postgres"))?;
    let rabbitmq = rabbitmq::start(&programs, &folder.path().join("rabbitmq"))?;
    fs::create_dir(folder.path().join(TESTS)).context("make the tests' own folder")?;
    Ok(Running { postgres, rabbitmq, folder })
}

fn tell_first_process(services: &Running) -> Result<()> {
    let mut text = String::new();
    let postgres = services.postgres.environment();
    for (name, value) in postgres.iter().chain(&services.rabbitmq.environment()) {
        text.push_str(&format!("{name}={value}\n"));
    }
    text.push_str(&format!("TMPDIR={}\n", services.folder.path().join(TESTS).display()));
    text.push_str(READY);
    text.push('\n');
    // A first process that is gone closed both pipes: the watch notices, and all ends as usual.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn end_step_when_the_pipe_closes() {
    let mut running: Option<u32> = None;
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        running = line.strip_prefix("start ").and_then(|id| id.parse().ok());
    }
    if let Some(group) = running {
        process::end_group(group, STEP_GRACE);
    }
}
