//! What sort of trouble a delivery is in, and which others are in the same.
//!
//! Both follow from the reason that the ledger keeps, which is a stable word, and from the kind of event. So they are the
//! same on every machine, and nothing of a payload is in them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use terra::event::Kind;

/// Bytes of a fingerprint: enough that two causes never share one, short enough to be typed.
const FINGERPRINT_BYTES: usize = 6;

/// Constraints whose names begin so guard who is who.
const IDENTITY_TABLES: [&str; 3] = ["alias", "connection", "resolution"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Time, an outage or somebody's storage is at fault: the same bytes may do another time.
    Transient,
    /// Our own code fails on these bytes, until it is mended.
    Poison,
    /// It cannot be said whose it is.
    Identity,
    /// The bytes break a rule, of Terra's or of ours.
    Contract,
}

impl Class {
    pub const ALL: [Class; 4] = [Class::Transient, Class::Poison, Class::Identity, Class::Contract];
    pub const LABELS: [&str; 4] = ["transient", "poison", "identity", "contract"];

    pub fn label(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::Poison => "poison",
            Class::Identity => "identity",
            Class::Contract => "contract",
        }
    }

    pub fn parse(label: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.label() == label)
    }

    /// The class of a reason as the ledger keeps it, of a failed try as of what was set aside.
    pub fn of(reason: &str) -> Class {
        match reason.strip_prefix("rejected:").unwrap_or(reason) {
            "panicked" | "crashed" => Class::Poison,
            "held_before"
            | "payload_lost"
            | "payload_waits"
            | "payload_gone"
            | "payload_not_downloaded"
            | "too_old"
            | "too_slow" => Class::Transient,
            "missing_user" => Class::Identity,
            rule if IDENTITY_TABLES.iter().any(|table| rule.starts_with(table)) => Class::Identity,
            _ => Class::Contract,
        }
    }
}

/// A short stable name of class, reason and kind: what has the same one has the same cause, as far as we can tell.
///
/// - Shapes: 12 hexadecimal digits.
pub fn fingerprint(reason: &str, kind: Kind) -> String {
    let class = Class::of(reason);
    let digest = Sha256::digest([class.label(), reason, kind.label()].join("\0"));
    hex::encode(&digest[..FINGERPRINT_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &str, class: Class) {
        assert_eq!(Class::of(reason), class, "{reason}");
    }

    #[test]
    fn a_reason_has_a_class() {
        check("panicked", Class::Poison);
        check("rejected:panicked", Class::Poison);
        check("payload_lost", Class::Transient);
        check("too_old", Class::Transient);
        check("too_slow", Class::Transient);
        check("missing_user", Class::Identity);
        check("rejected:alias_status_check", Class::Identity);
        check("rejected:activity_check", Class::Contract);
        check("not_json", Class::Contract);
        assert_eq!(Class::ALL.map(Class::label), Class::LABELS);
        assert!(Class::ALL.iter().all(|class| Class::parse(class.label()) == Some(*class)));
    }

    #[test]
    fn a_fingerprint_is_stable_and_tells_reason_and_kind_apart() {
        assert_eq!(fingerprint("panicked", Kind::Sleep), "a7d66684d27c");
        let others = [("panicked", Kind::Daily), ("rejected:panicked", Kind::Sleep), ("payload_lost", Kind::Sleep)];
        for (reason, kind) in others {
            assert_ne!(fingerprint(reason, kind), fingerprint("panicked", Kind::Sleep));
        }
    }
}
