//! Our lists of the members of each kind against the schemas that Terra publishes (`tryterra/openapi`, folder `schemas`).
//!
//! The schemas are not ours to keep: their folder is named by `LANDFALL_TEST_SCHEMAS`, as `cargo xtask conformance
//! --schemas DIR` does. Without it only the comparison itself is checked, on a specimen with differences that it must
//! find.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![expect(clippy::disallowed_methods, reason = "the schemas are files that a variable names")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use terra::event::DataKind;

const FOLDER: &str = "LANDFALL_TEST_SCHEMAS";

/// Members that Terra's schemas do not have, and why we know them.
const ONLY_OURS: [&str; 2] = [
    // The flat form that older documents show of a report.
    "lab_report: status string",
    "lab_report: timestamp string",
];

/// Name of a file → its schema.
type Files = BTreeMap<String, Value>;
/// Path → shapes, as our lists have them.
type Members = BTreeMap<String, BTreeSet<String>>;

/// The schemas that make up a kind, each with the path at which it stands.
fn roots(kind: DataKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        DataKind::Activity => &[("", "Activity.yaml")],
        DataKind::Sleep => &[("", "Sleep.yaml")],
        DataKind::Daily => &[("", "Daily.yaml")],
        DataKind::Body => &[("", "Body.yaml")],
        DataKind::Nutrition => &[("", "Nutrition.yaml")],
        DataKind::Menstruation => &[("", "Menstruation.yaml")],
        DataKind::Athlete => &[("", "Athlete.yaml")],
        DataKind::PlannedWorkout => &[("", "PlannedWorkout.yaml")],
        DataKind::Hormone => &[("", "HormoneSample.yaml")],
        DataKind::HealthObservation => &[("", "HealthObservation.yaml")],
        // The whole event; what REST answers about a report may stand in its place; the older form is flat.
        DataKind::LabReport => &[
            ("", "LabReportCompletedEvent.yaml"),
            ("", "LabReportFailedEvent.yaml"),
            ("data", "LabReportSession.yaml"),
            ("", "LabReportEventData.yaml"),
            ("", "LabReportFailureData.yaml"),
            ("", "LabReportSession.yaml"),
        ],
    }
}

/// All members below a schema, its references followed.
struct Walk<'f> {
    files: &'f Files,
    /// Files that are being read, and the path at which each began: a tree within itself would have no end.
    open: Vec<(String, String)>,
    found: Members,
}

impl Walk<'_> {
    fn file(&mut self, path: &str, name: &str) {
        if let Some((_, begun)) = self.open.iter().find(|(open, _)| open == name) {
            let same = format!("@{begun}");
            self.found.entry(path.to_owned()).or_default().insert(same);
            return;
        }
        let schema = self.files.get(name).unwrap_or_else(|| panic!("there is no {name}"));
        self.open.push((name.to_owned(), path.to_owned()));
        self.schema(path, schema);
        self.open.pop();
    }

    fn schema(&mut self, path: &str, schema: &Value) {
        match schema["$ref"].as_str() {
            Some(reference) => match reference.strip_prefix('#') {
                Some(inside) => {
                    let (name, _) = self.open.last().unwrap();
                    let target =
                        self.files[name].pointer(inside).unwrap_or_else(|| panic!("{name} has no {reference}"));
                    self.schema(path, target);
                }
                None => self.file(path, reference),
            },
            None => self.shapes(path, schema),
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            schema[choice].as_array().into_iter().flatten().for_each(|one| self.schema(path, one));
        }
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let dot = if path.is_empty() { "" } else { "." };
            self.schema(&format!("{path}{dot}{name}"), member);
        }
        let first = schema["prefixItems"].as_array().into_iter().flatten();
        for each in first.chain(schema["items"].is_object().then_some(&schema["items"])) {
            self.schema(&format!("{path}[]"), each);
        }
        for free in ["additionalProperties", "unevaluatedProperties"] {
            if schema[free].is_object() {
                self.schema(&format!("{path}.*"), &schema[free]);
            }
        }
    }

    fn shapes(&mut self, path: &str, schema: &Value) {
        if path.is_empty() {
            return;
        }
        let alone = schema["type"].as_str().into_iter();
        let several = schema["type"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let says_nothing = schema.as_object().is_some_and(serde_json::Map::is_empty);
        let shapes = alone.chain(several).filter(|shape| *shape != "null");
        let shapes = shapes.map(|shape| if shape == "integer" { "number" } else { shape });
        let known = self.found.entry(path.to_owned()).or_default();
        known.extend(shapes.chain(says_nothing.then_some("any")).map(str::to_owned));
    }
}

