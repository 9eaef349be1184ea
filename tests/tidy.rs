//! What of the house style a program can check: walls between crates, files, migrations, words.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::process::Process;

const LARGE_BYTES: u64 = 1_000_000;

/// Not ours, or made by running.
const NOT_LOOKED_INTO: [&str; 3] = ["target", ".git", "landfall-data"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file, by its path from the root.
fn files() -> Vec<String> {
    fn walk(dir: &Path, root: &Path, files: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_symlink() || NOT_LOOKED_INTO.contains(&name.as_ref()) {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, files);
            } else {
                files.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    let mut files = Vec::new();
    walk(&root(), &root(), &mut files);
    files.sort();
    assert!(files.len() > 100, "only {} files: looked in the wrong place", files.len());
    files
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Texts of all files that end so.
fn texts(ending: &str) -> Vec<(String, String)> {
    files().into_iter().filter(|file| file.ends_with(ending)).map(|file| (file.clone(), read(&file))).collect()
}

/// Lines without comments, and without the tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let product = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    product.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(&format!("crates/{name}/Cargo.toml")).parse().unwrap();
    let own = manifest.get("dependencies").and_then(toml::Value::as_table);
    own.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

#[test]
fn crates_use_only_what_their_wall_lets_through() {
    // What a crate may use, out of what matters; libraries of plain data are let through everywhere.
    let forbidden: BTreeMap<&str, &[&str]> = BTreeMap::from([
        (
            "terra",
            &[
                "domain",
                "adapters",
                "landfall",
                "simulator",
                "xtask",
                "tokio",
                "tokio-util",
                "async-trait",
                "futures-util",
                "reqwest",
                "tracing",
                "getrandom",
            ][..],
        ),
        (
            "domain",
            &[
                "adapters",
                "landfall",
                "simulator",
                "xtask",
                "tokio",
                "tokio-util",
                "async-trait",
                "futures-util",
                "reqwest",
                "tracing",
                "getrandom",
            ],
        ),
        ("adapters", &["landfall", "simulator", "xtask", "actix-web", "clap"]),
        ("landfall", &["lapin", "tokio-postgres", "deadpool-postgres", "rusqlite", "refinery"]),
        ("simulator", &["terra", "domain", "adapters", "landfall", "xtask"]),
        ("xtask", &["terra", "domain", "adapters", "landfall", "simulator"]),
    ]);
    let crates: BTreeSet<String> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(crates, forbidden.keys().map(|name| (*name).to_owned()).collect(), "a crate without a rule");
    for (name, forbidden) in forbidden {
        let used = dependencies(name);
        let found: Vec<String> = forbidden
            .iter()
            .filter(|dependency| used.contains(**dependency))
            .map(|dependency| format!("{name} uses {dependency}"))
            .collect();
        none("over the wall", &found);
    }
}

#[test]
fn pure_crates_are_pure() {
    let impure = [
        "async fn",
        ".await",
        "std::net",
        "std::fs",
        "std::env",
        "std::process",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "Zoned::now",
        "Uuid::now_v7",
        "Uuid::new_v4",
    ];
    let mut found = Vec::new();
    for (file, text) in texts(".rs").into_iter().filter(|(file, _)| {
        ["crates/terra/src/", "crates/domain/src/"].iter().any(|pure| file.starts_with(pure)) && !file.contains("tests")
    }) {
        for line in code(&text).filter(|line| impure.iter().any(|word| line.contains(word))) {
            found.push(format!("{file}: {}", line.trim()));
        }
    }
    none("not pure", &found);
}

#[test]
fn the_shell_knows_no_driver_and_no_sql() {
    let words = [
        "lapin",
        "tokio_postgres",
        "rusqlite",
        "deadpool",
        "SELECT ",
        "INSERT INTO",
        "UPDATE ",
        "DELETE FROM",
        "CREATE TABLE",
    ];
    let mut found = Vec::new();
    for (file, text) in texts(".rs").into_iter().filter(|(file, _)| file.starts_with("crates/landfall/src/")) {
        for line in code(&text).filter(|line| words.iter().any(|word| line.contains(word))) {
            found.push(format!("{file}: {}", line.trim()));
        }
    }
    none("the shell goes behind a port", &found);
}

#[test]
fn no_adapter_names_another() {
    let walls = [
        ("queue/rabbitmq", &["embedded", "crate::store", "postgres"][..]),
        ("queue/embedded", &["rabbitmq", "crate::store", "postgres"]),
        ("store/postgres", &["embedded::", "crate::queue::rabbitmq", "rusqlite"]),
        ("store/embedded", &["store::postgres", "rabbitmq", "tokio_postgres"]),
        ("terra_client", &["crate::store", "crate::queue", "crate::payloads"]),
        ("clock", &["crate::"]),
    ];
    let mut found = Vec::new();
    for (file, text) in texts(".rs") {
        let Some(inside) = file.strip_prefix("crates/adapters/src/") else { continue };
        for (adapter, words) in
            walls.iter().filter(|(adapter, _)| inside.starts_with(adapter) && !inside.contains("tests"))
        {
            let uses = code(&text).filter(|line| line.trim_start().starts_with("use ") || line.contains("crate::"));
            for line in uses.filter(|line| words.iter().any(|word| line.contains(word))) {
                // PostgreSQL's own module for the migrations it embeds.
                if *adapter == "store/postgres" && line.contains("embedded::migrations") {
                    continue;
                }
                found.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    none("an adapter names another", &found);
}

#[test]
fn files_are_where_and_what_they_should_be() {
    let mut found = Vec::new();
    for file in files() {
        if file.ends_with("/mod.rs") {
            found.push(format!("{file}: write it beside its folder"));
        }
        if std::fs::metadata(root().join(&file)).unwrap().len() > LARGE_BYTES {
            found.push(format!("{file}: larger than {LARGE_BYTES} bytes"));
        }
    }
    for (file, text) in texts(".rs") {
        if !text.starts_with("//!") {
            found.push(format!("{file}: does not begin with what it is (//!)"));
        }
    }
    none("untidy files", &found);
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    // Put together here, so that this file does not find itself.
    let words = ["TO", "FIX", "XX"].iter().zip(["DO", "ME", "X"]).map(|(a, b)| format!("{a}{b}")).chain([
        format!("todo{}(", '!'),
        format!("unimplemented{}(", '!'),
        format!("dbg{}(", '!'),
    ]);
    let words: Vec<String> = words.collect();
    let mut found = Vec::new();
    for (file, text) in [".rs", ".sql", ".toml", ".html", ".yml", ".md"].into_iter().flat_map(texts) {
        for line in text.lines().filter(|line| words.iter().any(|word| line.contains(word.as_str()))) {
            found.push(format!("{file}: {}", line.trim()));
        }
    }
    none("left to do", &found);
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let places = ["/wo", "/ro", "/ho"].iter().zip(["rk/", "ot/", "me/"]).map(|(a, b)| format!("{a}{b}"));
    let places: Vec<String> = places.collect();
    let mut found = Vec::new();
    for file in files() {
        // What is no text has no paths either.
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for line in text.lines().filter(|line| places.iter().any(|place| line.contains(place.as_str()))) {
            found.push(format!("{file}: {:.200}", line.trim()));
        }
        if file.ends_with("Cargo.lock") {
            let elsewhere = |line: &&str| {
                line.starts_with("source = ")
                    && *line != "source = \"registry+https://github.com/rust-lang/crates.io-index\""
            };
            found.extend(text.lines().filter(elsewhere).map(|line| format!("{file}: {line}")));
        }
    }
    none("a path or a registry of one machine", &found);
}

#[test]
fn the_readme_names_two_commands() {
    let readme = read("README.md");
    let commands: Vec<&str> = readme.lines().filter(|line| line.starts_with("cargo ")).collect();
    assert_eq!(commands, ["cargo run --release -- dev", "cargo xtask test"]);
}

#[tokio::test]
async fn the_readme_has_the_events_as_the_program_prints_them() {
    let (code, printed) = Process::run(&["spec", "events"], &BTreeMap::new()).await;
    assert_eq!(code, 0, "{printed}");
    let readme = read("README.md");
    let (_, rest) = readme.split_once("<!-- landfall spec events -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- end -->").unwrap();
    assert_eq!(table.trim(), printed.trim(), "put what `landfall spec events` prints between the markers");
}

/// Table → columns, as a migration writes them.
type Tables = BTreeMap<String, BTreeSet<String>>;

fn tables(folder: &str) -> Tables {
    let mut tables = Tables::new();
    for (_, text) in texts(".sql").into_iter().filter(|(file, _)| file.starts_with(folder)) {
        let mut current: Option<String> = None;
        for line in text.lines().map(|line| line.split("--").next().unwrap_or_default()) {
            if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
                let name = rest.split([' ', '(']).next().unwrap().to_owned();
                let is_part = rest.contains("PARTITION OF");
                tables.entry(name.clone()).or_default();
                current = (!is_part).then_some(name);
            } else if line.starts_with(')') {
                current = None;
            } else if let Some(table) = &current {
                let word = line.trim().split([' ', '(', ',']).next().unwrap_or_default();
                let is_column = line.starts_with("    ")
                    && !line.starts_with("     ")
                    && word.starts_with(|c: char| c.is_ascii_lowercase());
                if is_column {
                    tables.get_mut(table).unwrap().insert(word.to_owned());
                }
            } else if let Some(rest) = line.strip_prefix("ALTER TABLE ") {
                let words: Vec<&str> = rest.split_whitespace().collect();
                if let [table, "ADD", "COLUMN", column, ..] = words[..] {
                    tables.entry(table.into()).or_default().insert(column.trim_end_matches(';').into());
                }
            }
        }
    }
    tables
}

/// Where the engines differ for a reason.
const ONLY_EMBEDDED: [&str; 1] = ["queue_job"];
const ONLY_POSTGRES: [&str; 1] = ["delivery_default"];

#[test]
fn both_engines_have_the_same_tables_and_columns() {
    let names = |engine: &str| -> Vec<String> {
        files()
            .into_iter()
            .filter_map(|file| file.strip_prefix(&format!("migrations/{engine}/")).map(str::to_owned))
            .collect()
    };
    assert_eq!(names("sqlite"), names("postgres"), "the same migrations");
    let (embedded, postgres) = (tables("migrations/sqlite/"), tables("migrations/postgres/"));
    assert!(embedded.len() > 10 && embedded.values().map(BTreeSet::len).sum::<usize>() > 100, "not read: {embedded:?}");
    let mut found = Vec::new();
    for (here, there, place, exceptions) in
        [(&embedded, &postgres, "PostgreSQL", &ONLY_EMBEDDED), (&postgres, &embedded, "SQLite", &ONLY_POSTGRES)]
    {
        for (table, columns) in here.iter().filter(|(table, _)| !exceptions.contains(&table.as_str())) {
            match there.get(table) {
                None => found.push(format!("{place} has no table {table}")),
                Some(others) => found
                    .extend(columns.difference(others).map(|column| format!("{place} has no column {table}.{column}"))),
            }
        }
    }
    none("the engines differ", &found);
}

#[tokio::test]
async fn every_setting_of_the_template_is_used_by_name_in_the_files_of_deployment() {
    // What a manifest sets must exist: a misspelt variable would only be a warning there.
    let (code, template) = Process::run(&["config", "template"], &BTreeMap::new()).await;
    assert_eq!(code, 0, "{template}");
    let mut known: BTreeSet<String> = template
        .lines()
        .filter_map(|line| {
            Some(format!("LANDFALL_{}", line.strip_prefix('#')?.split_once(" = ")?.0.to_ascii_uppercase()))
        })
        .collect();
    known.extend(["LANDFALL_CONFIG", "LANDFALL_URL", "LANDFALL_TOKEN"].map(str::to_owned));
    let mut found = Vec::new();
    for file in files()
        .into_iter()
        .filter(|file| file.starts_with("deploy/") || file == "docker-compose.yml" || file == "README.md")
    {
        let Ok(text) = std::fs::read_to_string(root().join(&file)) else { continue };
        for (at, _) in text.match_indices("LANDFALL_") {
            let name: String =
                text[at..].chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect();
            let base = name.strip_suffix("_FILE").unwrap_or(&name);
            if !known.contains(base) && !name.ends_with('_') {
                found.push(format!("{file}: {name}"));
            }
        }
    }
    none("no such setting", &found);
}

#[test]
fn what_is_known_not_to_be_met_names_tests_that_exist() {
    let list = root().join("tests/not-met.txt");
    let Ok(text) = std::fs::read_to_string(list) else { return };
    let all: String = texts(".rs").into_iter().map(|(_, text)| text).collect();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let name = line.split_whitespace().next().unwrap().rsplit("::").next().unwrap();
        if !all.contains(&format!("fn {name}(")) {
            found.push(name.to_owned());
        }
    }
    none("no such test", &found);
}
