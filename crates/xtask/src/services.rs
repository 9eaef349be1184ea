//! The first process's hold on the services: a pipe to their keeper.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::quoted;
use crate::{keeper, programs};

/// The variables that tell the tests where the services are.
pub(crate) type Environment = Vec<(String, String)>;

#[must_use = "the services stop when this is dropped"]
pub(crate) struct Services {
    keeper: Child,
    /// Open as long as the services are wanted.
    hold: Option<ChildStdin>,
}

impl Services {
    /// Returns at once: starting (and, on a new machine, installing) goes on beside other steps.
    pub(crate) fn begin() -> Result<Self> {
        programs::check()?;
        let program = std::env::current_exe().context("find this program")?;
        let mut keeper = Command::new(program)
            .arg(keeper::COMMAND)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the keeper of the services")?;
        let hold = keeper.stdin.take();
        Ok(Self { keeper, hold })
    }

    /// Waits until both services answer.
    pub(crate) fn environment(&mut self) -> Result<Environment> {
        let output = self.keeper.stdout.as_mut().context("read from the keeper")?;
        let mut variables = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.context("read from the keeper")?;
            if line == keeper::READY {
                return Ok(variables);
            }
            if let Some((name, value)) = line.split_once('=') {
                variables.push((name.to_owned(), value.to_owned()));
            }
        }
        bail!("PostgreSQL and RabbitMQ could not be started; the reason is above")
    }

    /// From now on, the keeper ends process group `id` if we vanish.
    pub(crate) fn step_started(&mut self, id: u32) {
        self.tell(&format!("start {id}\n"));
    }

    pub(crate) fn step_ended(&mut self) {
        self.tell("end\n");
    }

    fn tell(&mut self, line: &str) {
        if let Some(hold) = &mut self.hold {
            // A keeper that failed to start is gone already; `environment` reports that.
            let _ = hold.write_all(line.as_bytes());
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.hold = None;
        if let Err(error) = self.keeper.wait() {
            eprintln!("xtask: wait for the services to stop: {error}");
        }
    }
}

/// `cargo xtask services`. Ctrl-C ends this process in the usual way, and the keeper follows.
pub(crate) fn until_interrupted() -> Result<()> {
    let mut services = Services::begin()?;
    for (name, value) in services.environment()? {
        println!("export {name}={}", quoted(&value));
    }
    println!("# running until Ctrl-C");
    let status = services.keeper.wait().context("wait for the keeper")?;
    bail!("the services ended by themselves: {status}")
}
