//! Providers that are down or refuse for a time, while Terra itself is well.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::lock::lock;
use crate::world::World;

/// How an outage is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// 424: the provider failed.
    #[default]
    Failed,
    /// 429 with the provider's message. It has no `X-Terra-RateLimit-Rule`, by which a caller tells
    /// a provider's limit from Terra's own.
    TooMany,
    /// 200 with `type: rate_limit`, as the older platform words it.
    RateLimit,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outage {
    /// Terra's code, such as `FITBIT`.
    pub(crate) provider: String,
    #[serde(default)]
    pub(crate) answer: Answer,
    /// How long it lasts. Not said: until it is ended by `DELETE /_simulator/outages`.
    #[serde(default)]
    pub(crate) seconds: Option<f64>,
    /// What the provider says.
    #[serde(default = "message")]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) retry_after: Option<u64>,
    #[serde(skip)]
    ends_at_ms: Option<i64>,
}

fn message() -> String {
    "the provider does not answer at the moment".to_owned()
}

#[derive(Default)]
pub(crate) struct Outages {
    under_way: Vec<Outage>,
    changed: Arc<Notify>,
}

impl Outages {
    /// A later outage of one provider replaces the earlier one.
    pub(crate) fn begin(&mut self, mut outage: Outage, now_ms: i64) {
        outage.ends_at_ms = outage.seconds.map(|seconds| now_ms.saturating_add((seconds * 1_000.0) as i64));
        self.under_way.retain(|known| known.provider != outage.provider);
        self.under_way.push(outage);
        self.changed.notify_waiters();
    }

    pub(crate) fn end_all(&mut self) {
        self.under_way.clear();
        self.changed.notify_waiters();
    }

    pub(crate) fn of(&mut self, provider: &str, now_ms: i64) -> Option<Outage> {
        self.list(now_ms).iter().find(|outage| outage.provider == provider).cloned()
    }

    pub(crate) fn list(&mut self, now_ms: i64) -> &[Outage] {
        self.under_way.retain(|outage| outage.ends_at_ms.is_none_or(|end| now_ms < end));
        &self.under_way
    }
}

impl Outage {
    pub(crate) fn of(provider: &str, answer: Answer, seconds: f64, message: &str) -> Self {
        Self {
            provider: provider.to_owned(),
            answer,
            seconds: Some(seconds),
            message: message.to_owned(),
            retry_after: Some(1),
            ends_at_ms: None,
        }
    }

    /// Whether Terra keeps the request and asks the provider again itself, if the caller wishes so.
    pub(crate) fn is_rate_limit(&self) -> bool {
        match self.answer {
            Answer::Failed => false,
            Answer::TooMany | Answer::RateLimit => true,
        }
    }

    /// When Terra asks again, in unix milliseconds. Without an announced end it is a guess.
    pub(crate) fn retrying_at_ms(&self, now_ms: i64) -> i64 {
        const GUESS_MS: i64 = 15 * 60 * 1_000;
        self.ends_at_ms.unwrap_or(now_ms + GUESS_MS)
    }
}

/// Waits until a provider is well again.
pub(crate) async fn over(world: &World, provider: &str) {
    loop {
        let changed = lock(&world.outages).changed.clone();
        let notified = changed.notified();
        tokio::pin!(notified);
        // Enrolled before looking, so that an end between the look and the wait is not missed.
        notified.as_mut().enable();
        let now_ms = world.clock.unix_ms();
        let Some(outage) = lock(&world.outages).of(provider, now_ms) else { return };
        match outage.ends_at_ms {
            None => notified.await,
            Some(end) => {
                let left = Duration::from_millis(u64::try_from(end - now_ms).unwrap_or_default());
                // Either way the outage is looked at again.
                tokio::time::timeout(left, notified).await.ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_ends_by_itself_or_by_hand() {
        let mut outages = Outages::default();
        let outage: Outage = serde_json::from_str(r#"{"provider": "FITBIT", "seconds": 2}"#).unwrap();
        outages.begin(outage, 1_000);
        assert!(outages.of("FITBIT", 2_999).is_some());
        assert!(outages.of("GARMIN", 2_999).is_none());
        assert!(outages.of("FITBIT", 3_000).is_none());
        let endless: Outage = serde_json::from_str(r#"{"provider": "OURA", "answer": "too_many"}"#).unwrap();
        outages.begin(endless, 0);
        assert!(outages.of("OURA", i64::MAX).is_some_and(|outage| outage.is_rate_limit()));
        outages.end_all();
        assert!(outages.of("OURA", 0).is_none());
    }
}
