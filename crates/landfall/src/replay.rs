//! Replays, step by step: one process at a time, and whoever takes over goes on where the last one was.
//!
//! A run is counted page by page, each page with a look at what working it again would do. Then one delivery is worked; if
//! it fails, another is tried, and after a few nothing else is touched. Once one went well the rest follows at the run's
//! rate, between live traffic, not before it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters::payloads::PayloadError;
use adapters::queue::Job;
use adapters::store::{Audit, Counted, Holder, LedgerOutcome, Page, Selected, StoreError, Turn};
use domain::id::DeliveryId;
use domain::plan::{self, Context, Plan};
use domain::record::RecordKey;
use domain::replay::{self, Care, ItemState, Items, Predicted, Progress, Replay, ReplayId, Selection, State};
use domain::settle::Failure;
use fail::fail_point;
use jiff::SignedDuration;
use metrics::counter;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::Config;
use crate::telemetry;
use crate::wiring::Ports;
use crate::worker::{self, context};

/// Taken anew with every step; after a crash another process waits this long.
const LEASE: SignedDuration = SignedDuration::from_secs(15);

fn lease() -> SignedDuration {
    // Of a test that waits for it after each of several crashes.
    fail_point!("replay_lease", |ms| ms.and_then(|ms| ms.parse().ok()).map_or(LEASE, SignedDuration::from_millis));
    LEASE
}

