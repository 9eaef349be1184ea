//! The statements of the record tables.

use std::sync::LazyLock;

use terra::event::DataKind;
use terra::record::{Shape, columns, is_by_day};

use crate::store::record_table::{BASE, listed, quoted, scored, typed};
use crate::store::tx::POINTER_BYTES_MAX;

pub(super) struct Statements {
    /// `$1` ids → what the merge rule asks, locked in ascending order.
    pub(super) kept: String,
    /// The same, without a lock.
    pub(super) seen: String,
    /// One array per column, [`BASE`] first → id and whether it is new, of each row written.
    pub(super) write: String,
    /// `$1` ids, `$2` enrichments, `$3` moments, then one array per score.
    pub(super) write_scores: String,
    /// `$1` user, `$2` from, `$3` to, `$4` start and `$5` id of the cursor, `$6` limit.
    pub(super) of_user: String,
    /// `$1` id.
    pub(super) one: String,
    /// `$1` id after which, `$2` limit.
    pub(super) documents: String,
    /// `$1` ids, `$2` orders, `$3` fingerprints, `$4` enrichments, `$5` starts, then one array per column.
    pub(super) reproject: String,
    /// `$1` environment, `$2` Terra user id, `$3` limit → id and document of each row deleted.
    pub(super) erase: String,
    /// `$1` id.
    pub(super) document: String,
}

pub(super) fn statements(kind: DataKind) -> &'static Statements {
    static ALL: LazyLock<Vec<Statements>> = LazyLock::new(|| DataKind::ALL.into_iter().map(Statements::new).collect());
    &ALL[kind as usize]
}

/// How many records a user has: `$1` user.
pub(super) fn count_of_user() -> &'static str {
    static COUNT: LazyLock<String> = LazyLock::new(|| {
        let one = |kind: DataKind| {
            format!(
                "(SELECT count(*) FROM alias JOIN {0} USING (environment, terra_user_id) WHERE alias.user_id = $1)",
                kind.label()
            )
        };
        format!("SELECT {} AS records", DataKind::ALL.map(one).join(" + "))
    });
    &COUNT
}

const BASE_TYPES: [&str; 14] = [
    "uuid",
    "text",
    "text",
    "text",
    "bytea",
    "boolean",
    "boolean",
    "timestamptz",
    "text",
    "text",
    "json",
    "json",
    "bytea",
    "timestamptz",
];

fn sql_type(shape: Shape) -> &'static str {
    match shape {
        Shape::Number => "float8",
        Shape::Integer => "bigint",
        Shape::Text => "text",
        Shape::Flag => "boolean",
    }
}

/// `$n::type[], …`, the first with number `first`.
fn arrays(first: usize, types: impl Iterator<Item = &'static str>) -> String {
    types.enumerate().map(|(at, name)| format!("${}::{name}[]", first + at)).collect::<Vec<_>>().join(", ")
}

/// `column = <of>.column, …`
fn assignments(of: &str, names: &[impl AsRef<str>]) -> String {
    let assign = |name: &str| format!("{name} = {of}.{name}");
    names.iter().map(|name| assign(name.as_ref())).collect::<Vec<_>>().join(", ")
}

impl Statements {
    fn new(kind: DataKind) -> Statements {
        let table = kind.label();
        Statements {
            kept: format!(
                "SELECT id, record_order, order_inferred, deleted, fingerprint, enrichment, \
                        CASE WHEN length(document) < {POINTER_BYTES_MAX} THEN document END AS short \
                   FROM {table} WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
            ),
            seen: format!(
                "SELECT id, record_order, order_inferred, deleted, fingerprint, enrichment, NULL::bytea AS short \
                   FROM {table} WHERE id = ANY ($1)"
            ),
            write: write(kind, table),
            write_scores: write_scores(kind, table),
            of_user: of_user(kind, table),
            one: one(kind, table),
            documents: format!(
                "SELECT id, environment, terra_user_id, record_order, enrichment, document \
                   FROM {table} WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2"
            ),
            reproject: reproject(kind, table),
            erase: format!(
                "DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT id FROM {table} \
                   WHERE environment = $1 AND terra_user_id = $2 LIMIT $3)) RETURNING id, document"
            ),
            document: format!("SELECT document FROM {table} WHERE id = $1"),
        }
    }
}

