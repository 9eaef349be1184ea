//! `landfall why USER TYPE DATE`: the way of a person's data, layer by layer, and where it ended.

use jiff::civil::Date;
use serde_json::Value;
use terra::event::DataKind;

use super::client::Instance;
use super::output::{self, Format, Output};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Your own user; a reference or one of Terra's user ids does as well
    user: String,
    /// Terra's event type, such as sleep
    #[arg(value_name = "TYPE", value_parser = kind)]
    kind: DataKind,
    /// A day on the person's calendar, such as 2026-03-01
    #[arg(value_parser = date)]
    date: Date,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    instance: Instance,
}

fn kind(label: &str) -> Result<DataKind, String> {
    DataKind::parse(label).ok_or_else(|| format!("one of {}", DataKind::ALL.map(DataKind::label).join(", ")))
}

/// jiff itself would take a time and drop its hours.
fn date(text: &str) -> Result<Date, String> {
    let is_day = text.len() == "2026-03-01".len();
    text.parse().ok().filter(|_| is_day).ok_or_else(|| "a day, such as 2026-03-01".to_owned())
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let asked = [("user", args.user), ("type", args.kind.label().to_owned()), ("date", args.date.to_string())];
    let answer = args.instance.api()?.get("/v1/why", &asked).await?;
    match args.output.format() {
        Format::Json | Format::Ndjson => output::print_one(&args.output, &answer),
        Format::Table | Format::Csv => output::print_text(&shown(&answer)),
    }
}

fn shown(answer: &Value) -> String {
    let mut lines = Vec::new();
    let connections = answer["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
    for connection in connections {
        lines.push(format!("connection {} ({})", text(&connection["connection"]), text(&connection["provider"])));
        for step in connection["steps"].as_array().into_iter().flatten() {
            let mark = match step["state"].as_str() {
                Some("ok") => "ok",
                Some("fault") => "✗ ",
                Some(_) | None => "? ",
            };
            lines.push(format!("  {mark} {:<11} {}", text(&step["layer"]), text(&step["words"])));
        }
        if connections.len() > 1 {
            lines.push(format!("  → {}", text(&connection["verdict"]["words"])));
        }
    }
    let layer = answer["verdict"]["layer"].as_str().map(|layer| format!("{layer}: ")).unwrap_or_default();
    lines.push(format!("{layer}{}", text(&answer["verdict"]["words"])));
    let printable = |line: String| line.chars().filter(|c| !c.is_control()).collect::<String>();
    lines.into_iter().map(printable).collect::<Vec<_>>().join("\n")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("–")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_have_marks_and_the_verdict_comes_last() {
        let answer = json!({
            "verdict": { "layer": "provider", "words": "OURA does not serve nutrition: nothing will ever come" },
            "connections": [{ "connection": "c1", "provider": "OURA", "steps": [
                { "layer": "connection", "state": "ok", "words": "connected" },
                { "layer": "provider", "state": "fault", "words": "OURA does not" },
                { "layer": "scopes", "state": "unknown", "words": "Terra named \u{1b}[31mno scopes" },
            ] }],
        });
        let expected = "connection c1 (OURA)
  ok connection  connected
  ✗  provider    OURA does not
  ?  scopes      Terra named [31mno scopes
provider: OURA does not serve nutrition: nothing will ever come";
        assert_eq!(shown(&answer), expected);
    }

    #[test]
    fn a_date_is_a_day_and_a_type_one_of_terras() {
        assert!(date("2026-03-01").is_ok());
        for bad in ["2026-02-30", "yesterday", "2026-03-01T08:00:00", "20260301"] {
            assert!(date(bad).is_err(), "{bad}");
        }
        assert!(kind("sleeps").unwrap_err().contains("sleep"));
    }
}
