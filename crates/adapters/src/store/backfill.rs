//! Backfills, as far as both engines do them alike.

use std::collections::BTreeMap;

use domain::fetch::{FetchJob, FetchOrigin, Window};
use domain::id::{AliasKey, BackfillId};

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
