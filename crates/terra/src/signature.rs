//! Terra's webhook signature: header, raw body and secrets in; genuine or not, and how old, out.

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

mod undo;

pub use undo::{Change, find_change};

/// Bytes of one header value that we are ready to parse; Terra's own are about 80.
pub const HEADER_BYTES_MAX: usize = 4_096;

/// Digits of `t`: enough for milliseconds until the year 33,000, too few to overflow.
const T_DIGITS_MAX: usize = 15;

/// A signing secret, as HMAC-SHA256 keyed once and cloned for each check. Its bytes are not kept and never printed.
#[derive(Clone)]
pub struct Secret(Hmac<Sha256>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("take a signing secret that is empty or blank")]
    Empty,
    #[error("take a signing secret of fewer than {} bytes", Secret::BYTES_MIN)]
    TooShort,
}

impl Secret {
    pub const BYTES_MIN: usize = 16;

    /// Keys the check with exactly these bytes; blanks around them count as part of the secret, though not of its
    /// length.
    ///
    /// - Errors: `Empty` (no byte, or only ASCII blanks), `TooShort` (under [`Secret::BYTES_MIN`]).
    pub fn new(bytes: &[u8]) -> Result<Secret, SecretError> {
        match bytes.trim_ascii().len() {
            0 => Err(SecretError::Empty),
            length if length < Self::BYTES_MIN => Err(SecretError::TooShort),
            _ => Ok(Self::unchecked_for_vectors(bytes)),
        }
    }

    /// A secret of any length: the published test vectors are signed with `foo` and `key`.
    #[doc(hidden)]
    pub fn unchecked_for_vectors(bytes: &[u8]) -> Secret {
        Secret(Hmac::new_from_slice(bytes).expect("invariant: HMAC takes a key of any length"))
    }

    fn over(&self, t: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(t.as_bytes());
        mac.update(b".");
        mac.update(body);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a delivery is not shown to be Terra's. All end in the same 401; the difference is for metrics and people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("find a signature header")]
    Missing,
    #[error("choose between signature headers that differ")]
    Conflicting,
    #[error("parse the signature header")]
    Malformed,
    #[error("match the signature with a secret")]
    Mismatch,
}

impl SignatureError {
    /// A stable word for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            SignatureError::Missing => "missing",
            SignatureError::Conflicting => "conflicting",
            SignatureError::Malformed => "malformed",
            SignatureError::Mismatch => "mismatch",
        }
    }
}

/// A well-formed signature header. It proves nothing until [`verify`] has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeader {
    /// As received: leading zeros are part of what is signed.
    t_text: String,
    t_seconds: i64,
    v1: Vec<[u8; 32]>,
}

impl SignatureHeader {
    /// Parses one header value.
    ///
    /// - Shapes: `t=<1 to 15 digits>,v1=<64 hex digits>[,v1=..][,<other>=..]`, in any order; blanks around an element
    ///   are tolerated, schemes other than `v1` ignored. A `v1` that is no 64 hex digits is ignored beside a good one.
    /// - Units: `t` is whole seconds since the Unix epoch, UTC.
    /// - Errors: `Malformed` only. Never panics.
    /// - Source: docs.tryterra.co, webhook security, and the parsers of Terra's Python, JavaScript and Java clients,
    ///   read 2026-11-22.
    pub fn parse(value: &[u8]) -> Result<SignatureHeader, SignatureError> {
        let header = printable(value).and_then(parse_elements);
        header.ok_or(SignatureError::Malformed)
    }

    pub fn t_seconds(&self) -> i64 {
        self.t_seconds
    }

    pub fn t_text(&self) -> &str {
        &self.t_text
    }
}

/// The header as it could have been sent: what is not signed is left out.
impl fmt::Display for SignatureHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={}", self.t_text)?;
        self.v1.iter().try_for_each(|v1| write!(f, ",v1={}", hex::encode(v1)))
    }
}

