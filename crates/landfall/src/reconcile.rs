//! Terra's own list of users, read and compared on a schedule and on demand: one process at a time.
//!
//! A list that is not read to its end changes nothing. What follows from one goes the way of every plan.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adapters::payloads::Sealed;
use adapters::store::view::LIMIT_MAX;
use adapters::store::{Holder, Page, Prepared, StoreError};
use adapters::terra_client::{TerraClient, TerraError};
use anyhow::{Context as _, bail};
use bytes::Bytes;
use domain::fetch::{self, FetchJob, FetchOrigin, Wish};
use domain::id::{Environment, ReferenceId};
use domain::plan;
use domain::reconcile::run::{Reconcile, State};
use domain::reconcile::{
    Comparison, Finding, Gap, Known, Next, PageRead, ReconcileId, Snapshot, bears_out, compare, is_unlikely, next_page,
};
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, gauge};
use terra::event::User;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::config::Config;
use crate::telemetry;
use crate::wiring::Ports;
use crate::worker::context;

/// Renewed with every page and every batch.
const LEASE: SignedDuration = SignedDuration::from_secs(180);
const POLL: Duration = Duration::from_secs(1);
/// After a start there are other things to do first.
const FIRST_AFTER: Duration = Duration::from_secs(300);
const PER_PAGE: usize = 500;
const PAGES_MAX: u32 = 20_000;
/// Terra warns that these look-ups are heavy.
const PAGE_WITHIN: Duration = Duration::from_secs(60);
const USER_WITHIN: Duration = Duration::from_secs(10);
/// Tries of one request that Terra limits or does not answer.
const TRIES_MAX: u32 = 5;
const WAIT_FIRST: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(60);
const PLANS_PER_BATCH: usize = 100;

const LEASE_NAME: &str = "reconcile";

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let lease = Holder { name: LEASE_NAME, holder: Uuid::now_v7() };
    let work = Work { ports: &ports, config: &config, stop: &stop, lease };
    let begun_at = ports.clock.now();
    while !stop.is_cancelled() {
        if let Err(error) = work.turn(begun_at).await {
            warn!(%error, "cannot look for reconciles now");
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(POLL) => {}
        }
    }
    if let Err(error) = ports.store.let_go(lease).await {
        warn!(%error, "could not give the lease of reconciling back; it runs out by itself");
    }
}

/// A reconcile that has not begun.
pub(crate) fn wanted(now: Timestamp) -> Reconcile {
    Reconcile {
        id: ReconcileId(Uuid::now_v7()),
        environment: None,
        reference: None,
        dry_run: false,
        scheduled: false,
        requested_at: now,
        started_at: None,
        finished_at: None,
        state: State::Queued,
        counts: domain::reconcile::run::Counts::default(),
        reason: None,
    }
}

struct Work<'a> {
    ports: &'a Ports,
    config: &'a Config,
    stop: &'a CancellationToken,
    lease: Holder<'a>,
}

