//! `landfall config`: what is set, where, and whether it fits.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::output::{self, Column, Output, column};
use crate::config::raw::{Origin, Raw};
use crate::config::table::{SETTINGS, Setting};
use crate::config::{self, Config};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Check all settings and say everything that is wrong with them
    Check(File),
    /// Every setting, its value and where that came from; secrets are not shown
    Show(Show),
    /// A landfall.toml with every setting and its default
    Template,
}

#[derive(clap::Args)]
struct File {
    /// Settings file [default: ./landfall.toml if it is there]
    #[arg(short, long, env = "LANDFALL_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Show {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    output: Output,
}

const COLUMNS: [Column; 3] = [column("setting", "setting"), column("value", "value"), column("from", "from")];

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.action {
        Action::Check(file) => check(file),
        Action::Show(show) => run_show(show),
        Action::Template => output::print_text(&template()),
    }
}

fn check(file: File) -> anyhow::Result<()> {
    let config = Config::check(config::gather(file.config)?)?;
    for warning in &config.warnings {
        output::note(&format!("warning: {warning}"));
    }
    output::note("the settings are valid");
    Ok(())
}

/// Shows invalid settings too: that is when one looks.
fn run_show(show: Show) -> anyhow::Result<()> {
    let raw = config::gather(show.file.config)?;
    let rows: Vec<Value> = SETTINGS.iter().map(|setting| row(setting, &raw)).collect();
    output::print_rows(&show.output, &COLUMNS, &rows)?;
    for environment in &raw.environments {
        output::note(&format!("[[environment]] {}: its secrets are not shown", environment.name));
    }
    for text in raw.warnings.iter().chain(&raw.problems) {
        output::note(&format!("warning: {text}"));
    }
    Ok(())
}

fn row(setting: &Setting, raw: &Raw) -> Value {
    let set = raw.get(setting.key);
    let value = set.map(|value| if setting.secret { masked(&value.text) } else { value.text.clone() });
    let from = set.map(|value| origin(&value.origin));
    json!({ "setting": setting.key, "environment": setting.env(), "value": value, "from": from, "secret": setting.secret })
}

/// `embedded` is no secret, though a URL in its place may be one.
fn masked(text: &str) -> String {
    match text {
        "" => "(empty)".into(),
        "embedded" => text.into(),
        _ => "(set)".into(),
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".into(),
        Origin::File(path) => path.display().to_string(),
        Origin::Environment(name) => name.clone(),
        Origin::Flag => "flag".into(),
    }
}

fn template() -> String {
    let mut lines = vec![
        "# Settings of Landfall. Every one is also an environment variable (LANDFALL_ and the name in capitals), which"
            .to_owned(),
        "# counts more than this file. What is commented out shows the default.".to_owned(),
    ];
    for setting in SETTINGS {
        lines.push(String::new());
        lines.push(format!("# {}", setting.help));
        if setting.secret {
            lines.push(format!(
                "# A secret: better in a file of its own, named by {}_file or {}_FILE.",
                setting.key,
                setting.env()
            ));
        }
        lines.push(format!("#{} = {}", setting.key, toml::Value::from(setting.default.unwrap_or_default())));
    }
    lines.push(String::new());
    lines.push("# Further Terra environments (dev ids); the settings above make up the one named `default`.".into());
    for line in
        ["[[environment]]", "name = \"staging\"", "dev_id = \"\"", "api_key_file = \"\"", "signing_secrets_file = \"\""]
    {
        lines.push(format!("#{line}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_file_that_is_understood_and_sets_nothing() {
        let raw = Raw::gather(Some(("landfall.toml".into(), template())), std::iter::empty());
        assert!(raw.problems.is_empty() && raw.environments.is_empty(), "{:?}", raw.problems);
        assert!(SETTINGS.iter().all(|setting| raw.is_default(setting.key)));
    }

    #[test]
    fn the_template_without_its_comment_signs_is_understood_too() {
        let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let template = template();
        let text: Vec<&str> = template.lines().filter(is_setting).map(|line| &line[1..]).collect();
        let known = |line: &&&str| !line.ends_with("= \"\"") && !line.starts_with('[') && !line.starts_with("name");
        let with_defaults: Vec<&str> = text.iter().filter(known).copied().collect();
        let raw = Raw::gather(Some(("landfall.toml".into(), with_defaults.join("\n"))), std::iter::empty());
        assert!(raw.problems.is_empty(), "{:?}", raw.problems);
        assert!(Config::check(raw).is_ok());
    }

    #[test]
    fn secrets_are_not_shown_and_origins_are() {
        let variables = [("LANDFALL_TERRA_API_KEY", "very-secret-key"), ("LANDFALL_WIDGET", "legacy")];
        let raw = Raw::gather(None, variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter());
        let rows: Vec<Value> = SETTINGS.iter().map(|setting| row(setting, &raw)).collect();
        let find = |key: &str| rows.iter().find(|row| row["setting"] == key).unwrap();
        assert_eq!(
            (&find("terra_api_key")["value"], &find("terra_api_key")["from"]),
            (&json!("(set)"), &json!("LANDFALL_TERRA_API_KEY"))
        );
        assert_eq!((&find("widget")["value"], &find("max_body")["from"]), (&json!("legacy"), &json!("default")));
        assert!(!Value::from(rows).to_string().contains("very-secret"));
    }
}