fn printable(value: &[u8]) -> Option<&str> {
    let is_plain = value.len() <= HEADER_BYTES_MAX && value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    if is_plain { std::str::from_utf8(value).ok() } else { None }
}

fn parse_elements(value: &str) -> Option<SignatureHeader> {
    let mut t = None;
    let mut v1 = Vec::new();
    for element in value.split(',') {
        let (scheme, text) = element.trim_ascii().split_once('=')?;
        match scheme {
            "t" if t.is_some() => return None,
            "t" => t = Some(text),
            "v1" => v1.extend(digest(text)),
            _ => {}
        }
    }
    let t_text = t.filter(|t| (1..=T_DIGITS_MAX).contains(&t.len()) && t.bytes().all(|byte| byte.is_ascii_digit()))?;
    let t_seconds = t_text.parse().ok()?;
    (!v1.is_empty()).then(|| SignatureHeader { t_text: t_text.to_owned(), t_seconds, v1 })
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).ok()?;
    Some(digest)
}

/// Finds the one signature header among all values of [`crate::headers::SIGNATURE`] and
/// [`crate::headers::SIGNATURE_OLD`]. Terra sends both with the same value.
///
/// - Errors: `Missing` (no value), `Conflicting` (two values that differ), `Malformed`.
pub fn from_headers<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<SignatureHeader, SignatureError> {
    let mut values = values.map(|value| value.trim_ascii());
    let first = values.next().ok_or(SignatureError::Missing)?;
    if values.any(|value| value != first) {
        return Err(SignatureError::Conflicting);
    }
    SignatureHeader::parse(first)
}

/// Checks that `body` was signed with one of `secrets`, and says with which.
///
/// - Shapes: `body` is the raw bytes, before any parsing. The answer is an index into `secrets`.
/// - Errors: `Mismatch`. Never panics.
/// - Every secret is tried with every `v1`, and each comparison takes constant time: the time taken tells neither
///   which secret fits nor how much of a wrong signature was right.
pub fn verify(header: &SignatureHeader, body: &[u8], secrets: &[Secret]) -> Result<usize, SignatureError> {
    let mut fitting = None;
    for (index, secret) in secrets.iter().enumerate() {
        let mac = secret.over(&header.t_text, body);
        for v1 in &header.v1 {
            let fits = mac.clone().verify_slice(v1).is_ok();
            fitting = fitting.or(fits.then_some(index));
        }
    }
    fitting.ok_or(SignatureError::Mismatch)
}

/// SHA-256 of `t.body`, the signed bytes: tells two deliveries with equal bodies apart.
pub fn signed_digest(header: &SignatureHeader, body: &[u8]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(header.t_text.as_bytes());
    sha.update(b".");
    sha.update(body);
    sha.finalize().into()
}

pub fn body_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// The header value that Terra would send: for simulators, load generators and tests.
pub fn sign(secret: &Secret, t_seconds: i64, body: &[u8]) -> String {
    let t = t_seconds.to_string();
    let mac: [u8; 32] = secret.over(&t, body).finalize().into_bytes().into();
    format!("t={t},v1={}", hex::encode(mac))
}

/// How the signed time relates to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Fresh,
    /// Older than the tolerance; `by` is the whole age, `now - t`.
    Stale {
        by: Duration,
    },
    /// Ahead of us by more than the tolerance.
    Future,
}

/// Judges the signed time: `Fresh` while `|now - t| <= tolerance`.
///
/// - Units: `now_ms` is milliseconds since the Unix epoch, UTC.
pub fn age(t_seconds: i64, now_ms: i64, tolerance: Duration) -> Age {
    let age_ms = now_ms.saturating_sub(t_seconds.saturating_mul(1_000));
    if u128::from(age_ms.unsigned_abs()) <= tolerance.as_millis() {
        Age::Fresh
    } else if age_ms < 0 {
        Age::Future
    } else {
        Age::Stale { by: Duration::from_millis(age_ms.unsigned_abs()) }
    }
}

#[cfg(test)]
mod tests;
