//! Backfills, as far as both engines do them alike.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use domain::backfill::{self, Again, AskState, Asked, BackfillState, Chunk, Conclusion, Noted, Progress, Sent};
use domain::delivery::Delivery;
use domain::fetch::{FetchJob, FetchOrigin, Gap, WINDOW_DAYS_MAX, Window, split};
use domain::id::{AliasKey, BackfillId, Environment, EventId, FetchJobId, UserId, derived_uuid};
use domain::outgoing::Outgoing;
use domain::plan::{Cause, Plan};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::StoreError;
use super::tx::{Placement, Tx};
use super::view::{BackfillRequestView, BackfillView, DaysView};

/// One wish, as its jobs tell it.
pub(super) struct Wished<'a> {
    pub(super) id: BackfillId,
    pub(super) alias: &'a AliasKey,
    pub(super) provider: Option<&'a str>,
    pub(super) origin: FetchOrigin,
    /// Comma separated.
    pub(super) kinds: String,
    pub(super) days: Window,
    pub(super) requested: u32,
}

/// The wishes of these jobs. What asks for a gap belongs to a wish that is there already, and adds nothing to it.
pub(super) fn wishes(jobs: &[FetchJob]) -> Vec<Wished<'_>> {
    let mut by_id: BTreeMap<BackfillId, Vec<&FetchJob>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.gap.is_none()) {
        by_id.entry(job.backfill).or_default().push(job);
    }
    by_id.into_iter().filter_map(|(id, jobs)| wish(id, &jobs)).collect()
}

fn wish<'a>(id: BackfillId, jobs: &[&'a FetchJob]) -> Option<Wished<'a>> {
    let first = *jobs.first()?;
    let mut kinds: Vec<&str> = jobs.iter().map(|job| job.kind.label()).collect();
    kinds.dedup();
    Some(Wished {
        id,
        alias: &first.alias,
        provider: first.provider.as_deref(),
        origin: first.origin,
        kinds: kinds.join(","),
        days: jobs.iter().fold(first.window, |days, job| days.hull(&job.window)),
        requested: u32::try_from(jobs.len()).unwrap_or(u32::MAX),
    })
}

/// What a batch says of requests for data, folded: of one chunk or request there is one row.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// By environment, reference and dedupe key.
    pub chunks: BTreeMap<(Environment, String, String), Chunk>,
    /// By environment and reference.
    pub announced: BTreeMap<(Environment, String), Announced>,
}

#[derive(Debug, Clone)]
pub struct Announced {
    pub terra_user_id: Option<String>,
    pub provider: Option<String>,
    pub expected: Option<u32>,
    pub at: Timestamp,
}

impl Notes {
    pub(super) fn of<'a>(plans: impl Iterator<Item = &'a Plan>) -> Notes {
        let mut notes = Notes::default();
        for plan in plans {
            if let (Cause::Delivery(delivery), Some(noted)) = (&plan.cause, &plan.noted) {
                notes.add(delivery, noted);
            }
        }
        notes
    }

    fn add(&mut self, delivery: &Delivery, noted: &Noted) {
        let environment = delivery.environment.clone();
        match noted {
            Noted::Chunk { reference, chunk } => {
                let key = (environment, reference.clone(), delivery.dedupe_key());
                self.chunks.entry(key).or_insert_with(|| chunk.clone());
            }
            Noted::Announced { reference, terra_user_id, provider, expected } => {
                let new = Announced {
                    terra_user_id: terra_user_id.clone(),
                    provider: provider.clone(),
                    expected: *expected,
                    at: delivery.received_at,
                };
                let kept = self.announced.entry((environment, reference.clone())).or_insert(new);
                kept.expected = kept.expected.max(*expected);
            }
        }
    }

    /// Every reference there is, in ascending order.
    pub(super) fn references(&self) -> BTreeSet<(Environment, String)> {
        let of_chunks = self.chunks.keys().map(|(environment, reference, _)| (environment.clone(), reference.clone()));
        of_chunks.chain(self.announced.keys().cloned()).collect()
    }
}

/// A large request that Terra announced and nobody of us made is somebody else's after this time: an answer to our own
/// is stored well before.
pub(super) const STRANGER_AFTER: SignedDuration = SignedDuration::from_secs(120);

/// How long whoever looks at a backfill has for it.
pub(super) const CLAIM: SignedDuration = SignedDuration::from_secs(60);

/// While things come, a look more often than told: what was committed beside a look shows in the next.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(60);
const LOOK_AT_LEAST: SignedDuration = SignedDuration::from_hours(1);

/// An open backfill.
pub(super) struct Account {
    pub(super) id: BackfillId,
    pub(super) alias: AliasKey,
    pub(super) provider: Option<String>,
    pub(super) origin: String,
    /// Of a request that Terra announced and we did not make.
    pub(super) reference: Option<String>,
    pub(super) kinds: String,
    pub(super) days: Option<Window>,
}

/// What is written about one that was looked at.
pub(super) struct Looked {
    pub(super) id: BackfillId,
    pub(super) state: BackfillState,
    pub(super) reason: Option<String>,
    pub(super) progress: Progress,
    pub(super) stalled_since: Option<Timestamp>,
    pub(super) look_at: Timestamp,
}

