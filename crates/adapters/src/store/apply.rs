//! One transaction for a batch of plans: every decision in order, written once for all engines.
//!
//! The invariant: after commit, each delivery of the batch has its effects exactly once, whatever was tried before and
//! whoever works beside us. `processed` and the effects stand in the same transaction; a duplicate is what was
//! *processed*, not what was seen.
//!
//! Identity has two ways. Most batches carry data of aliases that are known and change nothing about them: these run
//! side by side under the shared lock, on row locks taken in ascending order. A batch that may change a conclusion
//! (a lifecycle event, a new alias, another reference) runs alone under the exclusive lock, reads whole components,
//! and concludes them anew. A batch that finds out half-way that it should have been alone says so and is run again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::delivery::{Admission, Delivery, Origin};
use domain::fetch::FetchJob;
use domain::id::{AliasKey, ConnectionId, Environment, ReferenceId, UserId, derived_uuid};
use domain::identity::changes::{changes, newly_owned};
use domain::identity::{self, Alias, AliasStatus, Connection, Edge, Fact, Resolution, Said};
use domain::outgoing::{self, Happening, Outgoing};
use domain::plan::{Cause, Disposition, Plan};
use domain::record::{self, Merge, Record};
use jiff::Timestamp;

use super::tx::{AliasRow, LedgerOutcome, LedgerRow, Placement, ProcessedRow, RecordWrite, Tx};
use super::{Applied, Prepared, ReferencePolicy, StoreError};
use crate::payloads::Sealed;

/// How a batch runs beside others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// The outcome of one try.
pub enum Tried {
    Applied(Vec<Applied>),
    /// Nothing may be kept of this try: roll back and run again alone.
    NeedsExclusive,
}

/// The mode to begin with: alone where the plans themselves say that identity may change.
pub fn mode(batch: &[Prepared]) -> Mode {
    let lifecycle = |plan: &Plan| !plan.edges.is_empty() || plan.facts.iter().any(|fact| fact.said != Said::Seen);
    if batch.iter().any(|prepared| lifecycle(&prepared.plan)) { Mode::Exclusive } else { Mode::Shared }
}

pub async fn apply<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    mode: Mode,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Tried, StoreError> {
    tx.lock_identity(mode == Mode::Exclusive).await?;
    let verdicts = claim(tx, batch, now).await?;
    let fresh: Vec<usize> = (0..batch.len()).filter(|index| verdicts[*index] == Verdict::Fresh).collect();
    let plans: Vec<&Plan> = fresh.iter().map(|index| &batch[*index].plan).collect();

    let origins = origins(tx, &plans).await?;
    let happenings: Vec<Happening<'_>> =
        plans.iter().zip(&origins).map(|(plan, origin)| happening(plan, *origin)).collect();
    let identity = match mode {
        Mode::Shared => match touch(tx, &plans).await? {
            Some(identity) => identity,
            None => return Ok(Tried::NeedsExclusive),
        },
        Mode::Exclusive => reconclude(tx, &plans, &happenings, policy, now).await?,
    };
    let Identity { mut rows, mut events, connections } = identity;

    request_history(tx, &plans, &mut rows, now).await?;
    tx.write_aliases(&rows).await?;

    let owners = Owners::new(&rows, connections);
    let written = write_records(tx, batch, &fresh, &happenings, &owners, now, &mut events).await?;
    events.extend(plans.iter().flat_map(|plan| &plan.notices).map(|notice| noticed(notice, policy)));
    tx.insert_events(&events).await?;
    let history: Vec<_> =
        plans.iter().filter_map(|plan| plan.auth_event.clone().map(|event| (event, plan.cause.time()))).collect();
    tx.insert_auth_events(&history).await?;

    let applied = results(batch, &verdicts, &fresh, &written);
    write_ledger(tx, batch, &applied, now).await?;
    Ok(Tried::Applied(applied))
}

