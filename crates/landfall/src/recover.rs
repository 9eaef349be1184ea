//! Recoveries, step by step: one process at a time, and whoever takes over goes on where the last one was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adapters::store::view::LIMIT_MAX;
use adapters::store::{Holder, Page, StoreError};
use adapters::terra_client::admin::{AdminClient, Resent};
use anyhow::{Context as _, bail};
use domain::fetch::{self, FetchJob, FetchOrigin, Window, Wish};
use domain::id::{AliasKey, Environment};
use domain::identity::{Alias, AliasStatus};
use domain::reconcile::run::{Reconcile, State};
use domain::recover::{self, Missed, MissedState, PAUSE_MIN, Progress, Rates, Recovery, RecoveryId, Step};
use jiff::{SignedDuration, Timestamp};
use terra::event::DataKind;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::Config;
use crate::reconcile::{patiently, wanted as wanted_reconcile};
use crate::wiring::Ports;
use crate::worker::context;

const LEASE: SignedDuration = SignedDuration::from_secs(180);
const POLL: Duration = Duration::from_secs(1);
/// Events between two looks at the lease.
const EVENTS_AT_ONCE: u32 = 20;
const ARRIVALS_AT_ONCE: u32 = 500;
const LOST_MAX: u32 = 1_000_000;
const JOBS_AT_ONCE: usize = 1_000;
const LOG_PAGES_MAX: usize = 10_000;
/// Terra is asked whether an event has arrived only if it was sent again this long ago.
const ARRIVAL_ASKED_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// Terra's clock and ours.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(30);

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let lease = Holder { name: "recover", holder: Uuid::now_v7() };
    let work = Work { ports: &ports, config: &config, stop: &stop, lease };
    while !stop.is_cancelled() {
        let pause = match work.turn().await {
            Ok(Turn::Goes) => Duration::ZERO,
            Ok(Turn::Waits) => POLL,
            Err(error) => {
                warn!(%error, "cannot go on with recoveries now");
                POLL
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    if let Err(error) = ports.store.let_go(lease).await {
        warn!(%error, "could not give the lease of recoveries back; it runs out by itself");
    }
}

/// A recovery that has not begun.
pub(crate) fn wanted(from: Timestamp, to: Timestamp, actor: String, now: Timestamp) -> Recovery {
    Recovery {
        id: RecoveryId(Uuid::now_v7()),
        environment: None,
        from,
        to,
        kinds: Vec::new(),
        dry_run: false,
        actor,
        requested_at: now,
        started_at: None,
        finished_at: None,
        step: Step::Queued,
        progress: Progress::default(),
        reason: None,
    }
}

enum Turn {
    Goes,
    /// Nothing to do, or not yet.
    Waits,
}

struct Work<'a> {
    ports: &'a Ports,
    config: &'a Config,
    stop: &'a CancellationToken,
    lease: Holder<'a>,
}

impl Work<'_> {
    async fn turn(&self) -> Result<Turn, StoreError> {
        let store = &self.ports.store;
        let now = self.ports.clock.now();
        if !store.hold(self.lease, now, now + LEASE).await? {
            return Ok(Turn::Waits);
        }
        let Some(mut recovery) = store.next_recovery().await? else { return Ok(Turn::Waits) };
        let before = recovery.step;
        let turn = match self.step(&mut recovery).await {
            Ok(turn) => turn,
            // Whoever takes over goes on from what is kept.
            Err(_) if self.stop.is_cancelled() => return Ok(Turn::Waits),
            Err(error) => {
                recovery.step = Step::Failed;
                recovery.reason = Some(format!("{error:#}"));
                Turn::Goes
            }
        };
        if recovery.step.is_over() {
            recovery.finished_at = Some(self.ports.clock.now());
        }
        if recovery.step != before {
            info!(recovery.id = %recovery.id, step = recovery.step.label(), "recovery: {}", recover::sentence(&recovery));
        }
        store.write_recovery(&recovery).await?;
        Ok(turn)
    }

    async fn step(&self, recovery: &mut Recovery) -> anyhow::Result<Turn> {
        match recovery.step {
            Step::Queued => self.begin(recovery).await,
            Step::Counting => self.count(recovery).await,
            Step::Resending => self.resend(recovery).await,
            Step::Arriving => self.await_arrivals(recovery).await,
            Step::Fetching => self.await_requests(recovery).await,
            Step::Previewed | Step::Complete | Step::Incomplete | Step::Failed => Ok(Turn::Waits),
        }
    }

    /// Who is connected comes first: data of somebody of whom no `auth` came would be nobody's.
    async fn begin(&self, recovery: &mut Recovery) -> anyhow::Result<Turn> {
        let now = self.ports.clock.now();
        recovery.started_at = Some(now);
        recovery.step = Step::Counting;
        if !recovery.dry_run && !self.ports.terra.is_empty() {
            let run = Reconcile { environment: recovery.environment.clone(), ..wanted_reconcile(now) };
            self.ports.store.write_reconcile(&run).await?;
            recovery.progress.reconcile = Some(run.id);
        }
        Ok(Turn::Goes)
    }

    async fn count(&self, recovery: &mut Recovery) -> anyhow::Result<Turn> {
        if let Some(id) = recovery.progress.reconcile {
            match self.ports.store.reconcile(id).await? {
                Some(run) if !run.state.is_over() => return Ok(Turn::Waits),
                Some(run) if run.state != State::Done => recovery.progress.reconcile_failed = Some(run.text()),
                Some(_) | None => {}
            }
        }
        let now = self.ports.clock.now();
        let store = &self.ports.store;
        recovery.progress.pauses = store.received_pauses(recovery.from, recovery.to, PAUSE_MIN).await?;
        let attempts = self.read_log(recovery).await.context("read Terra's log of deliveries")?;
        let ids: Vec<(Environment, String)> =
            attempts.iter().map(|event| (event.environment.clone(), event.event_id.clone())).collect();
        let missed = recover::missed(attempts, &store.processed_events(&ids).await?);
        let progress = &mut recovery.progress;
        progress.has_log = self.ports.admin.is_some();
        progress.events = missed.len() as u64;
        progress.events_by_type.clear();
        for event in &missed {
            *progress.events_by_type.entry(event.event_type.clone()).or_default() += 1;
        }
        progress.unlogged = recover::unlogged(recovery.from, recovery.to, now, progress.has_log);
        let (connections, requests) = self.unlogged_size(recovery).await?;
        recovery.progress.connections = connections;
        recovery.progress.requests = requests;
        let rates = Rates { resend: self.config.recover_rate, fetch: self.config.fetch_pace.per_second };
        recovery.progress.estimate(rates);
        if recovery.dry_run {
            recovery.step = Step::Previewed;
        } else {
            store.add_missed(recovery.id, &missed).await?;
            recovery.step = Step::Resending;
        }
        Ok(Turn::Goes)
    }

    async fn read_log(&self, recovery: &Recovery) -> anyhow::Result<Vec<Missed>> {
        let Some(admin) = &self.ports.admin else { return Ok(Vec::new()) };
        let mut missed = Vec::new();
        for (environment, dev_id) in self.dev_ids(recovery) {
            let mut cursor: Option<String> = None;
            for page in 0.. {
                if page == LOG_PAGES_MAX {
                    bail!("the log of `{environment}` has more than {LOG_PAGES_MAX} pages: recover a shorter time");
                }
                let read = patiently(self.stop, || {
                    admin.failed_events(dev_id, recovery.from, recovery.to, &recovery.kinds, cursor.as_deref())
                })
                .await
                .with_context(|| format!("environment `{environment}`, LANDFALL_TERRA_ADMIN_TOKEN"))?;
                if read.unread > 0 {
                    warn!(rows = read.unread, "rows of Terra's log could not be read");
                }
                missed.extend(read.events.into_iter().map(|event| Missed {
                    environment: environment.clone(),
                    event_id: event.event_id,
                    event_type: event.event_type,
                    terra_user_id: event.user_id.unwrap_or_default(),
                    sent_at: event.sent_at,
                    state: MissedState::Pending,
                    resent_at: None,
                    attempts: 0,
                }));
                cursor = read.next_cursor;
                if cursor.is_none() {
                    break;
                }
                self.keep_lease().await?;
            }
        }
        Ok(missed)
    }

    fn dev_ids(&self, recovery: &Recovery) -> Vec<(&Environment, &str)> {
        let wanted = |name: &Environment| recovery.environment.as_ref().is_none_or(|only| only == name);
        let environments = self.config.environments.iter();
        environments
            .filter(|environment| wanted(&environment.name))
            .filter_map(|environment| Some((&environment.name, environment.credentials.as_ref()?.dev_id.as_str())))
            .collect()
    }

    async fn keep_lease(&self) -> anyhow::Result<()> {
        let now = self.ports.clock.now();
        if self.ports.store.hold(self.lease, now, now + LEASE).await? {
            Ok(())
        } else {
            bail!("another process took over")
        }
    }

    async fn unlogged_size(&self, recovery: &Recovery) -> anyhow::Result<(u64, u64)> {
        if recovery.progress.unlogged.is_none() {
            return Ok((0, 0));
        }
        let aliases = self.open_aliases(recovery).await?;
        let requests = self.unlogged_jobs(recovery, &aliases).len();
        Ok((aliases.len() as u64, requests as u64))
    }

    /// Aliases that Terra can be asked about.
    async fn open_aliases(&self, recovery: &Recovery) -> anyhow::Result<BTreeMap<AliasKey, Alias>> {
        let mut open = BTreeMap::new();
        for (environment, _) in self.dev_ids(recovery) {
            let mut page = Page { after: None, limit: LIMIT_MAX };
            loop {
                let listing = self.ports.store.known_aliases(environment, None, &page).await?;
                let usable = listing.items.into_iter().filter(|known| !known.replaced);
                open.extend(
                    usable
                        .filter(|known| known.alias.status() != AliasStatus::Revoked)
                        .map(|known| (known.alias.key.clone(), known.alias)),
                );
                match listing.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
        }
        Ok(open)
    }

    fn unlogged_jobs(&self, recovery: &Recovery, aliases: &BTreeMap<AliasKey, Alias>) -> Vec<FetchJob> {
        let Some(unlogged) = recovery.progress.unlogged else { return Vec::new() };
        let context = context(self.ports, self.config);
        let wanted = recover::fetchable(&recovery.kinds);
        let of_alias = |alias: &Alias| {
            let provider = alias.provider.as_ref().map(|stated| stated.value.as_str());
            let mut kinds = context.capabilities.history_kinds(provider);
            kinds.retain(|kind| wanted.contains(kind));
            self.jobs(recovery, alias, &kinds, recover::days(unlogged))
        };
        aliases.values().flat_map(of_alias).collect()
    }

    /// Ids follow from the recovery, so that a step taken twice asks once.
    fn jobs(&self, recovery: &Recovery, alias: &Alias, kinds: &[DataKind], days: Window) -> Vec<FetchJob> {
        fetch::jobs(&Wish {
            alias: &alias.key,
            provider: alias.provider.as_ref().map(|stated| stated.value.as_str()),
            kinds,
            days,
            origin: FetchOrigin::Recover,
            cause: recovery.id.0.as_bytes(),
            window_days_max: context(self.ports, self.config).window_days_max,
        })
    }

    async fn resend(&self, recovery: &mut Recovery) -> anyhow::Result<Turn> {
        let pending = self.ports.store.missed_events(recovery.id, MissedState::Pending, EVENTS_AT_ONCE).await?;
        if pending.is_empty() {
            recovery.step = Step::Arriving;
            return Ok(Turn::Goes);
        }
        let Some(admin) = &self.ports.admin else { bail!("LANDFALL_TERRA_ADMIN_TOKEN is not set any more") };
        let dev_ids: BTreeMap<&Environment, &str> = self.dev_ids(recovery).into_iter().collect();
        for event in pending {
            if self.stop.is_cancelled() {
                bail!("stopping");
            }
            let Some(dev_id) = dev_ids.get(&event.environment) else {
                bail!("an environment has no credentials any more")
            };
            let settled = self.resend_one(admin, dev_id, event).await.context("send an event again")?;
            self.ports.store.settle_missed(recovery.id, &[settled]).await?;
            tokio::time::sleep(Duration::from_secs(1) / self.config.recover_rate.max(1)).await;
        }
        self.tally(recovery).await?;
        Ok(Turn::Goes)
    }

    /// Terra may have delivered it meanwhile by itself: what is not needed costs nothing.
    async fn resend_one(&self, admin: &AdminClient, dev_id: &str, event: Missed) -> anyhow::Result<Missed> {
        let logged = patiently(self.stop, || admin.event(dev_id, &event.event_id)).await?;
        let state = match logged {
            Some(logged) if logged.is_delivered() => return Ok(Missed { state: MissedState::Arrived, ..event }),
            Some(_) => {
                patiently(self.stop, || admin.resend(dev_id, &event.event_id, &event.event_type, &event.terra_user_id))
                    .await?
            }
            None => Resent::Unknown,
        };
        Ok(match state {
            Resent::Queued => Missed {
                state: MissedState::Resent,
                resent_at: Some(self.ports.clock.now()),
                attempts: event.attempts + 1,
                ..event
            },
            Resent::Unknown => Missed { state: MissedState::Lost, ..event },
        })
    }

    async fn await_arrivals(&self, recovery: &mut Recovery) -> anyhow::Result<Turn> {
        let store = &self.ports.store;
        let resent = store.missed_events(recovery.id, MissedState::Resent, ARRIVALS_AT_ONCE).await?;
        if resent.is_empty() {
            self.tally(recovery).await?;
            return self.ask_for_the_rest(recovery).await;
        }
        let ids: Vec<(Environment, String)> =
            resent.iter().map(|event| (event.environment.clone(), event.event_id.clone())).collect();
        let processed = store.processed_events(&ids).await?;
        let dev_ids: BTreeMap<&Environment, &str> = self.dev_ids(recovery).into_iter().collect();
        let mut settled = Vec::new();
        for (event, id) in resent.into_iter().zip(ids) {
            let waited = self.ports.clock.now().duration_since(event.resent_at.unwrap_or(Timestamp::MIN));
            let delivered =
                if waited >= ARRIVAL_ASKED_AFTER { self.is_delivered(&dev_ids, &event).await } else { None };
            let state = event.after(processed.contains(&id), delivered, waited);
            if state != MissedState::Resent {
                settled.push(Missed { state, ..event });
            }
        }
        if settled.iter().any(|event| event.state == MissedState::Pending) {
            recovery.step = Step::Resending;
        }
        store.settle_missed(recovery.id, &settled).await?;
        self.tally(recovery).await?;
        Ok(if settled.is_empty() { Turn::Waits } else { Turn::Goes })
    }

    /// What Terra's log says of the attempt that we asked for; `None` while it has none.
    async fn is_delivered(&self, dev_ids: &BTreeMap<&Environment, &str>, event: &Missed) -> Option<bool> {
        let logged = self.ports.admin.as_ref()?.event(dev_ids.get(&event.environment)?, &event.event_id).await;
        let logged = logged.ok().flatten()?;
        (logged.sent_at >= event.resent_at? - CLOCKS_APART).then(|| logged.is_delivered())
    }

    async fn ask_for_the_rest(&self, recovery: &mut Recovery) -> anyhow::Result<Turn> {
        let lost = self.ports.store.missed_events(recovery.id, MissedState::Lost, LOST_MAX).await?;
        recovery.progress.beyond_reach = recover::beyond_reach(&lost);
        if !lost.is_empty() || recovery.progress.unlogged.is_some() {
            let open = self.open_aliases(recovery).await?;
            let mut jobs = self.unlogged_jobs(recovery, &open);
            for (alias, kind, days) in recover::rest(&lost) {
                // Who has left cannot be asked about.
                let alias = open.get(&alias);
                jobs.extend(alias.into_iter().flat_map(|alias| self.jobs(recovery, alias, &[kind], days)));
            }
            for some in jobs.chunks(JOBS_AT_ONCE) {
                self.ports.store.add_recovery_jobs(recovery.id, some, self.ports.clock.now()).await?;
                self.keep_lease().await?;
            }
        }
        recovery.step = Step::Fetching;
        Ok(Turn::Goes)
    }

    async fn await_requests(&self, recovery: &mut Recovery) -> anyhow::Result<Turn> {
        let counts = self.ports.store.recovery_job_counts(recovery.id).await?;
        recovery.progress.requests = counts.all;
        recovery.progress.requests_open = counts.open;
        recovery.progress.requests_failed = counts.failed;
        if counts.open > 0 {
            return Ok(Turn::Waits);
        }
        recovery.step = recovery.progress.end();
        Ok(Turn::Goes)
    }

    async fn tally(&self, recovery: &mut Recovery) -> anyhow::Result<()> {
        let progress = &mut recovery.progress;
        (progress.resent, progress.arrived, progress.lost) = (0, 0, 0);
        for (state, events, resent) in self.ports.store.missed_counts(recovery.id).await? {
            progress.resent += resent;
            match state {
                MissedState::Pending | MissedState::Resent => {}
                MissedState::Arrived => progress.arrived += events,
                MissedState::Lost => progress.lost += events,
            }
        }
        Ok(())
    }
}