impl Work<'_> {
    async fn turn(&self, begun_at: Timestamp) -> Result<(), StoreError> {
        let store = &self.ports.store;
        if self.ports.terra.is_empty() || !self.holds().await? {
            return Ok(());
        }
        let now = self.ports.clock.now();
        if self.is_due(begun_at, now).await? {
            store.write_reconcile(&Reconcile { scheduled: true, ..wanted(now) }).await?;
        }
        let Some(mut run) = store.next_reconcile().await? else { return Ok(()) };
        run.state = State::Running;
        run.started_at = Some(now);
        run.counts = domain::reconcile::run::Counts::default();
        store.write_reconcile(&run).await?;
        match self.carry_out(&mut run).await {
            Ok(()) => {}
            // Whoever takes over begins anew.
            Err(_) if self.stop.is_cancelled() => return Ok(()),
            Err(error) => {
                run.state = State::Failed;
                run.reason = Some(format!("{error:#}"));
            }
        }
        run.finished_at = Some(self.ports.clock.now());
        tell(&run);
        store.write_reconcile(&run).await
    }

    async fn holds(&self) -> Result<bool, StoreError> {
        let now = self.ports.clock.now();
        self.ports.store.hold(self.lease, now, now + LEASE).await
    }

    async fn is_due(&self, begun_at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let every = self.config.reconcile_every;
        if every.is_zero() {
            return Ok(false);
        }
        let after = |at: Timestamp, wait: Duration| {
            at.checked_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).is_ok_and(|due| due <= now)
        };
        let marks = self.ports.store.reconcile_marks().await?;
        Ok(match marks.scheduled {
            Some(scheduled) => after(scheduled, every),
            None => after(begun_at, every.min(FIRST_AFTER)),
        })
    }

    async fn carry_out(&self, run: &mut Reconcile) -> anyhow::Result<()> {
        let listed_before = self.ports.store.reconcile_marks().await?.listed;
        let clients = self.ports.terra.iter();
        let clients: Vec<(&Environment, &TerraClient)> =
            clients.filter(|(name, _)| run.environment.as_ref().is_none_or(|wanted| wanted == *name)).collect();
        // All lists first: one that cannot be read leaves everything as it is.
        let mut snapshots = Vec::new();
        for (environment, client) in &clients {
            let started_at = self.ports.clock.now();
            let users = match &run.reference {
                Some(reference) => self.of_reference(client, reference).await,
                None => self.everybody(client).await,
            };
            let users = users.with_context(|| format!("list the users of the environment `{environment}`"))?;
            snapshots
                .push((*client, Snapshot { environment: (*environment).clone(), started_at, listed_before, users }));
        }
        run.state = State::Done;
        for (client, snapshot) in &snapshots {
            self.compare(run, client, snapshot).await?;
        }
        Ok(())
    }

    async fn of_reference(&self, client: &TerraClient, reference: &ReferenceId) -> anyhow::Result<Vec<User>> {
        patiently(self.stop, || client.users_by_reference(reference.as_str())).await
    }

    async fn everybody(&self, client: &TerraClient) -> anyhow::Result<Vec<User>> {
        let mut users = Vec::new();
        let mut ids = BTreeSet::new();
        let mut page = 0;
        for _ in 0..PAGES_MAX {
            let read = patiently(self.stop, || client.subscriptions(page, PER_PAGE, PAGE_WITHIN)).await?;
            let before = users.len();
            let count = read.users.len();
            users.extend(read.users.into_iter().filter(|user| ids.insert(user.user_id.clone())));
            let read =
                PageRead { page, next: read.next, max_page: read.max_page, users: count, new: users.len() - before };
            match next_page(read, PER_PAGE) {
                Next::Whole => return Ok(users),
                Next::Page(next) => page = next,
                Next::Broken => bail!("page {page} of Terra's list does not lead to the next"),
            }
            if !self.holds().await? {
                bail!("another process took over");
            }
        }
        bail!("Terra's list has more than {PAGES_MAX} pages")
    }

    async fn compare(&self, run: &mut Reconcile, client: &TerraClient, snapshot: &Snapshot) -> anyhow::Result<()> {
        let known = self.known(&snapshot.environment, run.reference.as_ref()).await?;
        let comparison = compare(snapshot, &known);
        run.counts.add_comparison(&comparison);
        let (gone, open, share) = (comparison.gone(), comparison.open, self.config.reconcile_revoke_max);
        let is_refused = run.reference.is_none() && is_unlikely(gone, open, share);
        if is_refused {
            run.state = State::Refused;
            run.reason = Some(format!(
                "{gone} of {open} connections of the environment `{}` are not on Terra's list, more than {share} %",
                snapshot.environment
            ));
        }
        let Comparison { mut findings, doubtful, gaps, .. } = comparison;
        for finding in doubtful {
            if is_refused && matches!(finding, Finding::Gone { .. }) {
                continue;
            }
            if self.is_borne_out(client, &finding).await? {
                findings.push(finding);
            } else {
                run.counts.unconfirmed += 1;
            }
        }
        findings.iter().for_each(|finding| run.counts.add_finding(finding));
        let jobs: Vec<FetchJob> = gaps.iter().flat_map(|gap| self.jobs(gap)).collect();
        run.counts.jobs += jobs.len() as u64;
        if run.dry_run {
            return Ok(());
        }
        self.apply(run, &snapshot.environment, &findings).await?;
        self.ports.store.enqueue_fetches(&jobs, self.ports.clock.now()).await.context("queue fetches for gaps")
    }

    async fn known(&self, environment: &Environment, reference: Option<&ReferenceId>) -> anyhow::Result<Vec<Known>> {
        let mut known = Vec::new();
        let mut page = Page { after: None, limit: LIMIT_MAX };
        loop {
            let listing = self.ports.store.known_aliases(environment, reference, &page).await?;
            known.extend(listing.items);
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return Ok(known),
            }
        }
    }

    /// A user about whom Terra could not be asked is left as it is.
    async fn is_borne_out(&self, client: &TerraClient, finding: &Finding) -> anyhow::Result<bool> {
        if !self.holds().await? {
            bail!("another process took over");
        }
        let asked = patiently(self.stop, || client.user_info(finding.terra_user_id(), USER_WITHIN)).await;
        if self.stop.is_cancelled() {
            bail!("stopping");
        }
        let borne_out = match asked {
            Ok(info) => bears_out(finding, info.map(|info| info.is_authenticated)),
            Err(error) => {
                warn!(error = %format!("{error:#}"), "Terra could not be asked about a user; it stays as it is");
                false
            }
        };
        tokio::time::sleep(Duration::from_secs(1) / self.config.fetch_pace.per_second.max(1)).await;
        Ok(borne_out)
    }

    /// Ids follow from what Terra said, so the same gap is asked for once.
    fn jobs(&self, gap: &Gap) -> Vec<FetchJob> {
        let context = context(self.ports, self.config);
        let kinds = context.capabilities.history_kinds(gap.provider.as_deref());
        let cause = [b"gap".as_slice(), &gap.sent_at.as_millisecond().to_be_bytes()].concat();
        fetch::jobs(&Wish {
            alias: &gap.alias,
            provider: gap.provider.as_deref(),
            kinds: &kinds,
            days: gap.days,
            origin: FetchOrigin::Reconcile,
            cause: &cause,
            window_days_max: context.window_days_max,
        })
    }

    async fn apply(&self, run: &Reconcile, environment: &Environment, findings: &[Finding]) -> anyhow::Result<()> {
        let context = context(self.ports, self.config);
        for some in findings.chunks(PLANS_PER_BATCH) {
            let now = self.ports.clock.now();
            let batch: Vec<Prepared> = some
                .iter()
                .map(|finding| Prepared {
                    plan: plan::reconciled(run.id, environment, finding, now, &context),
                    body: Sealed(Bytes::new()),
                    documents: Vec::new(),
                    attempt: 1,
                    replay: None,
                })
                .collect();
            self.ports.store.apply(&batch, now).await.context("store what Terra's list told")?;
            self.ports.events_waiting.notify_waiters();
            if !self.holds().await? {
                bail!("another process took over");
            }
        }
        Ok(())
    }
}

