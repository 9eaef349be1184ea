//! The beginning of an erasure, in one transaction: tombstones, whom it is about, and identity without them.

use std::collections::BTreeSet;

use domain::erasure::{self, Erasure, ErasureId, Target, TargetKind, Whom, Wish, alias_digest, reference_digest};
use domain::id::{AliasKey, ConnectionId, Environment, ReferenceId, UserId};
use domain::identity::{Alias, AliasStatus};
use domain::plan::LAB_ALIAS_PREFIX;
use jiff::Timestamp;
use serde_json::json;

use super::detach;
use super::erased::{grave, targets};
use crate::store::tx::{AliasRow, Grave, Tx};
use crate::store::{ReferencePolicy, StoreError};

/// Everybody whom an erasure is about.
struct About {
    rows: Vec<AliasRow>,
    references: BTreeSet<(Environment, ReferenceId)>,
    user: Option<UserId>,
    connections: BTreeSet<ConnectionId>,
    /// The person goes, not one of several connections.
    is_whole: bool,
}

/// Alone in identity from here on. `None` where there is no such connection; a user of whom nothing is known is erased
/// all the same, so that what is still on its way to us finds a tombstone.
pub async fn begin<T: Tx + ?Sized>(
    tx: &mut T,
    wish: &Wish,
    policy: ReferencePolicy,
    now: Timestamp,
) -> Result<Option<Erasure>, StoreError> {
    tx.lock_identity(true).await?;
    let about = match &wish.whom {
        Whom::User { user, environments } => of_user(tx, user, environments, policy).await?,
        Whom::Connection(id) => of_connection(tx, *id).await?,
    };
    if about.rows.is_empty() && matches!(wish.whom, Whom::Connection(_)) {
        return Ok(None);
    }
    let keys: BTreeSet<AliasKey> = about.rows.iter().map(|row| row.alias.key.clone()).collect();
    let partners = detach(tx, &keys, policy, wish.id.0.as_bytes(), now).await?;

    let mut erasure = wish.begun(now);
    erasure.progress.connections = about.connections.len() as u64;
    erasure.progress.terra_users = keys.len() as u64;
    tx.write_erasure(&erasure).await?;
    tx.add_targets(wish.id, &about.targets(&partners), now).await?;
    let aliases = keys.iter().map(alias_digest);
    let references = about.references.iter().map(|(environment, name)| reference_digest(environment, name));
    let graves: Vec<Grave> = aliases.chain(references).map(|digest| grave(wish.id, digest, now)).collect();
    tx.write_tombstones(&graves).await?;

    let environment =
        keys.first().map(|key| key.environment.clone()).or_else(|| about.references.first().map(|name| name.0.clone()));
    let environment = environment.unwrap_or_else(|| Environment::new("default"));
    tx.insert_events(&[erasure::event(wish, environment, about.user, &about.connections, now)]).await?;
    let detail = json!({ "scope": wish.scope(), "cause": wish.cause });
    tx.write_audit(&wish.actor, "erase", &wish.id.to_string(), &detail, now).await?;
    Ok(Some(erasure))
}

/// More Terra users of a person who was erased: as if they had been known at its beginning. Identity follows with the
/// erasure's next step, which is alone in it.
pub async fn bury<T: Tx + ?Sized>(
    tx: &mut T,
    id: ErasureId,
    keys: &[AliasKey],
    now: Timestamp,
) -> Result<(), StoreError> {
    let graves: Vec<Grave> = keys.iter().map(|key| grave(id, alias_digest(key), now)).collect();
    tx.write_tombstones(&graves).await?;
    tx.add_targets(id, &targets(keys, is_lab), now).await
}

async fn of_user<T: Tx + ?Sized>(
    tx: &mut T,
    user: &UserId,
    environments: &[Environment],
    policy: ReferencePolicy,
) -> Result<About, StoreError> {
    let own: BTreeSet<AliasKey> = tx.aliases_of(Some(user), None).await?.into_iter().collect();
    let (rows, edges) = tx.components(&own.iter().cloned().collect::<Vec<_>>()).await?;
    let aliases: Vec<Alias> = rows.iter().map(|row| row.alias.clone()).collect();
    let reached = erasure::reach(&own, &aliases, &edges);
    let rows: Vec<AliasRow> = rows.into_iter().filter(|row| reached.contains(&row.alias.key)).collect();
    let mut references = tx.references_of(user).await?;
    references.extend(
        rows.iter()
            .filter_map(|row| Some((row.alias.key.environment.clone(), row.alias.reference.as_ref()?.value.clone()))),
    );
    if policy == ReferencePolicy::IsTheUser {
        references.extend(environments.iter().map(|name| (name.clone(), ReferenceId::new(user.as_str()))));
    }
    let connections = rows.iter().map(|row| row.placement.connection).collect();
    Ok(About { rows, references, user: Some(user.clone()), connections, is_whole: true })
}

async fn of_connection<T: Tx + ?Sized>(tx: &mut T, id: ConnectionId) -> Result<About, StoreError> {
    let keys = tx.aliases_of(None, Some(id)).await?;
    let rows = tx.aliases(&keys).await?;
    let user = rows.iter().find_map(|row| row.placement.owner().cloned());
    Ok(About { rows, references: BTreeSet::new(), user, connections: [id].into(), is_whole: false })
}

impl About {
    fn targets(&self, partners: &BTreeSet<AliasKey>) -> Vec<Target> {
        let keys: Vec<AliasKey> = self.rows.iter().map(|row| row.alias.key.clone()).collect();
        let is_closed = |key: &AliasKey| {
            self.rows.iter().any(|row| row.alias.key == *key && row.alias.status() == AliasStatus::Revoked)
        };
        let named = |kind, environment: &str, name: &str, is_told| Target {
            kind,
            environment: Environment::new(environment),
            name: name.to_owned(),
            is_erased: false,
            is_told,
        };
        let mut all = targets(&keys, |key| is_lab(key) || is_closed(key));
        all.extend(
            self.references
                .iter()
                .map(|(environment, name)| named(TargetKind::Reference, environment.as_str(), name.as_str(), false)),
        );
        // Of one connection its person stays, and so does what is kept under the person's own name.
        if self.is_whole {
            all.extend(self.user.iter().map(|user| named(TargetKind::User, "", user.as_str(), true)));
        }
        all.extend(self.connections.iter().map(|id| named(TargetKind::Connection, "", &id.to_string(), true)));
        all.extend(
            partners
                .iter()
                .map(|key| named(TargetKind::Partner, key.environment.as_str(), key.terra_user_id.as_str(), true)),
        );
        all
    }
}

/// Terra knows no user by the name of a lab report's alias.
fn is_lab(key: &AliasKey) -> bool {
    key.terra_user_id.as_str().starts_with(LAB_ALIAS_PREFIX)
}