fn theirs(files: &Files, roots: &[(&str, &str)]) -> BTreeSet<String> {
    let mut walk = Walk { files, open: Vec::new(), found: Members::new() };
    roots.iter().for_each(|(path, name)| walk.file(path, name));
    let line = |(path, shapes): (String, BTreeSet<String>)| {
        format!("{path} {}", shapes.into_iter().collect::<Vec<_>>().join("|"))
    };
    walk.found.into_iter().filter(|(_, shapes)| !shapes.is_empty()).map(line).collect()
}

fn ours(kind: DataKind) -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/record/schema/{}.txt", kind.label()));
    std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// What the one has and the other has not. A member in another shape is both.
fn differences(label: &str, theirs: &BTreeSet<String>, ours: &BTreeSet<String>) -> Vec<String> {
    let unknown = theirs.difference(ours).map(|line| format!("{label}: {line}: Terra has it, we do not"));
    let invented = ours.difference(theirs).map(|line| format!("{label}: {line}"));
    let invented = invented.filter(|line| !ONLY_OURS.contains(&line.as_str()));
    unknown.chain(invented.map(|line| format!("{line}: we have it, Terra does not"))).collect()
}

fn files(folder: &Path) -> Files {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("list {}: {error}", folder.display()));
    let mut files = Files::new();
    for path in
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "yaml"))
    {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        files.insert(name.clone(), serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")));
    }
    files
}

fn specimen() -> Files {
    let texts = [
        (
            "Night.yaml",
            "type: object\nproperties:\n  length: { anyOf: [{ type: integer }, { type: \"null\" }] }\n  naps: { type: array, items: { $ref: Night.yaml } }\n  scores: { $ref: \"#/$defs/Scores\" }\n  place: {}\n  span: { type: array, prefixItems: [{ type: number }] }\n  dream: { $ref: Dream.yaml }\n$defs:\n  Scores: { type: object, unevaluatedProperties: { type: number } }\n",
        ),
        ("Dream.yaml", "allOf:\n  - type: object\n    properties: { plot: { type: [string, \"null\"] } }\n"),
    ];
    texts.map(|(name, text)| (name.to_owned(), serde_saphyr::from_str(text).unwrap())).into()
}

/// Every form a schema may have is understood, and a deliberate difference of every sort is found.
fn check_the_comparison() {
    let theirs = theirs(&specimen(), &[("", "Night.yaml")]);
    let wanted = [
        "dream object",
        "dream.plot string",
        "length number",
        "naps array",
        "naps[] @",
        "place any",
        "scores object",
        "scores.* number",
        "span array",
        "span[] number",
    ];
    let exact: BTreeSet<String> = wanted.map(str::to_owned).into();
    assert_eq!(theirs, exact);
    assert_eq!(differences("night", &theirs, &exact), Vec::<String>::new());
    let mut ours = exact;
    ours.remove("dream.plot string");
    ours.remove("length number");
    ours.extend(["length string", "moon boolean"].map(str::to_owned));
    assert_eq!(
        differences("night", &theirs, &ours),
        [
            "night: dream.plot string: Terra has it, we do not",
            "night: length number: Terra has it, we do not",
            "night: length string: we have it, Terra does not",
            "night: moon boolean: we have it, Terra does not",
        ]
    );
}

#[test]
fn every_member_that_terra_publishes_is_known_in_its_shape() {
    check_the_comparison();
    let Some(folder) = std::env::var_os(FOLDER) else {
        println!("checked the comparison and no schema of Terra's: {FOLDER} is not set");
        return;
    };
    let files = files(Path::new(&folder));
    let mut found = Vec::new();
    let mut members = 0;
    for kind in DataKind::ALL {
        let theirs = theirs(&files, roots(kind));
        assert!(theirs.len() > 5, "{}: only {} members were found", kind.label(), theirs.len());
        members += theirs.len();
        found.extend(differences(kind.label(), &theirs, &ours(kind)));
    }
    found.iter().for_each(|line| println!("difference: {line}"));
    println!("compared {} kinds, {members} members", DataKind::ALL.len());
    assert!(found.is_empty(), "{} differences", found.len());
}