/// What a round of looking did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackfillRound {
    pub looked: u32,
    pub completed: u32,
    pub incomplete: u32,
    /// Requests made for what was missing.
    pub asked_again: u32,
}

impl BackfillRound {
    pub(super) fn add(&mut self, other: BackfillRound) {
        self.looked += other.looked;
        self.completed += other.completed;
        self.incomplete += other.incomplete;
        self.asked_again += other.asked_again;
    }
}

/// What looking at a backfill needs of an engine.
#[async_trait]
pub(super) trait Accounts: Tx {
    /// What was asked for it, and what came.
    async fn asked(&mut self, account: &Account) -> Result<Vec<Asked>, StoreError>;

    /// Writes what was found, if it is still open; a look that was asked for meanwhile stays. Answers whether it was.
    async fn keep_looked(&mut self, looked: &Looked, now: Timestamp) -> Result<bool, StoreError>;
}

/// Looks at one backfill: counts, asks again for what is missing, or closes the account and tells.
pub(super) async fn look<T: Accounts + ?Sized>(
    tx: &mut T,
    account: &Account,
    now: Timestamp,
    stall: Duration,
) -> Result<BackfillRound, StoreError> {
    tx.lock_identity(false).await?;
    let asked = tx.asked(account).await?;
    let progress = backfill::progress(&asked);
    let conclusion = backfill::conclude(&asked, now, stall);
    let (state, reason) = match &conclusion {
        Conclusion::Open { .. } => (BackfillState::Open, None),
        Conclusion::Complete => (BackfillState::Complete, None),
        Conclusion::Incomplete { reason } => (BackfillState::Incomplete, Some(reason.clone())),
    };
    let looked = Looked {
        id: account.id,
        state,
        reason,
        progress,
        stalled_since: backfill::stalled_since(&asked, now, stall),
        look_at: look_at(&conclusion, &progress, now),
    };
    let mut round = BackfillRound { looked: 1, ..BackfillRound::default() };
    match conclusion {
        Conclusion::Open { again, .. } => {
            let jobs: Vec<FetchJob> = again.iter().flat_map(|again| gap_jobs(account, again)).collect();
            round.asked_again = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
            tx.insert_fetch_jobs(&jobs, now).await?;
            tx.keep_looked(&looked, now).await?;
        }
        Conclusion::Complete | Conclusion::Incomplete { .. } => {
            let placement = tx.aliases(std::slice::from_ref(&account.alias)).await?.pop().map(|row| row.placement);
            if tx.keep_looked(&looked, now).await? {
                tx.insert_events(&[settled(account, &looked, placement.as_ref(), now)]).await?;
                round.completed = u32::from(state == BackfillState::Complete);
                round.incomplete = u32::from(state == BackfillState::Incomplete);
            }
        }
    }
    Ok(round)
}

fn look_at(conclusion: &Conclusion, progress: &Progress, now: Timestamp) -> Timestamp {
    let Conclusion::Open { look_at, .. } = conclusion else { return now };
    let is_coming = progress.last_at.is_some_and(|last| now.duration_since(last) < LOOK_AGAIN * 2);
    let at_most = if is_coming { LOOK_AGAIN } else { LOOK_AT_LEAST };
    (*look_at).min(now.checked_add(at_most).unwrap_or(Timestamp::MAX))
}

fn gap_jobs(account: &Account, again: &Again) -> Vec<FetchJob> {
    let windows = again.windows.iter().flat_map(|window| split(*window, WINDOW_DAYS_MAX));
    let job = |window: Window| FetchJob {
        id: FetchJobId(derived_uuid(&[
            b"gap",
            account.id.0.as_bytes(),
            again.of.0.as_bytes(),
            &again.round.to_be_bytes(),
            window.start.to_string().as_bytes(),
        ])),
        backfill: account.id,
        alias: account.alias.clone(),
        provider: account.provider.clone(),
        kind: again.kind,
        window,
        origin: FetchOrigin::Missing,
        attempts: 0,
        gap: Some(Gap { of: again.of, round: again.round }),
    };
    windows.map(job).collect()
}

fn settled(account: &Account, looked: &Looked, placement: Option<&Placement>, now: Timestamp) -> Outgoing {
    let verb = if looked.state == BackfillState::Complete { "completed" } else { "incomplete" };
    let Progress { requested, expected, received, bytes, .. } = looked.progress;
    Outgoing {
        id: EventId(derived_uuid(&[b"event", account.id.0.as_bytes(), b"backfill", verb.as_bytes()])),
        alias: Some(account.alias.clone()),
        environment: account.alias.environment.clone(),
        connection: placement.map(|placement| placement.connection),
        subject: placement.and_then(Placement::owner).cloned(),
        entity: "backfill".into(),
        verb: verb.into(),
        provider: account.provider.clone(),
        record: None,
        time: now,
        data: json!({
            "backfill": account.id,
            "connection": placement.map(|placement| placement.connection),
            "terra_user_id": account.alias.terra_user_id,
            "origin": account.origin,
            "types": types(&account.kinds),
            "from": account.days.map(|days| days.start),
            "to": account.days.map(|days| days.end),
            "requested": requested,
            "expected": expected,
            "received": received,
            "missing": expected.saturating_sub(received),
            "bytes": bytes,
            "reason": looked.reason,
        }),
    }
}

