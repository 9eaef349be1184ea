//! The steps of `cargo xtask test`, in order, and what became of each.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::programs;
use crate::services::{Environment, Services};
use crate::shortfalls::Shortfalls;

const ALARM_TESTS: &str = "alerts_test.yml";

const FORMAT: &[&str] = &["fmt", "--all", "--check"];
const LINTS: &[&str] = &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
const DOC_TESTS: &[&str] = &["test", "--doc", "--workspace", "--all-features"];
const NEXTEST: &[&str] = &["nextest", "run", "--workspace", "--all-features"];
const CARGO_TEST: &[&str] = &["test", "--workspace", "--tests", "--all-features", "--no-fail-fast"];

/// Tells tests to try as often as is promised, and not as often as there is time for in every run.
const FULL: &str = "LANDFALL_TEST_FULL";

/// Every check and every test. A step that fails does not hide what the later ones would say.
pub(crate) fn everything() -> Result<()> {
    let mut run = Run::begin()?;
    run.cargo(FORMAT, &[]);
    run.cargo(LINTS, &[]);
    let environment = run.services_up();
    // Only now: the keeper may have been installing as well.
    run.alarms();
    run.tools();
    if let Some(environment) = &environment {
        run.cargo(DOC_TESTS, environment);
        let runner = if has_nextest() { NEXTEST } else { CARGO_TEST };
        run.cargo(runner, environment);
    }
    run.report()
}

/// The inner loop: the tests that `filter` picks, and nothing else; `full` as often as is promised of them.
pub(crate) fn only_tests(filter: &[&str], full: bool) -> Result<()> {
    let mut run = Run::begin()?;
    if let Some(mut environment) = run.services_up() {
        let runner = if has_nextest() { NEXTEST } else { CARGO_TEST };
        if full {
            environment.push((FULL.to_owned(), "1".to_owned()));
            environment.push(("NEXTEST_PROFILE".to_owned(), "full".to_owned()));
            environment.push(("PROPTEST_CASES".to_owned(), "100000".to_owned()));
        }
        run.cargo(&[runner, filter].concat(), &environment);
    }
    println!("\nPart of the tests only: no format, lints or doc tests.");
    run.report()
}

struct Run {
    begun: Instant,
    root: PathBuf,
    services: Services,
    shortfalls: Shortfalls,
    done: Vec<Done>,
}

struct Done {
    what: String,
    passed: bool,
    took: Duration,
}

impl Run {
    fn begin() -> Result<Self> {
        let root = workspace()?;
        let shortfalls = Shortfalls::begin(&root)?;
        Ok(Self { begun: Instant::now(), root, services: Services::begin()?, shortfalls, done: Vec::new() })
    }

    fn services_up(&mut self) -> Option<Environment> {
        let begun = Instant::now();
        let environment = self.services.environment();
        let what = "PostgreSQL and RabbitMQ up (waited)".to_owned();
        self.note(what, begun, environment.as_ref().map(drop));
        environment.ok()
    }

    /// The alarms of `deploy/` against their tests.
    fn alarms(&mut self) {
        let what = format!("promtool test rules deploy/{ALARM_TESTS}");
        println!("\n==> {what}");
        let begun = Instant::now();
        let deploy = self.root.join("deploy");
        let result = programs::promtool().and_then(|promtool| {
            let tested = Command::new(promtool).args(["test", "rules", ALARM_TESTS]).current_dir(deploy).status();
            let status = tested.context("start promtool")?;
            if status.success() { Ok(()) } else { bail!("{status}") }
        });
        self.note(what, begun, result.as_ref().map(drop));
    }

    /// A test looks at the system calls of the process, another sends through a proxy.
    fn tools(&mut self) {
        for (name, provide) in [("strace", programs::strace as fn() -> Result<PathBuf>), ("haproxy", programs::haproxy)]
        {
            let begun = Instant::now();
            let result = provide();
            self.note(format!("{name} is there"), begun, result.as_ref().map(drop));
        }
    }

    fn cargo(&mut self, arguments: &[&str], environment: &[(String, String)]) {
        let what = format!("cargo {}", arguments.join(" "));
        println!("\n==> {what}");
        let begun = Instant::now();
        let result = self.run_cargo(arguments, environment);
        self.note(what, begun, result.as_ref().map(drop));
    }

    /// In a process group of its own, so that all of it can be ended at once.
    fn run_cargo(&mut self, arguments: &[&str], environment: &[(String, String)]) -> Result<()> {
        let mut child = cargo(&self.root)
            .args(arguments)
            .envs(environment.iter().cloned())
            .envs([self.shortfalls.variable()])
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .context("start cargo")?;
        self.services.step_started(child.id());
        let status = child.wait();
        self.services.step_ended();
        let status = status.context("wait for cargo")?;
        if !status.success() {
            bail!("{status}");
        }
        Ok(())
    }

    fn note(&mut self, what: String, begun: Instant, result: Result<(), &anyhow::Error>) {
        if let Err(error) = result {
            eprintln!("xtask: {what}: {error:#}");
        }
        self.done.push(Done { what, passed: result.is_ok(), took: begun.elapsed() });
    }

    fn report(self) -> Result<()> {
        let Self { begun, services, shortfalls, done, .. } = self;
        drop(services);
        shortfalls.say();
        println!();
        for Done { what, passed, took } in &done {
            let verdict = if *passed { "passed" } else { "FAILED" };
            println!("{verdict}  {:>7.1} s  {what}", took.as_secs_f64());
        }
        println!("        {:>7.1} s  in all", begun.elapsed().as_secs_f64());
        let failed = done.iter().filter(|step| !step.passed).count();
        if failed > 0 {
            bail!("{failed} of {} steps failed", done.len());
        }
        Ok(())
    }
}

pub(crate) fn workspace() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("find the workspace")?.to_owned())
}

/// The cargo that runs us, without what it told us about our own package: some build scripts ask
/// to be run again when those variables change, which would rebuild half of the dependencies.
fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

fn has_nextest() -> bool {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
        .args(["nextest", "--version"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
