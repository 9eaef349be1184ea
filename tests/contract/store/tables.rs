//! What stands in the tables, past the store: every row of every table as text, on either engine.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;

use super::support::Sandbox;

/// Rows of each table, every column in it.
pub(crate) type Tables = BTreeMap<String, Vec<String>>;

impl Sandbox {
    pub(crate) async fn tables(&self) -> Tables {
        #[cfg(feature = "services")]
        if let Some(database) = &self.database {
            return database.client().await.tables().await;
        }
        of_file(&self.file())
    }

    /// Runs a statement that both engines understand.
    pub(crate) async fn run(&self, sql: &str) {
        #[cfg(feature = "services")]
        if let Some(database) = &self.database {
            return database.client().await.run(sql).await;
        }
        open(&self.file()).execute_batch(sql).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.as_ref().unwrap().path().join("landfall.db")
    }

    /// The bytes of all files of an embedded store.
    pub(crate) fn bytes_on_disk(&self) -> Option<Vec<u8>> {
        let dir = std::fs::read_dir(self.dir.as_ref()?.path()).unwrap();
        let files = dir.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        Some(files.flat_map(|path| std::fs::read(path).unwrap()).collect())
    }
}

/// What an embedded store holds, whoever works on it meanwhile.
pub(crate) fn of_file(file: &Path) -> Tables {
    let database = open(file);
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut statement = database.prepare(names).unwrap();
    let names: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    names.into_iter().map(|name| (name.clone(), rows(&database, &name))).collect()
}

fn open(file: &Path) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(file).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    database
}

fn rows(database: &rusqlite::Connection, table: &str) -> Vec<String> {
    let mut statement = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let value = |at: usize| match row.get_ref(at).unwrap() {
            ValueRef::Blob(bytes) => format!("{} {}", hex::encode(bytes), String::from_utf8_lossy(bytes)),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Null => String::new(),
        };
        Ok((0..columns).map(value).collect::<Vec<_>>().join(" | "))
    };
    statement.query_map([], text).unwrap().map(Result::unwrap).collect()
}

/// Which tables hold this, as text or as bytes.
pub(crate) fn holding(tables: &Tables, what: &str) -> BTreeMap<String, usize> {
    let bytes = hex::encode(what);
    let holds = |row: &&String| row.contains(what) || row.contains(&bytes);
    let counted = tables.iter().map(|(name, rows)| (name.clone(), rows.iter().filter(holds).count()));
    counted.filter(|(_, count)| *count > 0).collect()
}
