//! Jobs: one request to make each, and why.

use serde::{Deserialize, Serialize};
use terra::event::DataKind;

use super::window::{Window, split};
use crate::delivery::Origin;
use crate::id::{AliasKey, BackfillId, FetchJobId, derived_uuid};

/// Why a job was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FetchOrigin {
    /// Somebody asked for it and waits.
    Request,
    /// Two deliveries of one record could not be ordered: what Terra has now decides.
    Order,
    /// A part of a large request that did not come.
    Missing,
    /// Somebody connected.
    Connect,
    /// Deliveries were lost while we could not be reached.
    Recover,
    /// A look at whether anything is missing.
    Reconcile,
}

impl FetchOrigin {
    pub const ALL: [FetchOrigin; 6] = [
        FetchOrigin::Request,
        FetchOrigin::Order,
        FetchOrigin::Missing,
        FetchOrigin::Connect,
        FetchOrigin::Recover,
        FetchOrigin::Reconcile,
    ];

    pub fn label(self) -> &'static str {
        match self {
            FetchOrigin::Request => "request",
            FetchOrigin::Order => "order",
            FetchOrigin::Missing => "missing",
            FetchOrigin::Connect => "connect",
            FetchOrigin::Recover => "recover",
            FetchOrigin::Reconcile => "reconcile",
        }
    }

    pub fn parse(label: &str) -> Option<FetchOrigin> {
        FetchOrigin::ALL.into_iter().find(|origin| origin.label() == label)
    }

    /// Jobs of a smaller number go first: what somebody waits for, then history, then repair, then care.
    pub fn priority(self) -> u8 {
        match self {
            FetchOrigin::Request | FetchOrigin::Order | FetchOrigin::Missing => PRIORITY_URGENT,
            FetchOrigin::Connect => 1,
            FetchOrigin::Recover => 2,
            FetchOrigin::Reconcile => 3,
        }
    }

    /// What services are told of records that came of it.
    pub fn of_events(self) -> Origin {
        match self {
            FetchOrigin::Reconcile => Origin::Reconcile,
            FetchOrigin::Request
            | FetchOrigin::Order
            | FetchOrigin::Missing
            | FetchOrigin::Connect
            | FetchOrigin::Recover => Origin::Backfill,
        }
    }
}

/// The priority of what somebody waits for.
pub const PRIORITY_URGENT: u8 = 0;

/// One request to make: unique per alias, kind and window while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchJob {
    pub id: FetchJobId,
    /// The wish it belongs to: all jobs of one wish are accounted for together.
    pub backfill: BackfillId,
    pub alias: AliasKey,
    pub provider: Option<String>,
    pub kind: DataKind,
    pub window: Window,
    pub origin: FetchOrigin,
    /// Failed tries so far.
    pub attempts: u32,
    /// Set where it asks again for a part of what another job was to bring; not read back when leased.
    pub gap: Option<Gap>,
}

/// Which job's data did not come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub of: FetchJobId,
    /// Counted from 1.
    pub round: u32,
}

/// Days of one alias that somebody or something wants.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    pub alias: &'a AliasKey,
    pub provider: Option<&'a str>,
    pub kinds: &'a [DataKind],
    /// Of more than [`super::DAYS_PER_REQUEST_MAX`] days the newest are asked for.
    pub days: Window,
    pub origin: FetchOrigin,
    /// Stable bytes of what caused it; ids are derived from them, so the same cause asks once.
    pub cause: &'a [u8],
    /// Of one request; [`super::WINDOW_DAYS_MAX`] if nothing else is known.
    pub window_days_max: u32,
}

impl Wish<'_> {
    pub fn id(&self) -> BackfillId {
        BackfillId(self.derived(b"backfill", &[]))
    }

    fn derived(&self, what: &[u8], more: &[&[u8]]) -> uuid::Uuid {
        let alias = [self.alias.environment.as_str().as_bytes(), self.alias.terra_user_id.as_str().as_bytes()];
        derived_uuid(&[&[what, self.cause, alias[0], alias[1]], more].concat())
    }
}

/// The jobs of a wish, the newest days first.
pub fn jobs(wish: &Wish<'_>) -> Vec<FetchJob> {
    let windows = split(wish.days.newest(), wish.window_days_max);
    let mut jobs = Vec::new();
    for kind in wish.kinds {
        // A profile has no days.
        let wanted = if *kind == DataKind::Athlete { &windows[..windows.len().min(1)] } else { &windows[..] };
        jobs.extend(wanted.iter().map(|window| FetchJob {
            id: FetchJobId(wish.derived(b"fetch", &[kind.label().as_bytes(), window.start.to_string().as_bytes()])),
            backfill: wish.id(),
            alias: wish.alias.clone(),
            provider: wish.provider.map(str::to_owned),
            kind: *kind,
            window: *window,
            origin: wish.origin,
            attempts: 0,
            gap: None,
        }));
    }
    jobs
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::fetch::{HISTORY_KINDS, WINDOW_DAYS_MAX};
    use crate::id::Environment;

    fn wish(alias: &AliasKey, days: Window) -> Vec<FetchJob> {
        jobs(&Wish {
            alias,
            provider: Some("GARMIN"),
            kinds: &HISTORY_KINDS,
            days,
            origin: FetchOrigin::Connect,
            cause: b"cause",
            window_days_max: WINDOW_DAYS_MAX,
        })
    }

    #[test]
    fn labels_are_read_back() {
        for origin in FetchOrigin::ALL {
            assert_eq!(FetchOrigin::parse(origin.label()), Some(origin));
        }
    }

    #[test]
    fn what_somebody_waits_for_goes_before_history_and_care_comes_last() {
        let ordered: Vec<u8> = FetchOrigin::ALL.into_iter().map(FetchOrigin::priority).collect();
        assert_eq!(ordered, [0, 0, 0, 1, 2, 3]);
    }

    #[test]
    fn the_same_cause_makes_the_same_ids_and_another_alias_others() {
        let (ann, bob) = (AliasKey::new(&Environment::new("e"), "ann"), AliasKey::new(&Environment::new("e"), "bob"));
        let days = Window { start: date(2026, 1, 1), end: date(2026, 3, 1) };
        assert_eq!(wish(&ann, days), wish(&ann, days));
        let ids = |jobs: &[FetchJob]| jobs.iter().map(|job| job.id).collect::<std::collections::BTreeSet<_>>();
        assert!(ids(&wish(&ann, days)).is_disjoint(&ids(&wish(&bob, days))));
        assert_eq!(ids(&wish(&ann, days)).len(), 6 * 3 + 1, "three windows a kind, and one profile");
        assert_ne!(wish(&ann, days)[0].backfill, wish(&bob, days)[0].backfill);
    }

    #[test]
    fn more_days_than_terra_allows_are_cut_and_not_refused() {
        let ann = AliasKey::new(&Environment::new("e"), "ann");
        let jobs = wish(&ann, Window { start: date(2000, 1, 1), end: date(2026, 3, 1) });
        let days: i64 = jobs.iter().filter(|job| job.kind == DataKind::Sleep).map(|job| job.window.days()).sum();
        assert_eq!(days, 1_825);
    }
}
