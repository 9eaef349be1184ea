//! What commands print: tables for people, JSON and CSV for programs. The only place that knows how.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::exit::Declined;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Ndjson,
    Csv,
}

/// How results are printed.
#[derive(clap::Args)]
pub(crate) struct Output {
    /// A table on a terminal, JSON when piped, if not said
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Output {
    pub(crate) fn format(&self) -> Format {
        self.output.unwrap_or(if io::stdout().is_terminal() { Format::Table } else { Format::Json })
    }
}

/// One column: its heading, and the path of its value in a row, such as `user` or `status.reason`.
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    pub(crate) path: &'static str,
}

pub(crate) const fn column(heading: &'static str, path: &'static str) -> Column {
    Column { heading, path }
}

/// Prints rows. JSON has them whole; tables and CSV have the columns.
pub(crate) fn print_rows(output: &Output, columns: &[Column], rows: &[Value]) -> anyhow::Result<()> {
    match output.format() {
        Format::Table => say(&table(columns, rows)),
        Format::Json => say(&serde_json::to_string_pretty(rows).context("write JSON")?),
        Format::Ndjson => say(&rows.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")),
        Format::Csv => say(&csv(columns, rows)),
    }
}

/// Prints one thing: as a table, a row for each of its fields.
pub(crate) fn print_one(output: &Output, thing: &Value) -> anyhow::Result<()> {
    match output.format() {
        Format::Json => say(&serde_json::to_string_pretty(thing).context("write JSON")?),
        Format::Ndjson => say(&thing.to_string()),
        Format::Table => print_rows(output, &FIELDS, &fields(thing)),
        Format::Csv => say(&csv(&FIELDS, &fields(thing))),
    }
}

const FIELDS: [Column; 2] = [column("field", "field"), column("value", "value")];

fn fields(thing: &Value) -> Vec<Value> {
    let fields = thing.as_object().into_iter().flatten();
    fields.map(|(field, value)| serde_json::json!({ "field": field, "value": text(value) })).collect()
}

/// Prints text as it is.
pub(crate) fn print_text(text: &str) -> anyhow::Result<()> {
    say(text)
}

/// Says on standard error what an empty listing means, so that it is not taken for a mistake.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("{text}");
}

/// Whoever reads our output may stop reading, as `head` does: that is no failure.
fn say(text: &str) -> anyhow::Result<()> {
    let written = match text {
        "" => Ok(()),
        text => writeln!(anstream::stdout().lock(), "{text}"),
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("write to standard output"),
    }
}

fn table(columns: &[Column], rows: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.heading.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|column| cell(row, column)));
    }
    for (index, column) in columns.iter().enumerate() {
        let is_number = !rows.is_empty() && rows.iter().all(|row| at(row, column.path).is_number());
        if let (true, Some(shown)) = (is_number, table.column_mut(index)) {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    let plain = table.to_string();
    let (heading, rest) = plain.split_once('\n').unwrap_or((&plain, ""));
    let bold = anstyle::Style::new().bold();
    let rest: Vec<&str> = rest.lines().map(str::trim_end).collect();
    format!("{bold}{}{bold:#}\n{}", heading.trim_end(), rest.join("\n")).trim_end().to_owned()
}

fn cell(row: &Value, column: &Column) -> String {
    let value = at(row, column.path);
    if value.is_null() { "–".into() } else { text(value).chars().filter(|c| !c.is_control()).collect() }
}

fn csv(columns: &[Column], rows: &[Value]) -> String {
    let heading = columns.iter().map(|column| column.heading.to_owned()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|column| harmless(at(row, column.path))).collect());
    let lines: Vec<String> = std::iter::once(heading).chain(cells).map(|line: Vec<String>| line.join(",")).collect();
    lines.join("\n")
}

/// A spreadsheet would run a cell that begins like a formula. Numbers keep their sign.
pub(crate) fn harmless(value: &Value) -> String {
    let text = text(value);
    let is_formula = !value.is_number() && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn at<'a>(row: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(row, |value, part| &value[part])
}

/// Plain words where there are some, JSON for what has a shape of its own.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(text).collect::<Vec<_>>().join(" ")
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Asks before something that cannot be taken back. Without a terminal only `--yes` says yes.
pub(crate) fn agreed(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Declined(format!("{question} Nobody is there to ask: add --yes")).into());
    }
    anstream::eprint!("{question} Type \"yes\" to go on: ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("read the answer")?;
    if line.trim() == "yes" { Ok(()) } else { Err(Declined("declined; nothing was changed".into()).into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 3] = [column("id", "id"), column("user", "user.name"), column("count", "count")];

    #[track_caller]
    fn check(value: Value, expected: &str) {
        assert_eq!(harmless(&value), expected);
    }

    #[test]
    fn a_cell_of_csv_is_never_a_formula() {
        check(json!("=1+1"), "'=1+1");
        check(json!("+1"), "'+1");
        check(json!("-1"), "'-1");
        check(json!("@sum"), "'@sum");
        check(json!(-1), "-1");
        check(json!("=a,\"b\""), "\"'=a,\"\"b\"\"\"");
        check(json!("plain"), "plain");
        check(json!(["a", "b"]), "a b");
        check(json!(null), "");
    }

    #[test]
    fn csv_has_the_columns_in_their_order() {
        let rows = [json!({ "id": "1", "user": { "name": "anna" }, "count": 2 }), json!({ "id": "2" })];
        assert_eq!(csv(&COLUMNS, &rows), "id,user,count\n1,anna,2\n2,,");
    }

    #[test]
    fn a_table_shows_dashes_for_nothing_and_no_control_characters() {
        let rows =
            [json!({ "id": "1", "user": { "name": "an\u{1b}[31mna" }, "count": 2 }), json!({ "id": "2", "count": 10 })];
        let shown = anstream::adapter::strip_str(&table(&COLUMNS, &rows)).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("ID") && lines[0].contains("USER"), "{shown}");
        assert!(lines[1].contains("an[31mna") && lines[1].ends_with(" 2"), "{shown}");
        assert!(lines[2].contains('–') && lines[2].ends_with("10"), "{shown}");
    }

    #[test]
    fn without_a_terminal_only_yes_is_yes() {
        assert!(agreed("Split it?", true).is_ok());
    }
}
