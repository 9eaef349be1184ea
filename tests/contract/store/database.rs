//! A PostgreSQL database of a test's own.

use adapters::store::ReferencePolicy;
use adapters::store::postgres::{PostgresSettings, PostgresStore};
use secrecy::SecretString;
use tokio_postgres::NoTls;
use uuid::Uuid;

const SERVER: &str = "LANDFALL_TEST_POSTGRES_URL";

pub(crate) struct Database {
    name: String,
    url: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let server = server();
        let name = format!("t{}", Uuid::now_v7().simple());
        execute(&server, &format!("CREATE DATABASE {name}")).await;
        let (host, _) = server.rsplit_once('/').unwrap();
        Database { url: format!("{host}/{name}"), name }
    }

    pub(crate) fn store(&self, policy: ReferencePolicy) -> PostgresStore {
        PostgresStore::connect(PostgresSettings {
            url: SecretString::from(self.url.as_str()),
            schema: "landfall".into(),
            policy,
            pool_max: 8,
        })
        .unwrap()
    }

    /// A connection past the store, which sees the same tables.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.url).await
    }

    pub(crate) async fn remove(self) {
        execute(&server(), &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} is not set: run `cargo xtask test`, or `cargo xtask services` and export what it prints")
    })
}

async fn execute(url: &str, sql: &str) {
    Client::connect(url).await.run(sql).await;
}

/// A client that ends with the test.
pub(crate) struct Client {
    client: tokio_postgres::Client,
    driver: tokio::task::JoinSet<()>,
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        let mut driver = tokio::task::JoinSet::new();
        // A server that ends this connection, as it does when the database goes, is no news here.
        driver.spawn(async move { drop(connection.await) });
        let ready = Client { client, driver };
        ready.run("SET search_path = landfall").await;
        ready
    }

    pub(crate) async fn run(&self, sql: &str) {
        assert_eq!(self.driver.len(), 1);
        self.client.batch_execute(sql).await.unwrap();
    }

    pub(crate) async fn tables(&self) -> super::tables::Tables {
        let names = "SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                      WHERE n.nspname = 'landfall' AND c.relkind IN ('r', 'p') AND NOT c.relispartition";
        let mut tables = super::tables::Tables::new();
        for row in self.client.query(names, &[]).await.unwrap() {
            let name: String = row.get(0);
            let rows = self.client.query(&format!("SELECT t::text FROM {name} AS t"), &[]).await.unwrap();
            tables.insert(name, rows.iter().map(|row| row.get(0)).collect());
        }
        tables
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}
