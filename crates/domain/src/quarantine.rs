//! Requests whose signature fails: why, which of them are the same, and what becomes of one that passes later.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use terra::event::Kind;
use terra::headers::DeliveryHeaders;
use terra::signature::{self, Age, Change, Secret, SignatureError, SignatureHeader};
use uuid::Uuid;

use crate::delivery::Admission;
use crate::id::Environment;

pub mod burst;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuarantineId(pub Uuid);

impl std::fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A row without its body: its facts, keys and indexes, about.
const ROW_BYTES: u64 = 1_024;

/// Which part of a request is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    HeaderMissing,
    /// Two signature headers that differ.
    HeaderConflicting,
    HeaderMalformed,
    /// Genuine, and ahead of our clock.
    TimeFuture,
    /// Genuine and old, where the policy is to reject such.
    TimeStale,
    /// Signed with the secret of an environment that this address does not belong to.
    OtherEnvironment,
    /// Signed with one of our secrets before something changed the body.
    BodyChanged,
    /// Nothing fits: a secret we do not have, or a body changed beyond recognition.
    SecretOrBody,
}

impl Part {
    pub const ALL: [Part; 8] = [
        Part::HeaderMissing,
        Part::HeaderConflicting,
        Part::HeaderMalformed,
        Part::TimeFuture,
        Part::TimeStale,
        Part::OtherEnvironment,
        Part::BodyChanged,
        Part::SecretOrBody,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Part::HeaderMissing => "header_missing",
            Part::HeaderConflicting => "header_conflicting",
            Part::HeaderMalformed => "header_malformed",
            Part::TimeFuture => "time_future",
            Part::TimeStale => "time_stale",
            Part::OtherEnvironment => "other_environment",
            Part::BodyChanged => "body_changed",
            Part::SecretOrBody => "secret_or_body",
        }
    }

    pub fn parse(label: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.label() == label)
    }
}

/// What the door refused a request for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Signature(SignatureError),
    Future,
    Stale,
}

impl Refused {
    /// As far as the door knows, without having tried anything.
    pub fn part(self) -> Part {
        match self {
            Refused::Signature(SignatureError::Missing) => Part::HeaderMissing,
            Refused::Signature(SignatureError::Conflicting) => Part::HeaderConflicting,
            Refused::Signature(SignatureError::Malformed) => Part::HeaderMalformed,
            Refused::Signature(SignatureError::Mismatch) => Part::SecretOrBody,
            Refused::Future => Part::TimeFuture,
            Refused::Stale => Part::TimeStale,
        }
    }
}

/// Why a signature failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    pub part: Part,
    /// Whose secret fits after all.
    pub environment: Option<Environment>,
    /// What has to be undone for it to fit.
    pub change: Option<Change>,
}

impl Why {
    fn of(part: Part) -> Why {
        Why { part, environment: None, change: None }
    }

    /// For people: what is wrong and what to do.
    pub fn text(&self) -> String {
        let whose = self.environment.as_ref().map_or("another environment", Environment::as_str);
        let change = self.change.map(|change| format!("; the body fits {}", change.words())).unwrap_or_default();
        match self.part {
            Part::HeaderMissing => {
                "there is no signature header: is it from Terra, and does a proxy drop headers?".into()
            }
            Part::HeaderConflicting => "there are two signature headers that differ: does a proxy add one?".into(),
            Part::HeaderMalformed => "the signature header is not t=<seconds>,v1=<64 hex digits>".into(),
            Part::TimeFuture => "it is genuine and its time is ahead of ours: is this machine's clock right?".into(),
            Part::TimeStale => "it is genuine and too old for LANDFALL_STALE_POLICY=reject".into(),
            Part::OtherEnvironment => format!(
                "it is signed with a secret of {whose}: give that destination at Terra the address of its own environment{change}"
            ),
            Part::BodyChanged => format!("its body was changed on the way{change}: let the raw bytes through"),
            Part::SecretOrBody => {
                "no secret fits: is the one in Terra's dashboard set here, and do the raw bytes come through?".into()
            }
        }
    }
}

/// The secrets of the environments: those that the address of a request belongs to, and all others.
pub struct Secrets<'a> {
    pub expected: Vec<(&'a Environment, &'a [Secret])>,
    pub others: Vec<(&'a Environment, &'a [Secret])>,
}

