//! Terra's own list of users against what we know: what did we miss?
//!
//! An observation is weaker than a webhook: it says how things stand, not when they changed. So whatever follows from
//! one is stamped with the smallest order that makes it true, and loses against every webhook that tells of the same
//! change or a later one. After all webhooks have come, in any order, nothing is left of a reconcile; where one was
//! lost, what it would have said is known.
//!
//! - A user we have not opened is **opened** as of its creation at Terra: every `auth` and every `deauth` of it is later.
//! - One we closed is **reopened** just after that, if the closing is well before the list was begun, and only if Terra,
//!   asked about this very user, says that it is authenticated.
//! - One that we think open and that Terra does not list is **closed** as of just before the list, if nothing of it is
//!   newer than that, and only if Terra, asked about it, does not know it or says that it is not authenticated. Pages
//!   shift while users come and go: a list alone proves nobody's absence.
//! - If more of our connections would be closed than is likely, none is: that is a fault of somebody's, not news.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use terra::event::User;
use uuid::Uuid;

use crate::fetch::Window;
use crate::id::{AliasKey, Environment, ReferenceId};
use crate::identity::{Alias, AliasStatus};
use crate::order::Order;
use crate::plan::LAB_ALIAS_PREFIX;

pub mod run;

/// How far our clock and Terra's may be apart, with what is on its way. What is younger than this before a list was
/// begun is left to its webhooks.
pub const MARGIN: SignedDuration = SignedDuration::from_mins(10);

/// Terra says it has sent something later than anything we have: by this much it is a gap and no rounding.
pub const GAP_MIN: SignedDuration = SignedDuration::from_mins(15);

/// A delivery that Terra is still retrying is no gap yet.
pub const GAP_AGE_MIN: SignedDuration = SignedDuration::from_hours(1);

/// Terra itself has sent nothing for a user in this long.
pub const SILENT_AFTER: SignedDuration = SignedDuration::from_hours(72);

/// An `auth` missed this recently is a connect whose history was never asked for.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// What Terra listed, whole: a list that was cut short is never one of these.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub environment: Environment,
    /// Read from our clock before the first page was asked for.
    pub started_at: Timestamp,
    /// Connects since then were before our eyes, as far as we had any: the start of the last list that was whole.
    pub listed_before: Option<Timestamp>,
    pub users: Vec<User>,
}

/// An alias of ours. `replaced`: a re-authentication leads away from it, so Terra need not know it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub alias: Alias,
    pub replaced: bool,
}

/// Something we did not know.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Authenticated at Terra, and no `auth` of it came.
    Opened { user: User, order: Order, is_recent: bool },
    /// Closed here, and authenticated again.
    Reopened { user: User, order: Order },
    /// Provider, reference or scopes are others.
    Changed { user: User, order: Order },
    /// Open here, and gone at Terra.
    Gone { alias: AliasKey, provider: Option<String>, reference: Option<ReferenceId>, order: Order },
}

impl Finding {
    pub fn label(&self) -> &'static str {
        match self {
            Finding::Opened { .. } => "opened",
            Finding::Reopened { .. } => "reopened",
            Finding::Changed { .. } => "changed",
            Finding::Gone { .. } => "gone",
        }
    }

    pub fn terra_user_id(&self) -> &str {
        match self {
            Finding::Opened { user, .. } | Finding::Reopened { user, .. } | Finding::Changed { user, .. } => {
                &user.user_id
            }
            Finding::Gone { alias, .. } => alias.terra_user_id.as_str(),
        }
    }
}

/// Data that Terra says it has sent and we do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub alias: AliasKey,
    pub provider: Option<String>,
    pub days: Window,
    /// When Terra last sent something.
    pub sent_at: Timestamp,
}

/// What the comparison comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    pub seen: u64,
    /// Sure enough to be applied.
    pub findings: Vec<Finding>,
    /// Reopened or gone: only if Terra says so when asked about this very user.
    pub doubtful: Vec<Finding>,
    pub gaps: Vec<Gap>,
    /// Listed users for whom Terra itself has had nothing for [`SILENT_AFTER`].
    pub silent: u64,
    /// Aliases that were open here: what the share of those gone is measured by.
    pub open: u64,
}

