//! Terra's published schemas: one file for each type, in YAML or JSON, which refer to one another by
//! file name.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use jsonschema::{Retrieve, Uri, Validator};
use serde_json::Value;

/// Where the files are said to be, so that a reference by name is a whole address.
const BASE: &str = "https://schemas.invalid/";
/// The file that lists the schemas of all webhooks.
const UNION: &str = "WebhookEventType.yaml";

pub(crate) struct Published {
    files: Arc<BTreeMap<String, Value>>,
    /// Names of the files that describe a webhook.
    events: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Conforming {
        schema: String,
    },
    Violating {
        schema: String,
        violations: Vec<String>,
    },
    /// No file describes an event of this type and status.
    Unpublished,
}

impl Published {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).with_context(|| format!("list the schemas in {}", folder.display()))? {
            let path = entry.context("list the schemas")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = || fs::read_to_string(&path).with_context(|| format!("read {name}"));
            let schema: Value = match path.extension().and_then(|ending| ending.to_str()) {
                Some("yaml" | "yml") => serde_saphyr::from_str(&text()?).with_context(|| format!("read {name}"))?,
                Some("json") => serde_json::from_str(&text()?).with_context(|| format!("read {name}"))?,
                Some(_) | None => continue,
            };
            files.insert(name, schema);
        }
        let union = files.get(UNION).or_else(|| files.get("WebhookEventType.json"));
        let union = union.with_context(|| format!("find {UNION} in {}", folder.display()))?;
        let listed = union["oneOf"].as_array().into_iter().flatten();
        let events = listed.filter_map(|one| one["$ref"].as_str().map(str::to_owned)).collect();
        Ok(Self { files: Arc::new(files), events })
    }

    /// Names of the files that describe a webhook.
    pub(crate) fn events(&self) -> BTreeSet<String> {
        self.events.iter().cloned().collect()
    }

    pub(crate) fn judge(&self, event: &Value) -> Result<Verdict> {
        let Some(schema) = self.schema_of(event) else { return Ok(Verdict::Unpublished) };
        let validator = self.validator(schema)?;
        let line = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
        let violations: Vec<String> = validator.iter_errors(event).map(line).collect();
        let schema = schema.to_owned();
        Ok(if violations.is_empty() {
            Verdict::Conforming { schema }
        } else {
            Verdict::Violating { schema, violations }
        })
    }

    /// The file whose `type`, and `status` if it names one, are those of the event.
    fn schema_of(&self, event: &Value) -> Option<&str> {
        let fits = |file: &&String| {
            let properties = &self.files.get(*file).map_or(&Value::Null, |schema| &schema["properties"]);
            let status = &properties["status"]["const"];
            properties["type"]["const"] == event["type"] && (status.is_null() || *status == event["status"])
        };
        self.events.iter().find(fits).map(String::as_str)
    }

    fn validator(&self, file: &str) -> Result<Validator> {
        let schema = self.files.get(file).with_context(|| format!("find {file}"))?;
        jsonschema::options()
            .with_base_uri(format!("{BASE}{file}"))
            .should_validate_formats(true)
            .with_retriever(Files(self.files.clone()))
            .build(schema)
            .map_err(|error| anyhow!("{error}"))
            .with_context(|| format!("understand {file}"))
    }
}

struct Files(Arc<BTreeMap<String, Value>>);

impl Retrieve for Files {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let name = uri.as_str().strip_prefix(BASE).ok_or_else(|| format!("{uri} is not in the folder"))?;
        self.0.get(name).cloned().ok_or_else(|| format!("{name} is not in the folder").into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn published() -> (tempfile::TempDir, Published) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("WebhookEventType.yaml", "oneOf:\n  - $ref: StepsEvent.yaml\n");
        write(
            "StepsEvent.yaml",
            "type: object\nproperties:\n  type: { type: string, const: steps }\n  data: { type: array, items: { $ref: Steps.yaml } }\nrequired: [type, data]\n",
        );
        write(
            "Steps.yaml",
            "type: object\nproperties:\n  count:\n    anyOf:\n      - type: integer\n      - type: \"null\"\n",
        );
        write("README.md", "not a schema");
        let published = Published::read(folder.path()).unwrap();
        (folder, published)
    }

    #[track_caller]
    fn check(event: Value, expected: &[&str]) {
        let (_folder, published) = published();
        let violations = match published.judge(&event).unwrap() {
            Verdict::Conforming { .. } => Vec::new(),
            Verdict::Violating { violations, .. } => violations,
            Verdict::Unpublished => vec!["unpublished".to_owned()],
        };
        assert_eq!(violations, expected);
    }

    #[test]
    fn events_are_judged_across_files() {
        check(json!({ "type": "steps", "data": [{ "count": 3 }, { "count": null }] }), &[]);
        check(
            json!({ "type": "steps", "data": [{ "count": "3" }] }),
            &["/data/0/count: \"3\" is not valid under any of the schemas listed in the 'anyOf' keyword"],
        );
        check(json!({ "type": "steps" }), &[": \"data\" is a required property"]);
        check(json!({ "type": "naps", "data": [] }), &["unpublished"]);
    }

    #[test]
    fn a_folder_without_the_union_is_not_taken_for_schemas() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Published::read(folder.path()).is_err());
    }
}
