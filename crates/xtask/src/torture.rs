//! `cargo xtask torture`: random load and random faults for as long as it is asked to, then the books.
//!
//! The run itself is a test (`tests/torture.rs`), a slice of which is part of every `cargo xtask test`.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shortfalls::Shortfalls;
use crate::steps::workspace;

pub(crate) struct Wish {
    /// Drawn by the run where none is given; it prints it.
    seed: Option<u64>,
    /// Of faults, per engine; working off and checking come on top.
    minutes: u64,
    engines: &'static [&'static str],
}

const MINUTES: u64 = 30;

impl Wish {
    pub(crate) fn parse(arguments: &[&str]) -> Result<Wish> {
        let mut wish = Wish { seed: None, minutes: MINUTES, engines: &["embedded", "cluster"] };
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            let value = rest.next().with_context(|| format!("{name} needs a value"))?;
            match *name {
                "--seed" => wish.seed = Some(value.parse().context("--seed: a whole number")?),
                "--minutes" => wish.minutes = value.parse().context("--minutes: a whole number")?,
                "--engine" if *value == "embedded" => wish.engines = &["embedded"],
                "--engine" if *value == "services" => wish.engines = &["cluster"],
                "--engine" => bail!("--engine: embedded or services"),
                _ => bail!("{name}: not known; there are --seed, --minutes and --engine"),
            }
        }
        Ok(wish)
    }
}

pub(crate) fn run(wish: &Wish) -> Result<()> {
    let shortfalls = Shortfalls::begin(&workspace()?)?;
    let mut failed = Vec::new();
    for engine in wish.engines {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(["test", "--package", "landfall", "--test", "landfall", "--all-features", "--"])
            .arg(format!("torture::{engine}::"))
            .args(["--nocapture", "--test-threads=1"])
            .envs([shortfalls.variable()])
            .env("LANDFALL_TORTURE_SECONDS", (wish.minutes * 60).to_string());
        if let Some(seed) = wish.seed {
            command.env("LANDFALL_TORTURE_SEED", seed.to_string());
        }
        if !command.status().context("start cargo")?.success() {
            failed.push(*engine);
        }
    }
    shortfalls.say();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed on: {}; the seed is above", failed.join(", "))
}