/// `xmax` is 0 in a row that is new, and names the writer in a row that was there.
fn write(kind: DataKind, table: &str) -> String {
    let typed = typed(kind);
    let names = format!("{}, {}", listed("", &BASE), listed("", &typed));
    let types = BASE_TYPES.into_iter().chain(columns(kind).iter().map(|column| sql_type(column.shape)));
    // The first four are the key: they do not change.
    let changes = format!("{}, {}", assignments("excluded", &BASE[4..]), assignments("excluded", &typed));
    format!(
        "INSERT INTO {table} ({names}) SELECT {names} FROM unnest({arrays}) AS written ({names}) ORDER BY id \
             ON CONFLICT (id) DO UPDATE SET {changes} WHERE {table}.record_order < excluded.record_order \
         RETURNING id, xmax = 0 AS is_new",
        arrays = arrays(1, types),
    )
}

fn write_scores(kind: DataKind, table: &str) -> String {
    let scores: Vec<String> = scored(kind).into_iter().map(|(_, column)| quoted(column)).collect();
    let names: Vec<&str> =
        ["id", "enrichment", "updated_at"].into_iter().chain(scores.iter().map(String::as_str)).collect();
    let types = ["uuid", "json", "timestamptz"];
    let types = types.into_iter().chain(scored(kind).into_iter().map(|(_, column)| sql_type(column.shape)));
    format!(
        "UPDATE {table} SET {changes} FROM unnest({arrays}) AS written ({names}) \
          WHERE {table}.id = written.id RETURNING {table}.id",
        changes = assignments("written", &names[1..]),
        arrays = arrays(1, types),
        names = listed("", &names),
    )
}

/// What a view of a record is made of.
fn shown(kind: DataKind, table: &str) -> String {
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
    let of = format!("{table}.");
    format!("{}, {}", listed(&of, &base), listed(&of, &typed(kind)))
}

/// Of every key within a connection the greatest order; a tombstone of greatest order hides what is older. The filters
/// come after that choice: an older version never stands in for a newer one. `elsewhere` has the scores that the same
/// record has under the connection's other aliases. A key is there once an alias, so only other aliases are asked: most
/// people have none, and without statistics each of these questions may go through all of a person's rows.
fn of_user(kind: DataKind, table: &str) -> String {
    let (bound, by) = if is_by_day(kind) { ("text", "natural_key") } else { ("timestamptz", "start_at") };
    format!(
        "WITH mine AS MATERIALIZED (
             SELECT environment, terra_user_id, connection_id, provider FROM alias WHERE user_id = $1
         )
         SELECT mine.connection_id, mine.provider, {shown},
                (SELECT json_agg(same.enrichment)
                   FROM mine AS other
                   JOIN {table} AS same
                     ON same.environment = other.environment AND same.terra_user_id = other.terra_user_id
                    AND same.natural_key = {table}.natural_key
                  WHERE other.connection_id = mine.connection_id AND other.terra_user_id <> mine.terra_user_id
                    AND same.enrichment IS NOT NULL) AS elsewhere
           FROM mine
           JOIN {table} ON {table}.environment = mine.environment AND {table}.terra_user_id = mine.terra_user_id
          WHERE NOT {table}.deleted
            AND ($2::{bound} IS NULL OR {table}.{by} >= $2)
            AND ($3::{bound} IS NULL OR {table}.{by} < $3)
            AND ($5::uuid IS NULL
                 OR CASE WHEN $4::timestamptz IS NULL THEN {table}.start_at IS NULL AND {table}.id > $5
                         ELSE {table}.start_at < $4 OR ({table}.start_at = $4 AND {table}.id > $5)
                              OR {table}.start_at IS NULL
                    END)
            AND NOT EXISTS (
                SELECT FROM mine AS other
                  JOIN {table} AS newer
                    ON newer.environment = other.environment AND newer.terra_user_id = other.terra_user_id
                   AND newer.natural_key = {table}.natural_key
                 WHERE other.connection_id = mine.connection_id AND other.terra_user_id <> mine.terra_user_id
                   AND (newer.record_order, newer.id) > ({table}.record_order, {table}.id))
          ORDER BY {table}.start_at DESC NULLS LAST, {table}.id
          LIMIT $6",
        shown = shown(kind, table),
    )
}