/// Renewals of it in the middle of a step, before it would run out.
const RENEWALS: u32 = 3;
const POLL: Duration = Duration::from_millis(500);
/// Deliveries counted in one step …
const COUNT_AT_ONCE: u32 = 200;
/// … and bytes of their payloads: a plan holds on to the body it was made of.
const COUNT_BYTES_AT_ONCE: u64 = 32 * 1024 * 1024;
/// How often the numbers of a run are kept; those who look at it get them as they are.
const TALLY_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let lease = Holder { name: "replay", holder: Uuid::now_v7() };
    let mut work = Work { ports: &ports, config: &config, stop: &stop, lease, tallied: None, took: None };
    while !stop.is_cancelled() {
        let pause = match work.turn().await {
            Ok(pause) => pause,
            Err(error) => {
                warn!(%error, "cannot go on with replays now");
                POLL
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    if let Err(error) = ports.store.let_go(lease).await {
        warn!(%error, "could not give the lease of replays back; it runs out by itself");
    }
}

/// How a person wants a run.
pub(crate) struct Wanted {
    pub(crate) selection: Selection,
    pub(crate) actor: String,
    pub(crate) rate: u32,
    pub(crate) dry_run: bool,
}

/// Begins a run: what is in the ledger by now, and matches, is part of it.
pub(crate) async fn begin(ports: &Ports, wanted: Wanted) -> Result<Replay, StoreError> {
    let now = ports.clock.now();
    // Of an empty ledger nothing is chosen.
    let until = ports.store.newest_delivery().await?.unwrap_or(DeliveryId(Uuid::nil()));
    let run = Replay {
        id: ReplayId(Uuid::now_v7()),
        selection: wanted.selection,
        state: State::Counting,
        dry_run: wanted.dry_run,
        actor: wanted.actor,
        rate: wanted.rate,
        requested_at: now,
        started_at: None,
        finished_at: None,
        position: None,
        progress: Progress { until: Some(until), ..Progress::default() },
        reason: None,
    };
    let audit = entry(&run, &run.actor, "replay.create");
    ports.store.write_replay(&run, None, Some(&audit), now).await?;
    info!(actor = %run.actor, replay.id = %run.id, dry_run = run.dry_run, "queued a replay");
    Ok(run)
}

/// The entry of the audit about a run.
pub(crate) fn entry(run: &Replay, actor: &str, action: &'static str) -> Audit {
    let detail =
        json!({ "selection": run.selection, "rate": run.rate, "dry_run": run.dry_run, "items": run.progress.items });
    Audit { actor: actor.to_owned(), action, subject: run.id.to_string(), detail }
}

struct Work<'a> {
    ports: &'a Ports,
    config: &'a Config,
    stop: &'a CancellationToken,
    lease: Holder<'a>,
    /// When the numbers of which run were last kept.
    tallied: Option<(ReplayId, Instant)>,
    /// What this process took last, of which run.
    took: Option<(ReplayId, DeliveryId)>,
}

impl Work<'_> {
    /// One step of one run; answers how long to wait before the next.
    async fn turn(&mut self) -> Result<Duration, StoreError> {
        let store = &self.ports.store;
        let now = self.ports.clock.now();
        if !store.hold(self.lease, now, now + lease()).await? {
            return Ok(POLL);
        }
        match store.next_replay().await? {
            Some(run) if run.state == State::Counting => self.count(run).await,
            Some(run) => self.work(run).await,
            None => Ok(POLL),
        }
    }

    async fn count(&mut self, mut run: Replay) -> Result<Duration, StoreError> {
        let store = self.ports.store.clone();
        let mut page = store.select_deliveries(&run.selection, run.position, run.progress.until, COUNT_AT_ONCE).await?;
        let mut is_last = page.len() < COUNT_AT_ONCE as usize;
        let mut counted = Vec::new();
        if let Some(first) = page.first().map(|first| first.job.delivery.id) {
            let care = self.care(&run, first);
            let takes = care.deliveries(fitting(&page));
            is_last &= takes == page.len();
            page.truncate(takes);
            if !self.take(&mut run, care, first, takes).await? {
                return Ok(Duration::ZERO);
            }
            counted = match care {
                Care::Leave { .. } => page.iter().map(|selected| as_counted(selected, Predicted::Unknown)).collect(),
                Care::Together | Care::Alone { .. } => self.predict(&page).await?,
            };
        }
        run.position = page.last().map_or(run.position, |last| Some(last.job.delivery.id));
        run.progress.deliveries += counted.len() as u64;
        // Where a person cancelled it meanwhile, nothing is kept.
        if store.add_replay_items(&run, &counted, self.ports.clock.now()).await? && is_last {
            self.counted(run).await?;
        }
        Ok(Duration::ZERO)
    }

    /// How to go on where `first` is next.
    fn care(&self, run: &Replay, first: DeliveryId) -> Care {
        let found = run.progress.in_hand.as_ref();
        let is_ours = found.is_some_and(|found| self.took == Some((run.id, found.first)));
        replay::care(found, first, is_ours)
    }

    /// Writes down what is worked next, before it is; false where a person cancelled the run meanwhile.
    async fn take(
        &mut self,
        run: &mut Replay,
        care: Care,
        first: DeliveryId,
        takes: usize,
    ) -> Result<bool, StoreError> {
        let in_hand = care.in_hand(first, u32::try_from(takes).unwrap_or(u32::MAX));
        self.took = Some((run.id, in_hand.first));
        run.progress.in_hand = Some(in_hand);
        self.keep(run.clone(), run.state).await
    }

    async fn counted(&self, run: Replay) -> Result<(), StoreError> {
        let store = &self.ports.store;
        let preview = store.replay_preview(run.id).await?;
        let progress = Progress {
            counted: true,
            deliveries: preview.deliveries,
            users: preview.users,
            first_at: preview.first_at,
            last_at: preview.last_at,
            predicted: preview.predicted,
            by_type: preview.by_type,
            by_class: preview.by_class,
            by_outcome: preview.by_outcome,
            starts: run.progress.starts,
            proven: false,
            items: Items { pending: preview.deliveries, ..Items::default() },
            until: run.progress.until,
            in_hand: None,
        };
        let state = if run.dry_run { State::Previewed } else { State::Running };
        self.keep(Replay { state, progress, ..run }, State::Counting).await?;
        Ok(())
    }

    /// What working these again would do, as far as a look can tell.
    async fn predict(&self, page: &[Selected]) -> Result<Vec<Counted>, StoreError> {
        let context = context(self.ports, self.config);
        let mut plans: Vec<Option<Plan>> = Vec::with_capacity(page.len());
        for selected in page {
            let is_safe = !has_ended_its_process(selected);
            plans.push(if is_safe { self.planned(&selected.job, &context).await? } else { None });
        }
        let keys: Vec<RecordKey> = plans
            .iter()
            .flatten()
            .flat_map(|plan| plan.records.iter().map(|record| record.key.clone()))
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let kept = if keys.is_empty() { BTreeMap::new() } else { self.ports.store.kept_records(&keys).await? };
        let counted = |(selected, plan): (&Selected, Option<Plan>)| {
            let took_effect = matches!(selected.outcome, LedgerOutcome::Processed | LedgerOutcome::Duplicate);
            let predicted = match plan {
                Some(plan) => replay::predict(&plan, &kept, took_effect),
                None if has_ended_its_process(selected) => Predicted::Unknown,
                None => Predicted::Fail,
            };
            as_counted(selected, predicted)
        };
        Ok(page.iter().zip(plans).map(counted).collect())
    }

    /// `None` where it cannot be planned.
    async fn planned(&self, job: &Job, context: &Context) -> Result<Option<Plan>, StoreError> {
        let bytes = match self.ports.payloads.unseal(&job.body).await {
            Ok(bytes) => bytes,
            Err(PayloadError::Lost(_) | PayloadError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(StoreError::Unavailable(format!("payloads: {error}"))),
        };
        let delivery = replay::admitted(job.delivery.clone());
        let planning = || {
            #[cfg(feature = "failpoints")]
            worker::bugs(&bytes);
            plan::plan(delivery, &bytes, context)
        };
        Ok(catch_unwind(AssertUnwindSafe(planning)).ok())
    }

    async fn work(&mut self, mut run: Replay) -> Result<Duration, StoreError> {
        let began = Instant::now();
        let store = self.ports.store.clone();
        // Until one went well, one at a time; what became of the others so far says whether to go on.
        let before = if run.progress.proven { None } else { Some(store.replay_counts(run.id).await?) };
        let mut items = match &before {
            None => store.replay_items(run.id, run.step()).await?,
            Some(before) if before.failed < replay::FIRSTS_MAX => {
                store.replay_first(run.id).await?.into_iter().collect()
            }
            Some(_) => Vec::new(),
        };
        if items.is_empty() {
            match before.filter(|before| before.failed > 0) {
                Some(before) => self.give_up(run, before).await?,
                None => self.finish(run).await?,
            }
            return Ok(Duration::ZERO);
        }
        let first = items[0].delivery;
        let care = self.care(&run, first);
        let until_risk = items.iter().position(|item| item.at_risk).map_or(items.len(), |at| at.max(1));
        items.truncate(care.deliveries(until_risk));
        if !self.take(&mut run, care, first, items.len()).await? {
            return Ok(Duration::ZERO);
        }
        let count = items.len() as u32;
        let mut jobs = Vec::with_capacity(items.len());
        for item in items {
            match item.turn {
                Turn::Work(job, attempts) => {
                    let Job { delivery, body } = *job;
                    jobs.push((Job { delivery: replay::admitted(delivery), body }, attempts.saturating_add(1)));
                }
                Turn::Discarded => self.left(run.id, item.delivery, ItemState::Discarded).await?,
                Turn::Gone => self.left(run.id, item.delivery, ItemState::Gone).await?,
            }
        }
        if let Care::Leave { .. } = care {
            for (job, _) in &jobs {
                self.failed(run.id, job, &Failure::Crashed).await?;
            }
            return Ok(Duration::ZERO);
        }
        let worked = jobs.len();
        let applying = worker::apply_all(jobs, Some(run.last_start()), self.ports, self.config, self.stop);
        let Ok(failed) = self.hold_on(applying).await else {
            // Whoever takes over goes on: what was worked is kept with its effects, and nobody died of the rest.
            run.progress.in_hand = None;
            self.keep(run, State::Running).await?;
            return Ok(Duration::ZERO);
        };
        counter!(telemetry::REPLAYED, "outcome" => "applied").increment((worked - failed.len()) as u64);
        for one in &failed {
            self.failed(run.id, &one.job, &one.failure).await?;
            worker::let_go(&one.documents, self.ports).await;
        }
        if let Some(before) = before {
            self.look_at_the_first(run, before).await?;
            return Ok(Duration::ZERO);
        }
        let rate = run.rate.max(1);
        self.tally(run).await?;
        let takes = Duration::from_secs(1).saturating_mul(count) / rate;
        Ok(takes.saturating_sub(began.elapsed()))
    }

    async fn finish(&self, mut run: Replay) -> Result<(), StoreError> {
        run.progress.items = self.ports.store.replay_counts(run.id).await?;
        run.finished_at = Some(self.ports.clock.now());
        self.keep(Replay { state: State::Done, ..run }, State::Running).await?;
        Ok(())
    }

    /// Stops a run of which none went well.
    async fn give_up(&self, mut run: Replay, items: Items) -> Result<(), StoreError> {
        let page = Page { after: None, limit: replay::FIRSTS_MAX as u32 };
        let failed = self.ports.store.replayed(run.id, Some(ItemState::Failed), &page).await?.items;
        let reasons: BTreeSet<String> = failed.into_iter().filter_map(|one| one.reason).collect();
        run.reason = Some(reasons.into_iter().collect::<Vec<_>>().join(", "));
        run.progress.items = items;
        run.finished_at = Some(self.ports.clock.now());
        self.keep(Replay { state: State::Failed, ..run }, State::Running).await?;
        Ok(())
    }

    /// Does the work, and keeps the lease meanwhile: waiting for a payload store that is away must not look like a death.
    async fn hold_on<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(lease().unsigned_abs() / RENEWALS) => {}
            }
            let now = self.ports.clock.now();
            if let Err(error) = self.ports.store.hold(self.lease, now, now + lease()).await {
                warn!(%error, "cannot renew the lease of replays");
            }
        }
    }

    async fn look_at_the_first(&self, mut run: Replay, before: Items) -> Result<(), StoreError> {
        let items = self.ports.store.replay_counts(run.id).await?;
        run.started_at = run.started_at.or(Some(self.ports.clock.now()));
        run.progress.proven = items.worked() > before.worked();
        run.progress.items = items;
        self.keep(run, State::Running).await?;
        Ok(())
    }

    async fn left(&self, run: ReplayId, delivery: DeliveryId, state: ItemState) -> Result<(), StoreError> {
        counter!(telemetry::REPLAYED, "outcome" => state.label()).increment(1);
        self.ports.store.leave_replay(run, delivery, state).await
    }

    async fn failed(&self, run: ReplayId, job: &Job, failure: &Failure) -> Result<(), StoreError> {
        let (id, reason) = (job.delivery.id, failure.reason());
        counter!(telemetry::REPLAYED, "outcome" => "failed").increment(1);
        warn!(delivery.id = %id, replay.id = %run, reason, "a replayed delivery failed again");
        self.ports.store.fail_replay(run, job, &reason, self.ports.clock.now()).await
    }

    async fn tally(&mut self, mut run: Replay) -> Result<(), StoreError> {
        let is_due = self.tallied.is_none_or(|(id, at)| id != run.id || at.elapsed() >= TALLY_EVERY);
        if is_due {
            run.progress.items = self.ports.store.replay_counts(run.id).await?;
            self.tallied = Some((run.id, Instant::now()));
            self.keep(run, State::Running).await?;
        }
        Ok(())
    }

    /// Keeps a run, unless a person changed it meanwhile; answers whether it did. Its end is an entry of the audit.
    async fn keep(&self, run: Replay, was: State) -> Result<bool, StoreError> {
        let action = match run.state {
            State::Done => Some("replay.done"),
            State::Failed => Some("replay.failed"),
            State::Counting | State::Previewed | State::Running | State::Cancelled => None,
        };
        let entry = action.map(|action| entry(&run, &run.actor, action));
        let kept = self.ports.store.write_replay(&run, Some(was), entry.as_ref(), self.ports.clock.now()).await?;
        if kept && run.state != was {
            info!(replay.id = %run.id, state = run.state.label(), "replay: {}", replay::sentence(&run));
        }
        Ok(kept)
    }
}