/// A notice names its subject by reference; that is a user only where references are users.
fn noticed(notice: &Outgoing, policy: ReferencePolicy) -> Outgoing {
    let subject = match policy {
        ReferencePolicy::IsTheUser => notice.subject.clone(),
        ReferencePolicy::Resolved => None,
    };
    Outgoing { subject, ..notice.clone() }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// To be processed now.
    Fresh,
    Duplicate,
    /// Kept without effects, as its plan says.
    Kept,
}

/// Takes the dedupe keys of the batch. Two deliveries with one key and different bodies are both fresh: the header
/// that holds the key is unsigned.
async fn claim<T: Tx + ?Sized>(tx: &mut T, batch: &[Prepared], now: Timestamp) -> Result<Vec<Verdict>, StoreError> {
    let mut verdicts = vec![Verdict::Kept; batch.len()];
    let mut wanted: Vec<(usize, &Delivery)> = Vec::new();
    for (index, prepared) in batch.iter().enumerate() {
        match (&prepared.plan.disposition, &prepared.plan.cause) {
            (Disposition::Process, Cause::Delivery(delivery)) => wanted.push((index, delivery)),
            (Disposition::Process, Cause::Confirmation { .. }) => verdicts[index] = Verdict::Fresh,
            (Disposition::SetAside { .. } | Disposition::Quarantine { .. }, _) => {}
        }
    }
    let late: Vec<_> = wanted
        .iter()
        .filter(|(_, delivery)| delivery.admission == Admission::Late)
        .map(|(_, delivery)| (delivery.environment.clone(), delivery.signed_digest))
        .collect();
    let already_signed = tx.signed_seen(&late).await?;
    wanted.retain(|(index, delivery)| {
        let seen = delivery.admission == Admission::Late
            && already_signed.contains(&(delivery.environment.clone(), delivery.signed_digest));
        if seen {
            verdicts[*index] = Verdict::Duplicate;
        }
        !seen
    });

    let second_look = claim_under(tx, &wanted, Delivery::dedupe_key, &mut verdicts, now).await?;
    // What is left has a key that was used for another body: it claims a key of its own.
    let left = claim_under(tx, &second_look, Delivery::conflict_key, &mut verdicts, now).await?;
    for (index, _) in left {
        verdicts[index] = Verdict::Duplicate;
    }
    Ok(verdicts)
}

/// Claims one key per delivery; answers those whose key stands for another body.
async fn claim_under<'a, T: Tx + ?Sized>(
    tx: &mut T,
    wanted: &[(usize, &'a Delivery)],
    key_of: fn(&Delivery) -> String,
    verdicts: &mut [Verdict],
    now: Timestamp,
) -> Result<Vec<(usize, &'a Delivery)>, StoreError> {
    let mut first: BTreeMap<(Environment, String), usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for (index, delivery) in wanted {
        let key = (delivery.environment.clone(), key_of(delivery));
        first.entry(key.clone()).or_insert_with(|| {
            rows.push(ProcessedRow {
                environment: key.0.clone(),
                key: key.1.clone(),
                body_digest: delivery.body_digest,
                signed_digest: delivery.signed_digest,
                delivery: delivery.id,
                processed_at: now,
            });
            *index
        });
    }
    rows.sort_by(|a, b| (&a.environment, &a.key).cmp(&(&b.environment, &b.key)));
    let new = tx.claim(&rows).await?;
    let taken: Vec<_> = first.keys().filter(|key| !new.contains(*key)).cloned().collect();
    let mut digests = tx.claimed(&taken).await?;
    for row in &rows {
        digests.entry((row.environment.clone(), row.key.clone())).or_insert(row.body_digest);
    }
    let mut conflicts = Vec::new();
    for (index, delivery) in wanted {
        let key = (delivery.environment.clone(), key_of(delivery));
        if new.contains(&key) && first.get(&key) == Some(index) {
            verdicts[*index] = Verdict::Fresh;
        } else if digests.get(&key) == Some(&delivery.body_digest) {
            verdicts[*index] = Verdict::Duplicate;
        } else {
            conflicts.push((*index, *delivery));
        }
    }
    Ok(conflicts)
}

async fn origins<T: Tx + ?Sized>(tx: &mut T, plans: &[&Plan]) -> Result<Vec<Origin>, StoreError> {
    let reference = |plan: &Plan| match &plan.cause {
        Cause::Delivery(delivery) => {
            delivery.headers.reference.clone().map(|reference| (delivery.environment.clone(), reference))
        }
        Cause::Confirmation { .. } => None,
    };
    let asked: BTreeSet<_> =
        plans.iter().filter(|plan| !plan.records.is_empty()).filter_map(|plan| reference(plan)).collect();
    let ours = tx.fetch_references(&asked.into_iter().collect::<Vec<_>>()).await?;
    let origin = |plan: &&Plan| match (&plan.cause, reference(plan)) {
        (_, Some(reference)) if ours.contains(&reference) => Origin::Backfill,
        (Cause::Delivery(delivery), _) => delivery.origin,
        (Cause::Confirmation { .. }, _) => Origin::Live,
    };
    Ok(plans.iter().map(origin).collect())
}

fn happening(plan: &Plan, origin: Origin) -> Happening<'_> {
    let cause: &[u8] = match &plan.cause {
        Cause::Delivery(delivery) => delivery.id.0.as_bytes(),
        Cause::Confirmation { session, .. } => session.0.as_bytes(),
    };
    Happening { cause, time: plan.cause.time(), origin }
}

