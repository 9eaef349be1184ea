//! A PostgreSQL database and a queue prefix of a test's own.

use std::collections::BTreeMap;

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::servers::Addresses;

pub struct Database {
    pub name: String,
    /// Of the server, for what a database cannot do to itself.
    admin: String,
    pub url: String,
    pub amqp_url: String,
    pub prefix: String,
}

impl Database {
    /// Creates the database and points the settings at it and at a fresh prefix.
    pub async fn create(settings: &mut BTreeMap<String, String>) -> Self {
        Self::create_at(&Addresses::shared(), settings).await
    }

    pub async fn create_at(servers: &Addresses, settings: &mut BTreeMap<String, String>) -> Self {
        let admin = servers.get("LANDFALL_TEST_POSTGRES_URL").to_owned();
        let amqp_url = servers.get("LANDFALL_TEST_AMQP_URL").to_owned();
        let name = format!("t{}", uuid::Uuid::now_v7().simple());
        execute(&admin, &format!("CREATE DATABASE {name}")).await;
        let (place, parameters) = admin
            .split_once('?')
            .map_or((admin.as_str(), String::new()), |(place, parameters)| (place, format!("?{parameters}")));
        let url = place.rsplit_once('/').map(|(server, _)| format!("{server}/{name}{parameters}")).unwrap();
        let prefix = name[..20].to_owned();
        settings.insert("LANDFALL_STORE_URL".into(), url.clone());
        settings.insert("LANDFALL_QUEUE_URL".into(), amqp_url.clone());
        settings.insert("LANDFALL_QUEUE_PREFIX".into(), prefix.clone());
        Database { name, admin, url, amqp_url, prefix }
    }

    pub async fn execute(&self, sql: &str) {
        execute(&self.url, sql).await;
    }

    /// Puts every table of ours into a tablespace, beside the processes that are at work on them.
    pub async fn move_tables_to(&self, tablespace: &str) {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        let moved = async {
            let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'landfall'";
            for table in client.query(tables, &[]).await.unwrap() {
                let sql = format!("ALTER TABLE {} SET TABLESPACE {tablespace}", table.get::<_, String>(0));
                // Of two that wait for each other the database ends one, and it may be this one.
                while let Err(error) = client.batch_execute(&sql).await {
                    assert_eq!(error.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED), "{sql}: {error}");
                }
            }
        };
        tokio::select! {
            _ = connection => panic!("the database closed the connection"),
            () = moved => {}
        }
    }

    /// Removes what this test made on the shared servers.
    pub async fn drop_all(self) {
        execute(&self.admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)).await;
        let connection =
            lapin::Connection::connect(&self.amqp_url, lapin::ConnectionProperties::default()).await.unwrap();
        for queue in ["deliveries.auth", "deliveries.urgent", "deliveries.live", "deliveries.bulk", "dead"] {
            let channel = connection.create_channel().await.unwrap();
            // A test may have deleted it.
            let _ = channel
                .queue_delete(format!("{}.{queue}", self.prefix).into(), lapin::options::QueueDeleteOptions::default())
                .await;
        }
    }
}

pub(super) async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // The connection does the talking; the client only asks. Both end here.
    tokio::select! {
        _ = connection => panic!("the database closed the connection"),
        done = client.batch_execute(sql) => done.unwrap(),
    }
}