/// Compares. `known` are all aliases of the environment, or all that carry the reference that was asked about; they are
/// read after the list.
pub fn compare(snapshot: &Snapshot, known: &[Known]) -> Comparison {
    let by_key: BTreeMap<&AliasKey, &Known> = known.iter().map(|known| (&known.alias.key, known)).collect();
    let mut comparison = Comparison::default();
    let mut listed = BTreeSet::new();
    for user in &snapshot.users {
        if user.active == Some(false) || !listed.insert(AliasKey::new(&snapshot.environment, &user.user_id)) {
            continue;
        }
        comparison.seen += 1;
        let key = AliasKey::new(&snapshot.environment, &user.user_id);
        let known = by_key.get(&key).copied();
        comparison.take_listed(snapshot, user, known.map(|known| &known.alias));
    }
    for known in known.iter().filter(|known| !known.replaced && known.alias.status() != AliasStatus::Revoked) {
        comparison.open += 1;
        if !listed.contains(&known.alias.key) {
            comparison.doubtful.extend(gone(snapshot, &known.alias));
        }
    }
    comparison
}

impl Comparison {
    fn take_listed(&mut self, snapshot: &Snapshot, user: &User, alias: Option<&Alias>) {
        let sent_at = user.last_webhook_at();
        let quiet_since = sent_at.or(user.created_at);
        if quiet_since.is_some_and(|at| snapshot.started_at.duration_since(at) > SILENT_AFTER) {
            self.silent += 1;
        }
        let Some(alias) = alias else {
            self.findings.push(opened(snapshot, user));
            return;
        };
        self.findings.extend(changed(snapshot, user, alias));
        match alias.closed {
            Some(closed) if alias.status() == AliasStatus::Revoked => {
                self.doubtful.extend(reopened(snapshot, user, closed));
            }
            Some(_) | None => {
                if alias.opened.is_none() || !alias.authenticated {
                    self.findings.push(opened(snapshot, user));
                }
                self.gaps.extend(sent_at.and_then(|sent_at| gap(snapshot, user, alias, sent_at)));
            }
        }
    }

    /// How many of those gone there are, before Terra was asked about each.
    pub fn gone(&self) -> u64 {
        self.doubtful.iter().filter(|finding| matches!(finding, Finding::Gone { .. })).count() as u64
    }
}

/// Whether so many gone are not believed. One may always go.
///
/// - Units: `share_percent` of `open`, in percent.
pub fn is_unlikely(gone: u64, open: u64, share_percent: u8) -> bool {
    gone > (open * u64::from(share_percent) / 100).max(1)
}

/// Whether what Terra says of one user bears out a doubtful finding. `authenticated`: `None` where it knows nobody.
pub fn bears_out(finding: &Finding, authenticated: Option<bool>) -> bool {
    match finding {
        Finding::Gone { .. } => authenticated != Some(true),
        Finding::Reopened { .. } | Finding::Opened { .. } | Finding::Changed { .. } => authenticated == Some(true),
    }
}

/// Just before the list: what is stamped so loses against everything that happens from then on.
fn before(snapshot: &Snapshot) -> i64 {
    snapshot.started_at.as_millisecond().saturating_sub(MARGIN.as_millis() as i64)
}

fn opened(snapshot: &Snapshot, user: &User) -> Finding {
    let latest = before(snapshot);
    let at = user.created_at.map_or(latest, |created| created.as_millisecond().min(latest));
    let since = snapshot.listed_before.unwrap_or(snapshot.started_at).min(snapshot.started_at - RECENT);
    let is_recent = user.created_at.is_some_and(|created| created > since);
    Finding::Opened { user: user.clone(), order: Order::at(at), is_recent }
}

fn reopened(snapshot: &Snapshot, user: &User, closed: Order) -> Option<Finding> {
    let latest = before(snapshot);
    let after_closing = closed.ms().saturating_add(1);
    let created = user.created_at.map_or(after_closing, Timestamp::as_millisecond);
    (closed.ms() < latest)
        .then(|| Finding::Reopened { user: user.clone(), order: Order::at(created.clamp(after_closing, latest)) })
}

