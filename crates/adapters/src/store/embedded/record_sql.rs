//! The statements of the record tables.

use std::sync::LazyLock;

use terra::event::DataKind;
use terra::record::is_by_day;

use crate::store::record_table::{BASE, listed, quoted, scored, typed};
use crate::store::tx::POINTER_BYTES_MAX;

pub(super) struct Statements {
    /// `?1` id → what the merge rule asks.
    pub(super) kept: String,
    /// [`BASE`], then the kind's columns.
    pub(super) write: String,
    /// `?1` id, `?2` enrichment, `?3` moment, then the scores.
    pub(super) write_scores: String,
    /// `?1` user, `?2` from, `?3` to, `?4` whether there is a cursor, `?5` its start and `?6` its id, `?7` limit.
    pub(super) of_user: String,
    /// `?1` id.
    pub(super) one: String,
    /// `?1` id after which, `?2` limit.
    pub(super) documents: String,
    /// `?1` id, `?2` order, `?3` fingerprint, `?4` enrichment, `?5` start, then the kind's columns.
    pub(super) reproject: String,
    /// `?1` environment, `?2` Terra user id, `?3` limit → id and document of each row deleted.
    pub(super) erase: String,
    /// `?1` id.
    pub(super) document: String,
}

pub(super) fn statements(kind: DataKind) -> &'static Statements {
    static ALL: LazyLock<Vec<Statements>> = LazyLock::new(|| DataKind::ALL.into_iter().map(Statements::new).collect());
    &ALL[kind as usize]
}

/// `?first, …` for so many parameters.
fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|place| format!("?{place}")).collect::<Vec<_>>().join(", ")
}

fn from_excluded(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| format!("{0} = excluded.{0}", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `name = ?n, …`
fn from_places(first: usize, names: &[impl AsRef<str>]) -> String {
    let one = |(at, name): (usize, &str)| format!("{name} = ?{}", first + at);
    names.iter().map(AsRef::as_ref).enumerate().map(one).collect::<Vec<_>>().join(", ")
}

impl Statements {
    fn new(kind: DataKind) -> Statements {
        let table = kind.label();
        let typed = typed(kind);
        let scores: Vec<String> = scored(kind).into_iter().map(|(_, column)| quoted(column)).collect();
        Statements {
            kept: format!(
                "SELECT record_order, order_inferred, deleted, fingerprint, enrichment, \
                        CASE WHEN length(document) < {POINTER_BYTES_MAX} THEN document END AS short \
                 FROM {table} WHERE id = ?1"
            ),
            write: format!(
                "INSERT INTO {table} ({base}, {own}) VALUES ({places}) \
                 ON CONFLICT (id) DO UPDATE SET {base_changes}, {own_changes} \
                 WHERE {table}.record_order < excluded.record_order",
                base = listed("", &BASE),
                own = listed("", &typed),
                places = places(1, BASE.len() + typed.len()),
                // The first four are the key: they do not change.
                base_changes = from_excluded(&BASE[4..]),
                own_changes = from_excluded(&typed),
            ),
            write_scores: match scores.as_slice() {
                [] => format!("UPDATE {table} SET enrichment = ?2, updated_at = ?3 WHERE id = ?1"),
                scores => format!(
                    "UPDATE {table} SET enrichment = ?2, updated_at = ?3, {} WHERE id = ?1",
                    from_places(4, scores)
                ),
            },
            of_user: of_user(kind, table),
            one: format!(
                "SELECT alias.connection_id, alias.provider, {shown}, NULL AS elsewhere, record.document
                 FROM {table} AS record JOIN alias ON alias.environment = record.environment
                                                  AND alias.terra_user_id = record.terra_user_id
                 WHERE record.id = ?1",
                shown = shown(kind),
            ),
            documents: format!(
                "SELECT id, environment, terra_user_id, record_order, enrichment, document FROM {table}
                 WHERE ?1 IS NULL OR id > ?1 ORDER BY id LIMIT ?2"
            ),
            reproject: format!(
                "UPDATE {table} SET fingerprint = ?3, enrichment = ?4, start_at = ?5, {} WHERE id = ?1 AND record_order = ?2",
                from_places(6, &typed)
            ),
            erase: format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} \
                   WHERE environment = ?1 AND terra_user_id = ?2 LIMIT ?3) RETURNING id, document"
            ),
            document: format!("SELECT document FROM {table} WHERE id = ?1"),
        }
    }
}

/// What a view of a record is made of.
fn shown(kind: DataKind) -> String {
    let base = [
        "id",
        "environment",
        "terra_user_id",
        "natural_key",
        "order_inferred",
        "deleted",
        "start_at",
        "start_time",
        "end_time",
        "updated_at",
        "enrichment",
    ];
    format!("{}, {}", listed("record.", &base), listed("record.", &typed(kind)))
}

/// Of every key within a connection the greatest order; a tombstone of greatest order hides what is older. The filters
/// come after that choice: an older version never stands in for a newer one. `elsewhere` has the scores that the same
/// record has under the connection's other aliases.
fn of_user(kind: DataKind, table: &str) -> String {
    let by = if is_by_day(kind) { "natural_key" } else { "start_at" };
    format!(
        "WITH placed AS (
             SELECT record.id, record.start_at, record.deleted, record.natural_key, alias.connection_id, alias.provider,
                    row_number() OVER (PARTITION BY alias.connection_id, record.natural_key
                                       ORDER BY record.record_order DESC, record.id DESC) AS place
             FROM alias JOIN {table} AS record ON record.environment = alias.environment
                                              AND record.terra_user_id = alias.terra_user_id
             WHERE alias.user_id = ?1
         ), page AS (
             SELECT id, start_at, connection_id, provider FROM placed
             WHERE place = 1 AND deleted = 0
               AND (?2 IS NULL OR {by} >= ?2) AND (?3 IS NULL OR {by} < ?3)
               AND (NOT ?4 OR (start_at = ?5 AND id > ?6) OR start_at < ?5
                    OR (start_at IS NULL AND (?5 IS NOT NULL OR id > ?6)))
             ORDER BY start_at DESC NULLS LAST, id LIMIT ?7
         )
         SELECT page.connection_id, page.provider, {shown},
                (SELECT json_group_array(json(same.enrichment))
                   FROM alias AS other JOIN {table} AS same
                     ON same.environment = other.environment AND same.terra_user_id = other.terra_user_id
                    AND same.natural_key = record.natural_key
                  WHERE other.connection_id = page.connection_id AND same.id <> record.id
                    AND same.enrichment IS NOT NULL) AS elsewhere
         FROM page JOIN {table} AS record ON record.id = page.id
         ORDER BY page.start_at DESC NULLS LAST, page.id",
        shown = shown(kind),
    )
}

/// How many records a user has: `?1` user.
pub(super) fn count_of_user() -> &'static str {
    static COUNT: LazyLock<String> = LazyLock::new(|| {
        let one = |kind: DataKind| {
            format!(
                "(SELECT count(*) FROM alias JOIN {0} USING (environment, terra_user_id) WHERE alias.user_id = ?1)",
                kind.label()
            )
        };
        format!("SELECT {} AS records", DataKind::ALL.map(one).join(" + "))
    });
    &COUNT
}

/// Which table has a record: `?1` id.
pub(super) fn kind_of() -> &'static str {
    static WHICH: LazyLock<String> = LazyLock::new(|| {
        let one = |kind: DataKind| format!("SELECT '{0}' AS kind FROM {0} WHERE id = ?1", kind.label());
        DataKind::ALL.map(one).join(" UNION ALL ")
    });
    &WHICH
}
