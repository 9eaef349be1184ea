//! Erasures, step by step: one process at a time, and whoever takes over goes on where the last one was.
//!
//! What begins one has left tombstones already, so nothing new comes. Here the rows go, then deliveries that name
//! nobody in their row are searched, then Terra is told, for as long as it takes. Payloads that lie in storage go last,
//! after the rows that pointed to them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use adapters::payloads::PayloadError;
use adapters::store::{Holder, Nameless, StoreError};
use adapters::terra_client::{TerraClient, TerraError};
use bytes::Bytes;
use domain::erasure::{
    self, Cause, Erasure, ErasureId, Sought, State, Target, TargetKind, Whom, Wish, alias_digest, words,
};
use domain::id::{AliasKey, DeliveryId};
use domain::settle::backoff;
use jiff::SignedDuration;
use metrics::counter;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::config::{Config, OnDeauth};
use crate::telemetry;
use crate::wiring::Ports;
use crate::worker::chance;

/// Longer than Terra may take to answer; whoever takes over waits no longer.
const LEASE: SignedDuration = SignedDuration::from_secs(40);
const POLL: Duration = Duration::from_secs(1);
/// Rows of each kind in one transaction.
const ROWS_AT_ONCE: u32 = 500;
const SEARCHED_AT_ONCE: u32 = 200;
const PAYLOADS_AT_ONCE: u32 = 100;
const CLOSED_AT_ONCE: u32 = 100;
/// After something else than Terra was away.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// Without credentials there is nobody to ask; the settings may change.
const NO_CREDENTIALS_WAIT: SignedDuration = SignedDuration::from_mins(10);
/// Who the erasures of closed connections say that they were asked for by.
const ACTOR: &str = "landfall";

pub(crate) async fn run(ports: Ports, config: Arc<Config>, stop: CancellationToken) {
    let lease = Holder { name: "erase", holder: Uuid::now_v7() };
    let work = Work { ports: &ports, config: &config, stop: &stop, lease };
    while !stop.is_cancelled() {
        let pause = match work.turn().await {
            Ok(true) => Duration::ZERO,
            Ok(false) => POLL,
            Err(error) => {
                warn!(%error, "cannot go on with erasures now");
                POLL
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
        }
    }
    if let Err(error) = ports.store.let_go(lease).await {
        warn!(%error, "could not give the lease of erasures back; it runs out by itself");
    }
}

/// A wish to erase a person.
pub(crate) fn wanted(whom: Whom, cause: Cause, actor: String) -> Wish {
    Wish { id: ErasureId(Uuid::now_v7()), whom, cause, actor }
}

struct Work<'a> {
    ports: &'a Ports,
    config: &'a Config,
    stop: &'a CancellationToken,
    lease: Holder<'a>,
}