fn one(kind: DataKind, table: &str) -> String {
    format!(
        "SELECT alias.connection_id, alias.provider, {shown}, NULL::json AS elsewhere, {table}.document
           FROM {table}
           JOIN alias ON alias.environment = {table}.environment AND alias.terra_user_id = {table}.terra_user_id
          WHERE {table}.id = $1",
        shown = shown(kind, table),
    )
}

/// Only where the row is still the one that was read: a newer delivery has brought its own columns.
fn reproject(kind: DataKind, table: &str) -> String {
    let typed = typed(kind);
    let names: Vec<&str> = ["id", "record_order", "fingerprint", "enrichment", "start_at"]
        .into_iter()
        .chain(typed.iter().map(String::as_str))
        .collect();
    let types = ["uuid", "bytea", "json", "json", "timestamptz"];
    let types = types.into_iter().chain(columns(kind).iter().map(|column| sql_type(column.shape)));
    format!(
        "UPDATE {table} SET {changes} FROM unnest({arrays}) AS written ({names}) \
          WHERE {table}.id = written.id AND {table}.record_order = written.record_order RETURNING {table}.id",
        changes = assignments("written", &names[2..]),
        arrays = arrays(1, types),
        names = listed("", &names),
    )
}

/// Which table has a record: `$1` id.
pub(super) fn kind_of() -> &'static str {
    static WHICH: LazyLock<String> = LazyLock::new(|| {
        let one = |kind: DataKind| format!("SELECT '{0}' AS kind FROM {0} WHERE id = $1", kind.label());
        DataKind::ALL.map(one).join(" UNION ALL ")
    });
    &WHICH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One whole statement, to be read by people.
    #[test]
    fn the_statement_that_writes_hormones_reads_like_this() {
        let expected = r#"INSERT INTO hormone (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, enrichment, document, updated_at, "lh_miu_per_ml", "fsh_miu_per_ml", "hcg_miu_per_ml", "e3g_ng_per_ml", "pdg_ug_per_ml", "timestamp") SELECT id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, enrichment, document, updated_at, "lh_miu_per_ml", "fsh_miu_per_ml", "hcg_miu_per_ml", "e3g_ng_per_ml", "pdg_ug_per_ml", "timestamp" FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::boolean[], $7::boolean[], $8::timestamptz[], $9::text[], $10::text[], $11::json[], $12::json[], $13::bytea[], $14::timestamptz[], $15::float8[], $16::float8[], $17::float8[], $18::float8[], $19::float8[], $20::text[]) AS written (id, environment, terra_user_id, natural_key, record_order, order_inferred, deleted, start_at, start_time, end_time, fingerprint, enrichment, document, updated_at, "lh_miu_per_ml", "fsh_miu_per_ml", "hcg_miu_per_ml", "e3g_ng_per_ml", "pdg_ug_per_ml", "timestamp") ORDER BY id ON CONFLICT (id) DO UPDATE SET record_order = excluded.record_order, order_inferred = excluded.order_inferred, deleted = excluded.deleted, start_at = excluded.start_at, start_time = excluded.start_time, end_time = excluded.end_time, fingerprint = excluded.fingerprint, enrichment = excluded.enrichment, document = excluded.document, updated_at = excluded.updated_at, "lh_miu_per_ml" = excluded."lh_miu_per_ml", "fsh_miu_per_ml" = excluded."fsh_miu_per_ml", "hcg_miu_per_ml" = excluded."hcg_miu_per_ml", "e3g_ng_per_ml" = excluded."e3g_ng_per_ml", "pdg_ug_per_ml" = excluded."pdg_ug_per_ml", "timestamp" = excluded."timestamp" WHERE hormone.record_order < excluded.record_order RETURNING id, xmax = 0 AS is_new"#;
        assert_eq!(statements(DataKind::Hormone).write, expected);
    }
}
