//! `cargo xtask test`: private PostgreSQL and RabbitMQ, then every check and every test.
//!
//! The services belong to a second process of this program, the [`keeper`], so that they end
//! with the first however that one ends: by itself, by Ctrl-C, or by `kill -9`.

mod conformance;
mod folder;
mod keeper;
mod postgres;
mod process;
mod programs;
mod rabbitmq;
mod services;
mod shortfalls;
mod steps;
mod torture;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask test                     format, lints, alarms, doc tests, and every test on both engines
       cargo xtask test -- FILTER...        only the tests that the test runner picks by these arguments
       cargo xtask test --full -- FILTER... the same, as often as tests/README.md promises: many hours for all of them
       cargo xtask services                 the two services alone, until Ctrl-C; prints the variables to export
       cargo xtask torture [--seed N] [--minutes M] [--engine embedded|services]
                                            random load and faults (30 minutes an engine), then the books
       cargo xtask conformance --schemas DIR  Terra's published schemas against the simulator's golden files and our decoder";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => steps::everything(),
        ["test", "--", filter @ ..] => steps::only_tests(filter, false),
        ["test", "--full", "--", filter @ ..] => steps::only_tests(filter, true),
        ["services"] => services::until_interrupted(),
        ["conformance", "--schemas", folder] => conformance::check(std::path::Path::new(folder)),
        ["torture", wish @ ..] => torture::Wish::parse(wish).and_then(|wish| torture::run(&wish)),
        [keeper::COMMAND] => keeper::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
