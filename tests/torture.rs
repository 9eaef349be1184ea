//! Random load and random faults, then the books: what was answered 2xx is there, once, and was told.
//!
//! One seed decides what is sent and what is done to the processes and their servers; when each thing happens in the
//! processes themselves is up to the machine. `cargo xtask torture` runs it for longer.

mod balance;
mod books;
mod bugs;
mod fetched;
mod fleet;
mod ledger;
mod nemesis;
mod sender;
#[cfg(feature = "services")]
mod servers;
mod terra;

use std::time::Duration;

use balance::Balance;
use books::{Book, Notes};
use bugs::Bugs;
use fleet::Fleet;
use nemesis::Nemesis;
use sender::Sender;

use crate::harness::dice::Dice;
use crate::harness::{Engine, now_seconds};

crate::on_every_engine!(what_was_answered_2xx_takes_effect_exactly_once_under_every_fault);

/// A slice in every run of the tests; the long one is asked for by the environment.
const SECONDS: u64 = 90;

/// Terra gives up by then.
const SENT_WITHIN: Duration = Duration::from_secs(120);

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

async fn what_was_answered_2xx_takes_effect_exactly_once_under_every_fault(engine: Engine) {
    let seed = asked("LANDFALL_TORTURE_SEED")
        .unwrap_or_else(|| u64::from(std::process::id()) << 20 ^ now_seconds().unsigned_abs());
    let seconds = asked("LANDFALL_TORTURE_SECONDS").unwrap_or(SECONDS);
    println!("torture of {engine:?}, seed {seed}, {seconds} s");
    let time = Duration::from_secs(seconds);
    let mut dice = Dice::new(seed);
    let mut fleet = Fleet::start(engine, seconds).await;
    let sender = Sender::start(&fleet, dice.fork(), time);
    let mut nemesis = Nemesis::new(engine, dice, time);
    let mut balance = Balance::new(time);
    while nemesis.has_time() {
        nemesis.strike(&mut fleet).await;
        balance.look(&fleet, &sender.ledger).await;
    }
    fleet.heal().await;
    sender.stop();
    fleet.tend_until(SENT_WITHIN, "everything was taken or given up", async |_| sender.is_done()).await;
    let sent = sender.sent();
    let bugs = Bugs::come_to_light(&mut fleet, &sent).await;
    fleet.mend().await;
    bugs.replay(&fleet).await;
    let book = Book::open(&fleet, &sent, &nemesis.asked).await;
    println!("faults: {}", nemesis.tally());
    for tally in [sent.tally(), bugs.tally(&sent), book.fetched.tally(), balance.tally()] {
        println!("{tally}");
    }
    let notes = Notes { sent: &sent, asked: &nemesis.asked, bugs: &bugs, balance: &balance };
    let failed = book.check(&fleet, &notes).await;
    println!("seed {seed}: {} passed, {failed} failed", books::CHECKS - failed);
    if failed > 0 {
        panic!("seed {seed}; what was sent and answered: {}", sender.ledger.keep().display());
    }
    fleet.end().await;
}
