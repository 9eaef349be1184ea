//! Random load and random faults, then the books: what was answered 2xx is there, once, and was told.
//!
//! One seed decides what is sent and what is done to the processes and their servers; when each thing happens in the
//! processes themselves is up to the machine. `cargo xtask torture` runs it for longer.

mod books;
mod fleet;
mod nemesis;
mod sender;
#[cfg(feature = "services")]
mod servers;

use std::time::{Duration, Instant};

use books::Book;
use fleet::Fleet;
use nemesis::Nemesis;
use sender::Sender;

use crate::harness::dice::Dice;
use crate::harness::{Engine, now_seconds};

crate::on_every_engine!(what_was_answered_2xx_takes_effect_exactly_once_under_every_fault);

/// A slice in every run of the tests; the long one is asked for by the environment.
const SECONDS: u64 = 90;

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

async fn what_was_answered_2xx_takes_effect_exactly_once_under_every_fault(engine: Engine) {
    let seed = asked("LANDFALL_TORTURE_SEED")
        .unwrap_or_else(|| u64::from(std::process::id()) << 20 ^ now_seconds().unsigned_abs());
    let seconds = asked("LANDFALL_TORTURE_SECONDS").unwrap_or(SECONDS);
    println!("torture of {engine:?}, seed {seed}, {seconds} s");
    let mut dice = Dice::new(seed);
    let mut fleet = Fleet::start(engine, seconds).await;
    let mut sender = Sender::start(&fleet, dice.fork());
    let mut nemesis = Nemesis::new(engine, dice);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        nemesis.strike(&mut fleet).await;
    }
    fleet.heal().await;
    let sent = sender.finish().await;
    let books = Book::open(&fleet, &sent).await;
    println!("faults: {}", nemesis.tally());
    println!("{}", sent.tally());
    let failed = books.check(&fleet, &sent).await;
    println!("seed {seed}: {} passed, {failed} failed", books::CHECKS - failed);
    assert_eq!(failed, 0, "seed {seed}");
    fleet.end().await;
}