fn changed(snapshot: &Snapshot, user: &User, alias: &Alias) -> Option<Finding> {
    let order = Order::at(before(snapshot));
    let is_news = |known: Option<(Order, bool)>| known.is_none_or(|(stated, same)| !same && stated < order);
    let provider = user
        .provider
        .as_ref()
        .is_some_and(|said| is_news(alias.provider.as_ref().map(|known| (known.order, known.value == *said))));
    let reference =
        user.reference_id.as_deref().filter(|said| !said.is_empty()).is_some_and(|said| {
            is_news(alias.reference.as_ref().map(|known| (known.order, known.value.as_str() == said)))
        });
    let scopes = user.scopes.as_ref().is_some_and(|said| {
        is_news(alias.scopes.as_ref().map(|known| (known.order, sorted(&known.value) == sorted(said))))
    });
    (provider || reference || scopes).then(|| Finding::Changed { user: user.clone(), order })
}

fn sorted(scopes: &[String]) -> BTreeSet<&str> {
    scopes.iter().map(String::as_str).collect()
}

fn gone(snapshot: &Snapshot, alias: &Alias) -> Option<Finding> {
    // Lab reports come under an alias of our own, which Terra never had.
    if alias.key.terra_user_id.as_str().starts_with(LAB_ALIAS_PREFIX) {
        return None;
    }
    let latest = before(snapshot);
    let stated = [
        alias.provider.as_ref().map(|stated| stated.order),
        alias.reference.as_ref().map(|stated| stated.order),
        alias.scopes.as_ref().map(|stated| stated.order),
    ];
    let newest = stated.into_iter().flatten().chain(alias.opened).chain(alias.seen).chain(alias.failed).max()?;
    (newest.ms() < latest).then(|| Finding::Gone {
        alias: alias.key.clone(),
        provider: alias.provider.as_ref().map(|stated| stated.value.clone()),
        reference: alias.reference.as_ref().map(|stated| stated.value.clone()),
        order: Order::at(latest),
    })
}

fn gap(snapshot: &Snapshot, user: &User, alias: &Alias, sent_at: Timestamp) -> Option<Gap> {
    let known = alias.seen.max(alias.opened).max(alias.failed)?;
    let known_at = Timestamp::from_millisecond(known.ms()).ok()?;
    let is_gap =
        sent_at.duration_since(known_at) > GAP_MIN && snapshot.started_at.duration_since(sent_at) >= GAP_AGE_MIN;
    let date = |at: Timestamp| at.to_zoned(TimeZone::UTC).date();
    let end = date(sent_at).tomorrow().ok()?;
    is_gap.then(|| Gap {
        alias: alias.key.clone(),
        provider: user.provider.clone(),
        days: Window { start: date(known_at), end },
        sent_at,
    })
}

/// What of a listing's page is to be asked for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Page(u32),
    Whole,
    /// It ended before its end, or goes in circles: what it has is not the whole.
    Broken,
}

/// One page as it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRead {
    pub page: u32,
    /// What the answer says comes next, if it says anything of pages at all.
    pub next: Option<u32>,
    pub max_page: Option<u32>,
    pub users: usize,
    /// Of these, the ones that no page before had.
    pub new: usize,
}

/// Pages are counted from zero. An answer that says nothing of pages either has everything, or is one page of many: a
/// full one is asked beyond, until nothing new comes.
pub fn next_page(read: PageRead, per_page: usize) -> Next {
    match (read.max_page, read.next) {
        (Some(max_page), _) if read.page < max_page => Next::Page(read.page + 1),
        (_, Some(next)) if next == read.page + 1 => Next::Page(next),
        (_, Some(_)) => Next::Broken,
        (Some(_), None) => Next::Whole,
        (None, None) if read.users >= per_page && read.new > 0 => Next::Page(read.page + 1),
        (None, None) => Next::Whole,
    }
}

/// One reconcile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReconcileId(pub Uuid);

impl std::fmt::Display for ReconcileId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
