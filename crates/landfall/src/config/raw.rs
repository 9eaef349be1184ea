//! What was set, and where: file and environment, before anything is checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::table::{OTHER_VARIABLES, SETTINGS, nearest};

/// Where a value came from, for `config show` and for error texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Environment(String),
    Flag,
}

#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

/// One `[[environment]]` of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEnvironment {
    pub(crate) name: String,
    pub(crate) dev_id: Option<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) api_key_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) signing_secrets: Vec<String>,
    pub(crate) signing_secrets_file: Option<PathBuf>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Raw {
    values: BTreeMap<&'static str, Value>,
    pub(crate) environments: Vec<RawEnvironment>,
    pub(crate) problems: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Raw {
    /// Gathers settings: defaults, then the file, then the environment. Flags come last, by [`Raw::set`].
    pub(crate) fn gather(file: Option<(PathBuf, String)>, environment: impl Iterator<Item = (String, String)>) -> Raw {
        let mut raw = Raw::default();
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                raw.values.insert(setting.key, Value { text: default.into(), origin: Origin::Default });
            }
        }
        if let Some((path, text)) = file {
            raw.read_file(path, &text);
        }
        raw.read_environment(environment);
        raw
    }

    pub(crate) fn set(&mut self, key: &'static str, text: impl Into<String>) {
        self.values.insert(key, Value { text: text.into(), origin: Origin::Flag });
    }

    /// Like [`Raw::set`], but only where nothing was set.
    pub(crate) fn set_default(&mut self, key: &'static str, text: impl Into<String>) {
        if self.values.get(key).is_none_or(|value| value.origin == Origin::Default) {
            self.values.insert(key, Value { text: text.into(), origin: Origin::Default });
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    pub(crate) fn is_default(&self, key: &str) -> bool {
        self.values.get(key).is_none_or(|value| value.origin == Origin::Default)
    }

    fn read_file(&mut self, path: PathBuf, text: &str) {
        let table: toml::Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                self.problems.push(format!("{}: {}", path.display(), error.message()));
                return;
            }
        };
        for (name, value) in table {
            if name == "environment" {
                match value.try_into::<Vec<RawEnvironment>>() {
                    Ok(environments) => self.environments = environments,
                    Err(error) => {
                        self.problems.push(format!("{}: [[environment]]: {}", path.display(), error.message()))
                    }
                }
                continue;
            }
            let (base, is_file) = split_file_suffix(&name);
            match (
                SETTINGS
                    .iter()
                    .find(|setting| setting.key == name)
                    .or_else(|| SETTINGS.iter().find(|setting| is_file && setting.secret && setting.key == base)),
                scalar(&value),
            ) {
                (Some(setting), Some(text)) if setting.key == name => {
                    self.values.insert(setting.key, Value { text, origin: Origin::File(path.clone()) });
                }
                (Some(setting), Some(text)) => self.read_secret_file(setting.key, &text, Origin::File(path.clone())),
                (Some(_), None) => self
                    .problems
                    .push(format!("{}: `{name}` must be a string, a number or a list of strings", path.display())),
                (None, _) => {
                    let hint = nearest(&name, SETTINGS.iter().map(|setting| setting.key).chain(["environment"]))
                        .map(|known| format!(": did you mean `{known}`?"))
                        .unwrap_or_default();
                    self.problems.push(format!("{}: unknown setting `{name}`{hint}", path.display()));
                }
            }
        }
    }

    fn read_environment(&mut self, environment: impl Iterator<Item = (String, String)>) {
        let names: Vec<String> = SETTINGS.iter().map(super::table::Setting::env).collect();
        for (name, text) in
            environment.filter(|(name, _)| name.starts_with("LANDFALL_") && !name.starts_with("LANDFALL_TEST_"))
        {
            if OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            if let Some(at) = names.iter().position(|known| *known == name) {
                self.values.insert(SETTINGS[at].key, Value { text, origin: Origin::Environment(name) });
                continue;
            }
            let of_secret = name
                .strip_suffix("_FILE")
                .and_then(|base| names.iter().position(|known| known == base))
                .filter(|at| SETTINGS[*at].secret);
            match of_secret {
                Some(at) => self.read_secret_file(SETTINGS[at].key, &text, Origin::Environment(name)),
                None => {
                    let hint = nearest(&name, names.iter().map(String::as_str))
                        .map(|known| format!(": did you mean {known}?"))
                        .unwrap_or_default();
                    self.warnings.push(format!("unknown variable {name}{hint}"));
                }
            }
        }
    }

    fn read_secret_file(&mut self, key: &'static str, path: &str, origin: Origin) {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                self.values.insert(key, Value { text: text.trim_end_matches(['\r', '\n']).to_owned(), origin });
            }
            Err(error) => self.problems.push(format!("{key}: cannot read the file {path}: {error}")),
        }
    }
}

fn split_file_suffix(name: &str) -> (&str, bool) {
    name.strip_suffix("_file").map_or((name, false), |base| (base, true))
}

fn scalar(value: &toml::Value) -> Option<String> {
    if let Some(list) = value.as_array() {
        return list.iter().map(|item| item.as_str()).collect::<Option<Vec<_>>>().map(|items| items.join(","));
    }
    value
        .as_str()
        .map(str::to_owned)
        .or_else(|| value.as_integer().map(|n| n.to_string()))
        .or_else(|| value.as_bool().map(|b| b.to_string()))
        .or_else(|| value.as_float().map(|f| f.to_string()))
}
