//! The database: commits that survive a crash, room for our connections, and a schema that fits.

use super::{Area, Finding};

const VERSION_MIN: u32 = 150_000;

/// Processes that are to fit: one of each role, and one more while they are replaced.
const PROCESSES: u32 = 4;

/// What PostgreSQL says of itself, on a connection as ours are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// As in 150004.
    pub version: u32,
    pub fsync: bool,
    pub full_page_writes: bool,
    /// `on`, `off`, `local`, `remote_write`, `remote_apply`
    pub synchronous_commit: String,
    pub synchronous_standbys: bool,
    /// Servers that follow this one.
    pub standbys: u32,
    /// It follows another one and takes no writes.
    pub is_standby: bool,
    pub max_connections: u32,
    /// Kept back for superusers.
    pub reserved: u32,
    /// Connections that one process of ours may hold.
    pub pool: u32,
}

/// What is to be said of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaFact {
    Fits { version: u32 },
    Behind { version: u32, needed: u32 },
    Ahead { version: u32 },
}

fn good(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::good(Area::Database, check, text)
}

fn bad(check: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::bad(Area::Database, check, text, fix)
}

pub fn unreachable(why: &str) -> Finding {
    bad("database", format!("it is not reachable: {why}"), "start the database, or correct LANDFALL_STORE_URL")
}

pub fn schema(fact: SchemaFact) -> Finding {
    const CHECK: &str = "schema";
    match fact {
        SchemaFact::Fits { version } => good(CHECK, format!("the schema is at level {version}")),
        SchemaFact::Behind { version, needed } => {
            bad(CHECK, format!("the schema is at level {version}, this binary needs {needed}"), "landfall migrate up")
        }
        SchemaFact::Ahead { version } => {
            bad(CHECK, format!("the schema is at level {version}, made for newer binaries"), "run a newer landfall")
        }
    }
}

pub fn judge(facts: &DatabaseFacts) -> Vec<Finding> {
    let mut findings = vec![version(facts), durability(facts)];
    findings.extend(standby(facts));
    findings.push(connections(facts));
    findings
}

fn version(facts: &DatabaseFacts) -> Finding {
    let shown = format!("PostgreSQL {}.{}", facts.version / 10_000, facts.version % 10_000);
    if facts.version < VERSION_MIN {
        return bad("version", format!("{shown} is too old"), "use PostgreSQL 15 or later");
    }
    if facts.is_standby {
        return bad(
            "version",
            format!("{shown} is a standby: it takes no writes"),
            "name the primary in LANDFALL_STORE_URL",
        );
    }
    good("version", shown)
}

fn durability(facts: &DatabaseFacts) -> Finding {
    if !facts.fsync {
        return bad(
            "fsync",
            "fsync is off: a crash loses or breaks what was committed",
            "set fsync = on and restart PostgreSQL",
        );
    }
    if facts.synchronous_commit == "off" {
        let fix = "set synchronous_commit = on (postgresql.conf, or ALTER ROLE … SET for our role)";
        return bad("synchronous_commit", "synchronous_commit is off: a crash loses the last commits", fix);
    }
    if !facts.full_page_writes {
        let text = "full_page_writes is off: a crash may break pages, unless the file system never tears them";
        return Finding::warning(Area::Database, "full_page_writes", text, "set full_page_writes = on");
    }
    good("synchronous_commit", format!("fsync is on, synchronous_commit is {}", facts.synchronous_commit))
}

fn standby(facts: &DatabaseFacts) -> Option<Finding> {
    if facts.standbys == 0 {
        return None;
    }
    let is_waited_for = facts.synchronous_standbys && facts.synchronous_commit != "local";
    Some(if is_waited_for {
        good("standby", "a standby confirms what is committed")
    } else {
        let text = "the standby is asynchronous: a failover may forget the last moments";
        let fix = "set synchronous_standby_names, or know it and run `landfall recover` after a failover";
        Finding::warning(Area::Database, "standby", text, fix)
    })
}

fn connections(facts: &DatabaseFacts) -> Finding {
    const CHECK: &str = "connections";
    let DatabaseFacts { max_connections, reserved, pool, .. } = facts;
    let processes = max_connections.saturating_sub(*reserved) / (*pool).max(1);
    let text =
        format!("a process holds up to {pool} of max_connections {max_connections}: there is room for {processes}");
    let fix = "raise max_connections, or lower LANDFALL_WORKERS";
    match processes {
        0 => bad(CHECK, text, fix),
        count if count < PROCESSES => Finding::warning(Area::Database, CHECK, text, fix),
        _ => good(CHECK, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn healthy() -> DatabaseFacts {
        DatabaseFacts {
            version: 150_004,
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".into(),
            synchronous_standbys: false,
            standbys: 0,
            is_standby: false,
            max_connections: 100,
            reserved: 3,
            pool: 10,
        }
    }

    #[track_caller]
    fn check(facts: DatabaseFacts, expected: &[(&str, State)]) {
        let found = judge(&facts);
        let found: Vec<(&str, State)> = found
            .iter()
            .filter(|finding| finding.state != State::Good)
            .map(|finding| (finding.check, finding.state))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_setting_that_loses_commits_fails() {
        check(healthy(), &[]);
        check(DatabaseFacts { fsync: false, ..healthy() }, &[("fsync", State::Bad)]);
        let off = DatabaseFacts { synchronous_commit: "off".into(), ..healthy() };
        check(off, &[("synchronous_commit", State::Bad)]);
        check(DatabaseFacts { full_page_writes: false, ..healthy() }, &[("full_page_writes", State::Warning)]);
    }

    #[test]
    fn an_old_server_and_a_standby_fail() {
        check(DatabaseFacts { version: 140_011, ..healthy() }, &[("version", State::Bad)]);
        check(DatabaseFacts { is_standby: true, ..healthy() }, &[("version", State::Bad)]);
    }

    #[test]
    fn a_standby_that_is_not_waited_for_is_worth_a_word() {
        check(DatabaseFacts { standbys: 1, ..healthy() }, &[("standby", State::Warning)]);
        let waited_for = DatabaseFacts { standbys: 1, synchronous_standbys: true, ..healthy() };
        check(waited_for.clone(), &[]);
        let local = DatabaseFacts { synchronous_commit: "local".into(), ..waited_for };
        check(local, &[("standby", State::Warning)]);
    }

    #[test]
    fn a_pool_that_does_not_fit_fails() {
        check(DatabaseFacts { pool: 98, ..healthy() }, &[("connections", State::Bad)]);
        check(DatabaseFacts { pool: 40, ..healthy() }, &[("connections", State::Warning)]);
    }

    #[test]
    fn a_schema_that_does_not_fit_fails_with_its_fix() {
        assert_eq!(schema(SchemaFact::Fits { version: 8 }).state, State::Good);
        let behind = schema(SchemaFact::Behind { version: 7, needed: 8 });
        assert_eq!((behind.state, behind.fix.as_deref()), (State::Bad, Some("landfall migrate up")));
        assert_eq!(schema(SchemaFact::Ahead { version: 9 }).state, State::Bad);
    }
}