/// Asks again where Terra asks to wait or does not answer.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, TerraError>>>(
    stop: &CancellationToken,
    request: impl Fn() -> F,
) -> anyhow::Result<T> {
    let mut wait = WAIT_FIRST;
    for _ in 1..TRIES_MAX {
        let pause = match request().await {
            Ok(answer) => return Ok(answer),
            Err(TerraError::Limited { retry_after }) => retry_after.unwrap_or(wait).min(WAIT_MAX),
            Err(TerraError::Unreachable(_) | TerraError::Refused { status: 500.., .. }) => wait,
            Err(error) => return Err(error.into()),
        };
        tokio::select! {
            () = stop.cancelled() => bail!("stopping"),
            () = tokio::time::sleep(pause) => {}
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
    Ok(request().await?)
}

fn tell(run: &Reconcile) {
    counter!(telemetry::RECONCILES, "outcome" => run.state.label()).increment(1);
    if run.reference.is_none() {
        gauge!(telemetry::RECONCILE_REFUSED).set(if run.state == State::Refused { 1.0 } else { 0.0 });
    }
    let (id, text) = (run.id, run.text());
    match run.state {
        State::Refused => error!(reconcile.id = %id, "reconcile: {text}"),
        State::Failed => warn!(reconcile.id = %id, "reconcile: {text}"),
        State::Queued | State::Running | State::Done => info!(reconcile.id = %id, "reconcile: {text}"),
    }
}