/// How many of a page may be planned at once: one at least.
fn fitting(page: &[Selected]) -> usize {
    let mut bytes = 0;
    let fits = |selected: &&Selected| {
        bytes += selected.job.delivery.size_bytes;
        bytes <= COUNT_BYTES_AT_ONCE
    };
    page.iter().take_while(fits).count().max(1)
}

/// A dead letter that ended its worker would end this one too, for a mere look.
fn has_ended_its_process(selected: &Selected) -> bool {
    let is_left = matches!(selected.outcome, LedgerOutcome::Dead | LedgerOutcome::Discarded);
    is_left && selected.reason == Some(Failure::Crashed.reason())
}

fn as_counted(selected: &Selected, predicted: Predicted) -> Counted {
    let delivery = &selected.job.delivery;
    Counted { delivery: delivery.id, received_at: delivery.received_at, outcome: selected.outcome, predicted }
}

/// A run as people see it, its numbers as of now.
pub(crate) async fn shown(ports: &Ports, mut run: Replay) -> Result<Value, StoreError> {
    if run.progress.counted && run.state != State::Done {
        run.progress.items = ports.store.replay_counts(run.id).await?;
    }
    Ok(document(&run))
}

pub(crate) fn document(run: &Replay) -> Value {
    // What those who work it note down for themselves is nobody else's.
    let progress = Progress { until: None, in_hand: None, ..run.progress.clone() };
    json!({
        "id": run.id,
        "state": run.state,
        "selection": run.selection,
        "dry_run": run.dry_run,
        "actor": run.actor,
        "rate": run.rate,
        "requested_at": run.requested_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "progress": progress,
        "reason": run.reason,
        "text": replay::sentence(run),
    })
}