impl Work<'_> {
    /// True where there may be more to do at once.
    async fn turn(&self) -> Result<bool, StoreError> {
        if !self.holds().await? {
            return Ok(false);
        }
        let begun = self.begin_closed().await?;
        let now = self.ports.clock.now();
        let mut worked = false;
        if let Some(erasure) = self.ports.store.next_erasure(now).await? {
            let id = erasure.id;
            if let Err(error) = self.work(erasure).await {
                self.put_off(id).await?;
                return Err(error);
            }
            worked = true;
        }
        let deleted = self.delete_payloads().await?;
        Ok(begun || worked || deleted)
    }

    /// One that cannot go on now holds up no other.
    async fn put_off(&self, id: ErasureId) -> Result<(), StoreError> {
        let Some(mut erasure) = self.ports.store.erasure(id).await? else { return Ok(()) };
        erasure.look_at = self.ports.clock.now() + AGAIN_AFTER;
        self.ports.store.write_erasure(&erasure).await
    }

    async fn holds(&self) -> Result<bool, StoreError> {
        let now = self.ports.clock.now();
        self.ports.store.hold(self.lease, now, now + LEASE).await
    }

    /// Connections that have been closed for as long as the settings let them stay.
    async fn begin_closed(&self) -> Result<bool, StoreError> {
        let OnDeauth::Erase { after } = self.config.on_deauth else { return Ok(false) };
        let now = self.ports.clock.now();
        let before = now.checked_sub(after).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let closed = self.ports.store.closed_connections(before, CLOSED_AT_ONCE).await?;
        for id in &closed {
            let wish = wanted(Whom::Connection(*id), Cause::Deauth, ACTOR.into());
            if let Some(erasure) = self.ports.store.begin_erasure(&wish, now).await? {
                info!(erasure.id = %erasure.id, connection.id = %id, "erasing a connection that was closed");
                self.ports.events_waiting.notify_waiters();
            }
        }
        Ok(!closed.is_empty())
    }

    async fn work(&self, mut erasure: Erasure) -> Result<(), StoreError> {
        let store = &self.ports.store;
        if erasure.state == State::Erasing {
            while store.erase_some(erasure.id, ROWS_AT_ONCE, self.ports.clock.now()).await? {
                if self.stop.is_cancelled() || !self.holds().await? {
                    return Ok(());
                }
            }
            let Some(mut now_kept) = store.erasure(erasure.id).await? else { return Ok(()) };
            if !self.search(&mut now_kept).await? {
                return Ok(());
            }
            now_kept.state = State::Telling;
            now_kept.erased_at = Some(self.ports.clock.now());
            erasure = now_kept;
            info!(erasure.id = %erasure.id, "{}", words::sentence(&erasure));
            store.write_erasure(&erasure).await?;
        }
        self.tell(erasure).await
    }

    /// Opens deliveries whose row names nobody: lab reports, failed connects, what could not be read. False where it was
    /// stopped.
    async fn search(&self, erasure: &mut Erasure) -> Result<bool, StoreError> {
        let store = &self.ports.store;
        let sought = Sought::new(&store.erasure_targets(erasure.id).await?, erasure.requested_at);
        let (names, progress) = (sought.names() as u64, &mut erasure.progress);
        if progress.names != names {
            (progress.names, progress.searched, progress.is_searched) = (names, None, false);
        }
        while !erasure.progress.is_searched {
            let after = erasure.progress.searched.map(DeliveryId);
            let page = store.nameless_deliveries(after, SEARCHED_AT_ONCE).await?;
            let mut found = Vec::new();
            for delivery in &page {
                match self.ports.payloads.unseal(&delivery.body).await {
                    Ok(body) if is_in(&sought, delivery, &body) => found.push((delivery.id, delivery.received_at)),
                    // What is lost names nobody any more.
                    Ok(_) | Err(PayloadError::Lost(_) | PayloadError::TooLarge { .. }) => {}
                    Err(error) => return Err(StoreError::Unavailable(error.to_string())),
                }
            }
            store.forget_deliveries(&found, self.ports.clock.now()).await?;
            erasure.progress.deliveries += found.len() as u64;
            erasure.progress.searched = page.last().map(|delivery| delivery.id.0).or(erasure.progress.searched);
            erasure.progress.is_searched = page.is_empty();
            store.write_erasure(erasure).await?;
            if self.stop.is_cancelled() || !self.holds().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells Terra of everybody it has not agreed to yet.
    async fn tell(&self, mut erasure: Erasure) -> Result<(), StoreError> {
        let store = &self.ports.store;
        let targets = store.erasure_targets(erasure.id).await?;
        let mut refused: Option<(String, SignedDuration)> = None;
        for target in targets.iter().filter(|target| !target.is_told) {
            let told = match self.ports.terra.get(&target.environment) {
                Some(client) => self.tell_of(client, target, &erasure).await?,
                None => Err((format!("no credentials for {}", target.environment), NO_CREDENTIALS_WAIT)),
            };
            match told {
                Ok(()) => store.told(erasure.id, std::slice::from_ref(target)).await?,
                Err(why) => refused = Some(why),
            }
            if self.stop.is_cancelled() || !self.holds().await? {
                return Ok(());
            }
        }
        // Others may have been found meanwhile: then there is more to erase.
        let Some(kept) = store.erasure(erasure.id).await? else { return Ok(()) };
        if kept.state == State::Erasing {
            return Ok(());
        }
        let now = self.ports.clock.now();
        match refused {
            Some((reason, wait)) => {
                warn!(erasure.id = %erasure.id, reason, "Terra has not agreed to an erasure yet; it is asked again");
                erasure.progress.attempts = erasure.progress.attempts.saturating_add(1);
                erasure.reason = Some(reason);
                erasure.look_at = now.checked_add(wait).unwrap_or(now);
            }
            None => {
                erasure.state = State::Done;
                erasure.reason = None;
                erasure.finished_at = Some(now);
            }
        }
        store.write_erasure(&erasure).await?;
        match store.erasure(erasure.id).await? {
            Some(kept) if kept.state == State::Done => {
                counter!(telemetry::ERASURES, "cause" => kept.cause.label()).increment(1);
                info!(erasure.id = %kept.id, "{}", words::sentence(&kept));
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// The inner error says why Terra has not agreed, and how long to wait.
    async fn tell_of(
        &self,
        client: &TerraClient,
        target: &Target,
        erasure: &Erasure,
    ) -> Result<Result<(), (String, SignedDuration)>, StoreError> {
        let answer = match target.kind {
            TargetKind::Alias => client.deauthenticate(&target.name).await,
            TargetKind::Reference => match client.users_by_reference(&target.name).await {
                Ok(users) => {
                    // Who connected since has come back.
                    let older = |created: Option<jiff::Timestamp>| created.is_none_or(|at| at <= erasure.requested_at);
                    let keys: Vec<AliasKey> = users
                        .iter()
                        .filter(|user| older(user.created_at))
                        .map(|user| AliasKey::new(&target.environment, &user.user_id))
                        .collect();
                    self.bury_unknown(erasure, keys).await?;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            TargetKind::User | TargetKind::Connection | TargetKind::Partner => Ok(()),
        };
        Ok(answer.map_err(|error| (error.to_string(), wait(&error, erasure.progress.attempts))))
    }

    /// Terra knows more of a person than we did.
    async fn bury_unknown(&self, erasure: &Erasure, keys: Vec<AliasKey>) -> Result<(), StoreError> {
        let targets = self.ports.store.erasure_targets(erasure.id).await?;
        let known = |key: &AliasKey| {
            let mut aliases = targets.iter().filter(|target| target.kind == TargetKind::Alias);
            aliases.any(|target| alias_digest(&target.key()) == alias_digest(key))
        };
        let unknown: Vec<AliasKey> = keys.into_iter().filter(|key| !known(key)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        info!(erasure.id = %erasure.id, terra_users = unknown.len(), "Terra knew more users of an erased person");
        self.ports.store.bury(erasure.id, &unknown, self.ports.clock.now()).await
    }

    /// Payloads in storage that the rows have let go of.
    async fn delete_payloads(&self) -> Result<bool, StoreError> {
        let unneeded = self.ports.store.unneeded_payloads(PAYLOADS_AT_ONCE).await?;
        let mut gone = Vec::new();
        for (number, payload) in &unneeded {
            match self.ports.payloads.delete(payload).await {
                Ok(()) => gone.push(*number),
                // Its pointer is damaged: it names nothing that could be deleted.
                Err(PayloadError::Lost(_)) => gone.push(*number),
                Err(error) => warn!(%error, "could not delete a payload that nothing needs; it is tried again"),
            }
        }
        if !gone.is_empty() {
            self.ports.store.gone(&gone).await?;
        }
        Ok(!gone.is_empty())
    }
}

/// A bug of ours that one delivery shows holds up no erasure: its body is read as one that is no event.
fn is_in(sought: &Sought, nameless: &Nameless, body: &Bytes) -> bool {
    let is_in = |delivery| sought.is_in(&nameless.environment, delivery, body);
    catch_unwind(AssertUnwindSafe(|| is_in(nameless.delivery.as_ref()))).unwrap_or_else(|_| is_in(None))
}

fn wait(error: &TerraError, attempts: u32) -> SignedDuration {
    let asked = if let TerraError::Limited { retry_after } = error { *retry_after } else { None };
    let wait = asked.unwrap_or_else(|| backoff(attempts.saturating_add(1), chance()));
    SignedDuration::try_from(wait).unwrap_or(NO_CREDENTIALS_WAIT)
}

/// What an erasure would erase, in numbers and words.
pub(crate) fn preview(found: &erasure::Found) -> serde_json::Value {
    serde_json::json!({ "dry_run": true, "found": found, "text": words::preview(found) })
}