/// The kinds of a backfill's column.
pub(super) fn types(kinds: &str) -> Vec<String> {
    kinds.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect()
}

/// The request that Terra announced, as the one request of its backfill.
pub(super) fn announced_request(account: &Account, since: Timestamp, sent: Sent) -> Asked {
    Asked {
        id: FetchJobId(account.id.0),
        kind: None,
        window: None,
        state: AskState::Requested,
        since,
        bytes: 0,
        reference: account.reference.clone(),
        sent,
        gap: None,
    }
}

/// A job's state as its column says it.
pub(super) fn ask_state(state: &str, reason: Option<String>) -> Option<AskState> {
    match state {
        "queued" => Some(AskState::Queued),
        "requested" => Some(AskState::Requested),
        "done" | "nothing" => Some(AskState::Answered),
        "failed" => Some(AskState::Failed { reason: reason.unwrap_or_else(|| "failed".into()) }),
        _ => None,
    }
}

/// The id of the backfill of a request that Terra announced.
pub(super) fn id_of_reference(environment: &Environment, reference: &str) -> BackfillId {
    BackfillId(derived_uuid(&[b"backfill", b"terra", environment.as_str().as_bytes(), reference.as_bytes()]))
}

/// A backfill as the API shows it, from its columns and what is known of its requests (`None` in listings).
pub(super) struct ViewRow {
    pub(super) account: Account,
    pub(super) user: Option<UserId>,
    pub(super) state: BackfillState,
    pub(super) reason: Option<String>,
    pub(super) progress: Progress,
    pub(super) stalled_since: Option<Timestamp>,
    pub(super) created_at: Timestamp,
    pub(super) progressed_at: Timestamp,
    pub(super) settled_at: Option<Timestamp>,
}

impl ViewRow {
    pub(super) fn view(self, now: Timestamp) -> BackfillView {
        let Progress { requested, expected, received, bytes, .. } = self.progress;
        let is_open = self.state == BackfillState::Open;
        let stalled = self.stalled_since.filter(|_| is_open);
        BackfillView {
            id: self.account.id,
            environment: self.account.alias.environment,
            terra_user_id: self.account.alias.terra_user_id.to_string(),
            user: self.user,
            provider: self.account.provider,
            origin: self.account.origin,
            types: types(&self.account.kinds),
            from: self.account.days.map(|days| days.start.to_string()),
            to: self.account.days.map(|days| days.end.to_string()),
            state: self.state.label(),
            reason: self.reason,
            requested,
            expected,
            received,
            missing: expected.saturating_sub(received),
            progress: if expected == 0 { 1.0 } else { received as f64 / expected as f64 },
            bytes,
            stalled_for_seconds: stalled.map(|since| now.duration_since(since).as_secs()),
            created_at: self.created_at,
            progressed_at: self.progressed_at,
            settled_at: self.settled_at,
            requests: None,
            missing_days: None,
        }
    }

    /// With every request, counted anew.
    pub(super) fn view_whole(mut self, asked: &[Asked], now: Timestamp, stall: Duration) -> BackfillView {
        if self.state == BackfillState::Open {
            self.stalled_since = backfill::stalled_since(asked, now, stall);
            self.progress = backfill::progress(asked);
            self.progressed_at = self.progress.last_at.unwrap_or(self.progressed_at);
        }
        let is_open = self.state != BackfillState::Complete;
        let missing = if is_open { backfill::missing_days(asked) } else { Vec::new() };
        BackfillView {
            requests: Some(asked.iter().map(request_view).collect()),
            missing_days: Some(missing.into_iter().map(|(kind, window)| days_view(kind.label(), window)).collect()),
            ..self.view(now)
        }
    }
}

fn request_view(asked: &Asked) -> BackfillRequestView {
    let (state, reason) = match &asked.state {
        AskState::Queued => ("queued", None),
        AskState::Requested => ("requested", None),
        AskState::Answered => ("answered", None),
        AskState::Failed { reason } => ("failed", Some(reason.clone())),
    };
    BackfillRequestView {
        fetch: asked.window.map(|_| asked.id),
        days: asked.kind.zip(asked.window).map(|(kind, window)| days_view(kind.label(), window)),
        state,
        reason,
        reference: asked.reference.clone(),
        expected: asked.sent.expected,
        received: asked.sent.chunks.len() as u64,
        bytes: asked.bytes + asked.sent.chunks.values().map(|chunk| chunk.bytes).sum::<u64>(),
        asks_again_for: asked.gap.map(|(of, _)| of),
    }
}

fn days_view(kind: &str, window: Window) -> DaysView {
    DaysView { kind: kind.to_owned(), start: window.start.to_string(), end: window.end.to_string() }
}
