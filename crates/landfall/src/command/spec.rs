//! `landfall spec`: what Landfall makes of Terra's contract, from the code that does it.

use anyhow::Context;
use domain::plan::effects::{self, effects};
use terra::event::Kind;

use super::output;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Every event of Terra's and what follows from it
    Events {
        #[arg(short, long, value_name = "FORMAT", default_value = "markdown")]
        output: Format,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Markdown,
    Json,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let What::Events { output } = args.what;
    match output {
        Format::Markdown => output::print_text(&effects::table()),
        Format::Json => {
            let events = Kind::ALL.map(effects);
            output::print_text(&serde_json::to_string_pretty(&events).context("write JSON")?)
        }
    }
}