/// The aliases of a batch with their facts taken in, and what follows from it.
struct Identity {
    rows: Vec<AliasRow>,
    events: Vec<Outgoing>,
    /// Empty on the shared way, where conclusions stand as they are.
    connections: Vec<Connection>,
}

/// The shared way: takes in facts that change no conclusion. `None` where one would change.
async fn touch<T: Tx + ?Sized>(tx: &mut T, plans: &[&Plan]) -> Result<Option<Identity>, StoreError> {
    let facts: Vec<&Fact> = plans.iter().flat_map(|plan| &plan.facts).collect();
    let keys: BTreeSet<AliasKey> = facts.iter().map(|fact| fact.alias.clone()).collect();
    let mut rows = tx.aliases(&keys.iter().cloned().collect::<Vec<_>>()).await?;
    if rows.len() != keys.len() {
        return Ok(None);
    }
    for row in &mut rows {
        let before = conclusive(&row.alias);
        let key = row.alias.key.clone();
        for fact in facts.iter().filter(|fact| fact.alias == key) {
            row.alias.absorb(fact);
        }
        if conclusive(&row.alias) != before {
            return Ok(None);
        }
    }
    Ok(Some(Identity { rows, events: Vec::new(), connections: Vec::new() }))
}

/// What of an alias conclusions are drawn from: `seen` counts only through the status.
fn conclusive(alias: &Alias) -> (AliasStatus, bool, Option<ReferenceId>, Option<String>, Option<Vec<String>>) {
    (
        alias.status(),
        alias.authenticated,
        alias.reference.as_ref().map(|stated| stated.value.clone()),
        alias.provider.as_ref().map(|stated| stated.value.clone()),
        alias.scopes.as_ref().map(|stated| stated.value.clone()),
    )
}

