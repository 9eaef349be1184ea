//! Payloads that Terra left in storage: the webhook brings a link that lives for minutes.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use terra::event::{DataKind, Event};

use super::{Disposition, Plan};
use crate::delivery::Delivery;
use crate::fetch::{self, FetchJob, FetchOrigin, WINDOW_DAYS_MAX, Window, Wish};
use crate::id::AliasKey;
use crate::plan::Context;

/// Where Terra does not say how long a link lives; 300 to 600 s were seen.
const EXPIRES_IN: SignedDuration = SignedDuration::from_secs(300);
const EXPIRES_IN_MAX: i64 = 7 * 24 * 3_600;

/// Days before the delivery that are asked for where nothing says which days it was about: a night belongs to two.
const DAYS_BEFORE: i64 = 2;

/// What the webhook of a stored payload says. `Debug` shows no link: whoever has it has the data.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    pub url: Option<String>,
    pub expires_at: Timestamp,
    /// Only the queue form names one.
    pub terra_user_id: Option<String>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stored(until {})", self.expires_at)
    }
}

/// Reads the webhook of a stored payload; `None` where it is another event, or none.
pub fn stored_payload(delivery: &Delivery, body: &[u8]) -> Option<Stored> {
    let Ok(Event::S3Payload { url, expires_in_seconds, user_id, .. }) = terra::event::decode(body) else { return None };
    let lives = expires_in_seconds
        .map_or(EXPIRES_IN, |seconds| SignedDuration::from_secs(i64::from(seconds).min(EXPIRES_IN_MAX)));
    let expires_at = delivery.received_at.checked_add(lives).unwrap_or(Timestamp::MAX);
    Some(Stored { url, expires_at, terra_user_id: user_id })
}

/// Days that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub alias: AliasKey,
    pub kind: DataKind,
    pub days: Window,
}

/// The plan of a payload that cannot be had any more: recorded, and its days asked for in another way.
///
/// - Shapes: `asked` are the requests of ours that this answered, if any; else the days around the delivery are asked
///   for where it is known whose it was. Where neither is known, only Terra's log can tell (`landfall recover`).
pub fn unavailable(
    delivery: Delivery,
    reason: &'static str,
    asked: &[Asked],
    terra_user_id: Option<&str>,
    context: &Context,
) -> Plan {
    let alias = terra_user_id.map(|user| AliasKey::new(&delivery.environment, user));
    let instead = match (asked, &alias) {
        ([], Some(alias)) => around(&delivery, alias, context),
        ([], None) => Vec::new(),
        (asked, _) => asked.iter().flat_map(|asked| again(&delivery, asked)).collect(),
    };
    let disposition =
        if instead.is_empty() { Disposition::SetAside { reason: reason.into() } } else { Disposition::Process };
    Plan { instead, remark: Some(reason), ..Plan::empty(delivery, disposition) }
}

fn around(delivery: &Delivery, alias: &AliasKey, context: &Context) -> Vec<FetchJob> {
    let today = delivery.received_at.to_zoned(TimeZone::UTC).date();
    let days = Window {
        start: today.saturating_sub(Span::new().days(DAYS_BEFORE)),
        end: today.saturating_add(Span::new().days(1)),
    };
    fetch::jobs(&Wish {
        alias,
        provider: None,
        kinds: &context.capabilities.history_kinds(None),
        days,
        origin: FetchOrigin::Recover,
        cause: delivery.id.0.as_bytes(),
        window_days_max: WINDOW_DAYS_MAX,
    })
}

fn again(delivery: &Delivery, asked: &Asked) -> Vec<FetchJob> {
    fetch::jobs(&Wish {
        alias: &asked.alias,
        provider: None,
        kinds: &[asked.kind],
        days: asked.days,
        origin: FetchOrigin::Missing,
        cause: delivery.id.0.as_bytes(),
        window_days_max: WINDOW_DAYS_MAX,
    })
}
