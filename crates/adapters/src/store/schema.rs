//! The schema in the database, against what this binary can work with.

/// The schema in the database, against what this binary can work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Fits {
        version: u32,
    },
    /// Nothing there, or too old: migrate up.
    Behind {
        version: u32,
        needed: u32,
    },
    /// Made by a binary so new that this one may harm it.
    Ahead {
        version: u32,
        readable_from: u32,
    },
}

/// The schema level of this binary: it needs exactly what migrations up to here create.
pub const SCHEMA_VERSION: u32 = 14;

/// The oldest schema this binary still works with. Migrations only expand, so the schema goes first, and processes of
/// the version before are replaced one by one on it.
pub const SCHEMA_OLDEST: u32 = 13;

/// Judges a schema: `version` is the last migration applied, `readable_from` the oldest binary level that it suits,
/// as its own migrations say.
pub fn judge_schema(version: u32, readable_from: u32) -> Schema {
    if version < SCHEMA_OLDEST {
        Schema::Behind { version, needed: SCHEMA_OLDEST }
    } else if readable_from > SCHEMA_VERSION {
        Schema::Ahead { version, readable_from }
    } else {
        Schema::Fits { version }
    }
}