/// The exclusive way: whole components, concluded before and after, one plan at a time so that every real change has
/// its own event.
async fn reconclude<T: Tx + ?Sized>(
    tx: &mut T,
    plans: &[&Plan],
    happenings: &[Happening<'_>],
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Identity, StoreError> {
    let named: BTreeSet<AliasKey> = plans
        .iter()
        .flat_map(|plan| {
            plan.facts.iter().map(|fact| &fact.alias).chain(plan.edges.iter().flat_map(|edge| [&edge.old, &edge.new]))
        })
        .cloned()
        .collect();
    if named.is_empty() {
        return Ok(Identity { rows: Vec::new(), events: Vec::new(), connections: Vec::new() });
    }
    let (stored, stored_edges) = tx.components(&named.into_iter().collect::<Vec<_>>()).await?;
    let mut aliases: BTreeMap<AliasKey, Alias> =
        stored.into_iter().map(|row| (row.alias.key.clone(), row.alias)).collect();
    let mut edges: BTreeMap<(AliasKey, AliasKey), Edge> =
        stored_edges.into_iter().map(|edge| ((edge.old.clone(), edge.new.clone()), edge)).collect();
    let references: BTreeSet<(Environment, ReferenceId)> = aliases
        .values()
        .filter_map(|alias| {
            alias.reference.as_ref().map(|stated| (alias.key.environment.clone(), stated.value.clone()))
        })
        .chain(
            plans
                .iter()
                .flat_map(|plan| &plan.facts)
                .filter_map(|fact| fact.reference.clone().map(|reference| (fact.alias.environment.clone(), reference))),
        )
        .collect();
    let resolver = Resolver::read(tx, policy, references, now).await?;

    let first = resolver.conclude(&aliases, &edges);
    let mut events = Vec::new();
    for (plan, happening) in plans.iter().zip(happenings) {
        let group = reached(plan, &edges);
        let before = resolver.conclude_some(&aliases, &edges, &group);
        for fact in &plan.facts {
            let alias = aliases
                .entry(fact.alias.clone())
                .or_insert_with(|| Alias::new(fact.alias.clone(), birth_id(&fact.alias, happening.time)));
            alias.absorb(fact);
        }
        for edge in &plan.edges {
            let kept = edges.entry((edge.old.clone(), edge.new.clone())).or_insert_with(|| edge.clone());
            kept.order = kept.order.max(edge.order);
        }
        let after = resolver.conclude_some(&aliases, &edges, &group);
        events.extend(
            changes(&before, &after).iter().filter_map(|change| outgoing::of_change(change, &after, happening)),
        );
    }
    let last = resolver.conclude(&aliases, &edges);
    let identity = Identity { rows: placed(aliases.into_values().collect(), &last), events, connections: last };
    tx.write_edges(&edges.into_values().collect::<Vec<_>>()).await?;
    conclude_in_store(tx, &first, &identity.connections, now).await?;
    Ok(identity)
}

/// The aliases a plan can change the conclusions of: those it names, and all that edges, its own included, lead to.
fn reached(plan: &Plan, edges: &BTreeMap<(AliasKey, AliasKey), Edge>) -> BTreeSet<AliasKey> {
    let mut reached: BTreeSet<AliasKey> = plan.facts.iter().map(|fact| fact.alias.clone()).collect();
    reached.extend(plan.edges.iter().flat_map(|edge| [edge.old.clone(), edge.new.clone()]));
    loop {
        let size = reached.len();
        for (old, new) in edges.keys() {
            if reached.contains(old) != reached.contains(new) {
                reached.extend([old.clone(), new.clone()]);
            }
        }
        if reached.len() == size {
            return reached;
        }
    }
}

/// Writes conclusions and lets go of events that were waiting for them.
async fn conclude_in_store<T: Tx + ?Sized>(
    tx: &mut T,
    before: &[Connection],
    after: &[Connection],
    now: Timestamp,
) -> Result<(), StoreError> {
    let gone: Vec<ConnectionId> =
        before.iter().map(|old| old.id).filter(|id| !after.iter().any(|new| new.id == *id)).collect();
    tx.write_connections(after, &gone, now).await?;
    let owned: Vec<(AliasKey, ConnectionId, UserId)> = newly_owned(before, after)
        .into_iter()
        .filter_map(|alias| {
            let connection = after.iter().find(|connection| connection.members.contains(&alias))?;
            Some((alias, connection.id, connection.owner()?.clone()))
        })
        .collect();
    tx.release_events(&owned).await
}

/// Concludes the components of these aliases anew after something other than a delivery changed: a resolver's answer,
/// a person's decision. `change` edits facts; identity must be locked exclusively.
pub async fn revise<T: Tx + ?Sized>(
    tx: &mut T,
    keys: &[AliasKey],
    policy: ReferencePolicy,
    cause: &[u8],
    now: Timestamp,
    change: impl FnOnce(
        &mut BTreeMap<AliasKey, Alias>,
        &mut BTreeMap<(AliasKey, AliasKey), Edge>,
        &mut dyn FnMut(Environment, ReferenceId, Resolution),
    ) + Send,
) -> Result<Vec<Connection>, StoreError> {
    let (stored, stored_edges) = tx.components(keys).await?;
    let mut aliases: BTreeMap<AliasKey, Alias> =
        stored.into_iter().map(|row| (row.alias.key.clone(), row.alias)).collect();
    let mut edges: BTreeMap<(AliasKey, AliasKey), Edge> =
        stored_edges.into_iter().map(|edge| ((edge.old.clone(), edge.new.clone()), edge)).collect();
    let references = aliases
        .values()
        .filter_map(|alias| {
            alias.reference.as_ref().map(|stated| (alias.key.environment.clone(), stated.value.clone()))
        })
        .collect();
    let mut resolver = Resolver::read(tx, policy, references, now).await?;
    let before = resolver.conclude(&aliases, &edges);
    change(&mut aliases, &mut edges, &mut |environment, reference, resolution| {
        resolver.set(environment, reference, resolution)
    });
    let after = resolver.conclude(&aliases, &edges);
    let happening = Happening { cause, time: now, origin: Origin::Live };
    let events: Vec<Outgoing> =
        changes(&before, &after).iter().filter_map(|change| outgoing::of_change(change, &after, &happening)).collect();
    tx.write_edges(&edges.into_values().collect::<Vec<_>>()).await?;
    tx.write_aliases(&placed(aliases.into_values().collect(), &after)).await?;
    conclude_in_store(tx, &before, &after, now).await?;
    tx.insert_events(&events).await?;
    Ok(after)
}

/// The edges that a split severs: those that joined these members of one connection, and, while they are disputed, those
/// that hold them in the dispute.
pub async fn parting<T: Tx + ?Sized>(
    tx: &mut T,
    members: &[AliasKey],
) -> Result<BTreeSet<(AliasKey, AliasKey)>, StoreError> {
    let (rows, edges) = tx.components(members).await?;
    let is_disputed =
        rows.iter().any(|row| members.contains(&row.alias.key) && row.placement.status == identity::Status::Disputed);
    let parts = |edge: &Edge| {
        let (old, new) = (members.contains(&edge.old), members.contains(&edge.new));
        !edge.severed && ((old && new) || (is_disputed && (old || new)))
    };
    Ok(edges.into_iter().filter(parts).map(|edge| (edge.old, edge.new)).collect())
}

/// What references mean, as of this transaction.
struct Resolver {
    policy: ReferencePolicy,
    answers: BTreeMap<(Environment, ReferenceId), Resolution>,
}

impl Resolver {
    async fn read<T: Tx + ?Sized>(
        tx: &mut T,
        policy: ReferencePolicy,
        references: BTreeSet<(Environment, ReferenceId)>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let answers = match policy {
            ReferencePolicy::IsTheUser => BTreeMap::new(),
            ReferencePolicy::Resolved => tx.resolutions(&references.into_iter().collect::<Vec<_>>(), now).await?,
        };
        Ok(Resolver { policy, answers })
    }

    fn set(&mut self, environment: Environment, reference: ReferenceId, resolution: Resolution) {
        self.answers.insert((environment, reference), resolution);
    }

    fn conclude_some(
        &self,
        aliases: &BTreeMap<AliasKey, Alias>,
        edges: &BTreeMap<(AliasKey, AliasKey), Edge>,
        group: &BTreeSet<AliasKey>,
    ) -> Vec<Connection> {
        let aliases: Vec<Alias> = group.iter().filter_map(|key| aliases.get(key)).cloned().collect();
        let edges: Vec<Edge> = edges.values().filter(|edge| group.contains(&edge.old)).cloned().collect();
        self.conclude_over(&aliases, &edges)
    }

    fn conclude(
        &self,
        aliases: &BTreeMap<AliasKey, Alias>,
        edges: &BTreeMap<(AliasKey, AliasKey), Edge>,
    ) -> Vec<Connection> {
        let aliases: Vec<Alias> = aliases.values().cloned().collect();
        let edges: Vec<Edge> = edges.values().cloned().collect();
        self.conclude_over(&aliases, &edges)
    }

    fn conclude_over(&self, aliases: &[Alias], edges: &[Edge]) -> Vec<Connection> {
        identity::conclude(aliases, edges, |key, reference| match self.policy {
            ReferencePolicy::IsTheUser => Resolution::Found(UserId::new(reference.as_str())),
            ReferencePolicy::Resolved => {
                self.answers.get(&(key.environment.clone(), reference.clone())).cloned().unwrap_or(Resolution::Open)
            }
        })
    }
}

fn placed(aliases: Vec<Alias>, connections: &[Connection]) -> Vec<AliasRow> {
    let by_member: HashMap<&AliasKey, &Connection> = connections
        .iter()
        .flat_map(|connection| connection.members.iter().map(move |member| (member, connection)))
        .collect();
    let placement = |alias: &Alias| match by_member.get(&alias.key) {
        Some(connection) => {
            Placement { connection: connection.id, user: connection.user.clone(), status: connection.status }
        }
        None => Placement { connection: alias.birth_id, user: None, status: identity::Status::Unresolved },
    };
    aliases.into_iter().map(|alias| AliasRow { placement: placement(&alias), alias }).collect()
}

/// A connection id that is ordered by birth and the same wherever this cause is applied.
fn birth_id(key: &AliasKey, at: Timestamp) -> ConnectionId {
    let derived =
        derived_uuid(&[b"connection", key.environment.as_str().as_bytes(), key.terra_user_id.as_str().as_bytes()]);
    let mut tail = [0; 10];
    tail.copy_from_slice(&derived.as_bytes()[..10]);
    let ms = u64::try_from(at.as_millisecond()).unwrap_or(0);
    ConnectionId(uuid::Builder::from_unix_timestamp_millis(ms, &tail).into_uuid())
}

/// Starts backfills of connects that happened before our eyes, once per opening of an alias.
async fn request_history<T: Tx + ?Sized>(
    tx: &mut T,
    plans: &[&Plan],
    rows: &mut [AliasRow],
    now: Timestamp,
) -> Result<(), StoreError> {
    let with_result: Vec<&Plan> = plans.iter().copied().filter(|plan| plan.session.is_some()).collect();
    let results: Vec<_> = with_result.iter().filter_map(|plan| plan.session.clone()).collect();
    let ours = tx.decide_sessions(&results, now).await?;
    let mut jobs: Vec<FetchJob> = Vec::new();
    for plan in plans {
        let Some(backfill) = &plan.backfill else { continue };
        let in_session =
            with_result.iter().position(|with| std::ptr::eq(*with, *plan)).is_some_and(|index| ours.contains(&index));
        let Some(row) = rows.iter_mut().find(|row| row.alias.key == backfill.alias) else { continue };
        let alias = &mut row.alias;
        let done = alias.backfilled.is_some() && alias.backfilled >= alias.closed;
        if (backfill.certain || in_session) && !done && alias.status() != AliasStatus::Revoked {
            alias.backfilled = alias.opened;
            jobs.extend(backfill.jobs.iter().cloned());
        }
    }
    tx.insert_fetch_jobs(&jobs, now).await
}

/// Whose an alias is right now.
struct Owners {
    by_alias: HashMap<AliasKey, Connection>,
}

impl Owners {
    fn new(rows: &[AliasRow], connections: Vec<Connection>) -> Self {
        let mut by_alias: HashMap<AliasKey, Connection> =
            rows.iter().map(|row| (row.alias.key.clone(), as_connection(row))).collect();
        for connection in connections {
            for member in &connection.members {
                by_alias.insert(member.clone(), connection.clone());
            }
        }
        Owners { by_alias }
    }
}

/// As much of an alias's connection as events about its records need.
fn as_connection(row: &AliasRow) -> Connection {
    let alias = &row.alias;
    Connection {
        id: row.placement.connection,
        members: vec![alias.key.clone()],
        current: alias.key.clone(),
        user: row.placement.user.clone(),
        status: row.placement.status,
        health: alias.status(),
        provider: alias.provider.as_ref().map(|stated| stated.value.clone()),
        reference: alias.reference.as_ref().map(|stated| stated.value.clone()),
        scopes: Vec::new(),
        scopes_known: false,
        opened: alias.opened,
        seen: alias.seen,
    }
}

/// Writes what is newer and adds its events; answers rows written per fresh plan.
async fn write_records<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    fresh: &[usize],
    happenings: &[Happening<'_>],
    owners: &Owners,
    now: Timestamp,
    events: &mut Vec<Outgoing>,
) -> Result<Vec<u32>, StoreError> {
    let records = fresh.iter().enumerate().flat_map(|(position, index)| {
        batch[*index].plan.records.iter().enumerate().map(move |(at, record)| ((position, at), record))
    });
    let folded = record::fold(records);
    let keys: Vec<_> = folded.keys().map(|key| (*key).clone()).collect();
    let kept = tx.kept_records(&keys).await?;
    let merges: Vec<(usize, &Sealed, &Record, Merge)> = folded
        .into_values()
        .map(|((position, at), record)| {
            (position, &batch[fresh[position]].documents[at], record, record::merge(kept.get(&record.key), record))
        })
        .filter(|(.., merge)| merge.writes())
        .collect();
    let writes: Vec<RecordWrite<'_>> =
        merges.iter().map(|(_, document, record, _)| RecordWrite { record, document, at: now }).collect();
    let written = tx.write_records(&writes).await?;
    let mut rows = vec![0; fresh.len()];
    for (position, _, record, merge) in merges.iter().filter(|(_, _, record, _)| written.contains(&record.key.id())) {
        rows[*position] += 1;
        events.extend(outgoing::of_record(
            record,
            merge,
            owners.by_alias.get(&record.key.alias),
            &happenings[*position],
        ));
    }
    Ok(rows)
}

fn results(batch: &[Prepared], verdicts: &[Verdict], fresh: &[usize], written: &[u32]) -> Vec<Applied> {
    let rows: HashMap<usize, u32> = fresh.iter().copied().zip(written.iter().copied()).collect();
    verdicts
        .iter()
        .enumerate()
        .map(|(index, verdict)| match (verdict, &batch[index].plan.disposition) {
            (Verdict::Fresh, _) => Applied::Stored { rows: rows.get(&index).copied().unwrap_or(0) },
            (Verdict::Duplicate, _) => Applied::AlreadyProcessed,
            (Verdict::Kept, Disposition::Quarantine { reason }) => Applied::Quarantined { reason: reason.clone() },
            (Verdict::Kept, Disposition::SetAside { reason }) => Applied::SetAside { reason: reason.clone() },
            (Verdict::Kept, Disposition::Process) => Applied::AlreadyProcessed,
        })
        .collect()
}

async fn write_ledger<T: Tx + ?Sized>(
    tx: &mut T,
    batch: &[Prepared],
    applied: &[Applied],
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows: Vec<LedgerRow<'_>> =
        batch.iter().zip(applied).filter_map(|(prepared, applied)| ledger_row(prepared, applied, now)).collect();
    tx.write_ledger(&rows).await
}

fn ledger_row<'a>(prepared: &'a Prepared, applied: &Applied, now: Timestamp) -> Option<LedgerRow<'a>> {
    let Cause::Delivery(delivery) = &prepared.plan.cause else { return None };
    let (outcome, reason, rows) = match applied {
        Applied::Stored { rows } => (LedgerOutcome::Processed, None, *rows),
        Applied::AlreadyProcessed => (LedgerOutcome::Duplicate, None, 0),
        Applied::SetAside { reason } => (LedgerOutcome::SetAside, Some(reason.clone()), 0),
        Applied::Quarantined { reason } => (LedgerOutcome::Quarantined, Some(reason.clone()), 0),
    };
    Some(LedgerRow {
        delivery,
        body: &prepared.body,
        outcome,
        reason,
        attempts: prepared.attempt,
        retry_at: None,
        rows,
        at: now,
    })
}