/// Finds out why a request was refused, trying other environments and, with `undo`, what is commonly done to bodies on
/// their way. Without header or body only what the door saw can be told.
pub fn why(
    refused: Refused,
    header: Option<&SignatureHeader>,
    body: Option<&[u8]>,
    secrets: &Secrets<'_>,
    undo: bool,
) -> Why {
    let part = refused.part();
    let (Part::SecretOrBody, Some(header), Some(body)) = (part, header, body) else { return Why::of(part) };
    let fitting = |body: &[u8], among: &[(&Environment, &[Secret])]| {
        let one = among.iter().find(|(_, secrets)| signature::verify(header, body, secrets).is_ok());
        one.map(|(environment, _)| (*environment).clone())
    };
    if let Some(environment) = fitting(body, &secrets.others) {
        return Why { part: Part::OtherEnvironment, environment: Some(environment), change: None };
    }
    if !undo {
        return Why::of(Part::SecretOrBody);
    }
    let expected_or_other = |before: &[u8]| {
        let expected = fitting(before, &secrets.expected).map(|environment| (Part::BodyChanged, environment));
        expected.or_else(|| fitting(before, &secrets.others).map(|environment| (Part::OtherEnvironment, environment)))
    };
    match signature::find_change(body, expected_or_other) {
        Some((change, (part, environment))) => Why { part, environment: Some(environment), change: Some(change) },
        None => Why::of(Part::SecretOrBody),
    }
}

/// One request, or the same one several times, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub id: QuarantineId,
    /// Equal for what counts as the same request.
    pub fingerprint: [u8; 32],
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub seen: u64,
    /// The environment that its address names; `None`: the address of all.
    pub address: Option<Environment>,
    pub why: Why,
    pub looks_like_terra: bool,
    /// Well-formed, else absent; of the last time it was seen.
    pub signature: Option<String>,
    pub t_seconds: Option<i64>,
    pub headers: DeliveryHeaders,
    pub type_name: Option<String>,
    pub terra_user_id: Option<String>,
    /// Of the body, where it was read or announced.
    pub size_bytes: Option<u64>,
    /// What it takes of the space there is.
    pub held_bytes: u64,
}

/// Tells requests apart. Bodies that were read are compared by their bytes, whatever time and signature they come
/// with: Terra's retries are one. Of others the door knows trace id and size.
pub fn fingerprint(
    refused: Refused,
    address: Option<&Environment>,
    body_digest: Option<&[u8; 32]>,
    trace_id: Option<&str>,
    size_bytes: Option<u64>,
) -> [u8; 32] {
    let mut sha = Sha256::new();
    let size = size_bytes.map(|size| size.to_string()).unwrap_or_default();
    let address = address.map_or("", Environment::as_str);
    let digest = body_digest.map_or(&[][..], |digest| &digest[..]);
    for part in [refused.part().label().as_bytes(), address.as_bytes(), digest] {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part);
    }
    if body_digest.is_none() {
        sha.update(trace_id.unwrap_or_default());
        sha.update([0]);
        sha.update(size);
    }
    sha.finalize().into()
}

/// What a request takes of the space there is.
pub fn held_bytes(body_bytes: Option<u64>) -> u64 {
    ROW_BYTES + body_bytes.unwrap_or(0)
}

/// True for what could be Terra's: a header of Terra's, and one of its events where the body was read.
pub fn looks_like_terra(has_signature: bool, headers: &DeliveryHeaders, kind: Option<Kind>) -> bool {
    let has_header =
        has_signature || headers.trace_id.is_some() || headers.reference.is_some() || headers.ordering_ms.is_some();
    has_header && kind != Some(Kind::Other)
}

/// How a quarantined request whose signature fits now is let in, or `None` while its time is still ahead of us. `late`
/// says what the policy makes of one that was already old when it came.
///
/// It is never fresh: whoever had it meanwhile may have sent it again, so it counts only if neither its trace id nor its
/// signed bytes were processed.
pub fn readmit(
    t_seconds: i64,
    came: Timestamp,
    now: Timestamp,
    tolerance: Duration,
    late: impl Fn(Duration) -> Option<Admission>,
) -> Option<Admission> {
    if signature::age(t_seconds, now.as_millisecond(), tolerance) == Age::Future {
        return None;
    }
    match signature::age(t_seconds, came.as_millisecond(), tolerance) {
        Age::Fresh | Age::Future => Some(Admission::Late),
        Age::Stale { by } => late(by),
    }
}

#[cfg(test)]
mod tests;
