//! A database that refuses some records: deliveries that fail however often they are tried, until it is mended.

use std::path::Path;

use super::{Engine, TestApp};

/// Activities whose summary id begins so are refused.
pub const POISON: &str = "poison";

/// The rule that refuses them, as the ledger names it.
pub const RULE: &str = "rejected:no_poison";

impl TestApp {
    pub async fn poison(&self) {
        match self.engine {
            Engine::Embedded => self.in_its_file(
                "CREATE TRIGGER no_poison BEFORE INSERT ON activity WHEN NEW.natural_key LIKE 'poison%'
                 BEGIN SELECT RAISE(ABORT, 'CHECK constraint failed: no_poison'); END",
            ),
            Engine::Cluster => {
                let rule =
                    "ALTER TABLE landfall.activity ADD CONSTRAINT no_poison CHECK (natural_key NOT LIKE 'poison%')";
                self.database.as_ref().unwrap().execute(rule).await;
            }
        }
    }

    pub async fn mend(&self) {
        match self.engine {
            Engine::Embedded => self.in_its_file("DROP TRIGGER no_poison"),
            Engine::Cluster => {
                let mended = "ALTER TABLE landfall.activity DROP CONSTRAINT no_poison";
                self.database.as_ref().unwrap().execute(mended).await;
            }
        }
    }

    fn in_its_file(&self, sql: &str) {
        let file = Path::new(&self.settings["LANDFALL_DATA_DIR"]).join("landfall.db");
        let connection = rusqlite::Connection::open(file).unwrap();
        connection.busy_timeout(super::SOON).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}
