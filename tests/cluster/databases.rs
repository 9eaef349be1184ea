//! PostgreSQL on a free port of loopback, and a second one that follows it synchronously.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::world;
use crate::harness::within;

const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

pub struct Database {
    folder: PathBuf,
    port: u16,
}

impl Database {
    /// A folder and a port, which it keeps; nothing runs yet.
    pub fn at(name: &str) -> Self {
        let folder = world::folder(name);
        world::run(&["chown", "postgres:postgres", &folder.display().to_string()]);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Database { folder, port }
    }

    /// One that stands alone.
    pub fn create(name: &str) -> Self {
        let database = Database::at(name);
        database.run("initdb", &["--username=landfall", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]);
        database.start();
        database
    }

    /// Becomes a copy that follows `primary`, which from now on answers a commit only once it is written here too.
    pub async fn follow(&self, primary: &Database) {
        world::run(&["rm", "-rf", &self.folder.join("data").display().to_string()]);
        let source = format!("host=127.0.0.1 port={} user=landfall", primary.port);
        self.run("pg_basebackup", &["--dbname", &source, "--write-recovery-conf", "--checkpoint=fast"]);
        self.start();
        // After the copy, which is to wait for nobody once it is promoted.
        primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.sql("SELECT pg_reload_conf()");
        within(FOLLOWS_WITHIN, "the standby is synchronous", || async {
            primary.sql("SELECT sync_state FROM pg_stat_replication").trim() == "sync"
        })
        .await;
    }

    pub fn url(&self) -> String {
        format!("postgres://landfall@127.0.0.1:{}/postgres", self.port)
    }

    /// Whichever of them takes writes.
    pub fn url_of_either(first: &Database, second: &Database) -> String {
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", first.port, second.port);
        format!("postgres://landfall@{hosts}/postgres?target_session_attrs=read-write")
    }

    /// Makes the standby the primary; it waits for no standby of its own.
    pub fn promote(&self) {
        self.run("pg_ctl", &["promote", "--wait", "--silent"]);
    }

    /// Kill -9 of the postmaster and of everything below it.
    pub fn kill(&self) {
        self.signal("-KILL");
    }

    /// SIGSTOP of all of it: connections stay, and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let file = std::fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap().trim();
        // Any of them may have ended already.
        let send = |signal: &str, to: &[&str]| Command::new("kill").arg(signal).args(to).output().unwrap();
        // Before its children are listed, so that it starts no more.
        send("-STOP", &[postmaster]);
        let children = Command::new("pgrep").args(["-P", postmaster]).output().unwrap();
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        send(signal, &children.split_whitespace().chain([postmaster]).collect::<Vec<_>>());
    }

    fn start(&self) {
        let settings = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories={} -c max_connections=100 \
             -c shared_buffers=64MB -c wal_level=replica -c hot_standby=on -c synchronous_commit=on -c fsync=on",
            self.port,
            self.folder.display()
        );
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["start", "--wait", "--silent", "--log", &log, "--options", &settings]);
    }

    fn sql(&self, statement: &str) -> String {
        let port = self.port.to_string();
        let psql = world::newest("/usr/lib/postgresql", "", "bin").join("psql").display().to_string();
        world::run(&[
            &psql,
            "-XAtq",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "landfall",
            "-d",
            "postgres",
            "-c",
            statement,
        ])
    }

    /// A program of the server's, as its user and on its data.
    fn run(&self, program: &str, arguments: &[&str]) {
        let program = world::newest("/usr/lib/postgresql", "", "bin").join(program).display().to_string();
        let data = self.folder.join("data").display().to_string();
        let user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "env", "-C", "/"];
        let words: Vec<&str> = user.into_iter().chain([program.as_str(), "--pgdata", &data]).collect();
        world::run(&[&words, arguments].concat());
    }
}
