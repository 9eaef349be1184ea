//! Windows that overlap or adjoin are asked for once.

use terra::event::DataKind;

use super::window::cell_of;
use super::{FetchJob, WINDOW_DAYS_MAX, Window};
use crate::id::FetchJobId;

/// A job of the same alias that waits already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub id: FetchJobId,
    pub kind: DataKind,
    pub window: Window,
    /// It is being asked right now: what it holds need not be asked again, but it can no longer change.
    pub held: bool,
}

/// What to write so that each day is asked for once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coalesced {
    pub insert: Vec<FetchJob>,
    /// (what waited, the job that asks for its days instead)
    pub absorbed: Vec<(FetchJobId, FetchJobId)>,
    /// (index of the wanted job, the job that asks for some of its days, or all)
    pub links: Vec<(usize, FetchJobId)>,
}

/// Puts what is wanted of one alias together with what waits already.
pub fn coalesce(queued: &[Queued], wanted: &[FetchJob]) -> Coalesced {
    let mut waiting: Vec<Queued> = queued.to_vec();
    let mut merged = Coalesced::default();
    for (index, job) in wanted.iter().enumerate() {
        let is_whole = |waits: &&Queued, window: &Window| {
            waits.kind == job.kind && (job.kind == DataKind::Athlete || waits.window.holds(window))
        };
        // Before anything is absorbed: what is being asked may share days with it, and whoever leant on what is absorbed
        // will lean on this job alone, for all of its days.
        let held = waiting.iter().filter(|waits| waits.kind == job.kind && waits.held);
        let mut window = cut_down(job.window, held, |id| merged.links.push((index, id)));
        if let Some(waits) = waiting.iter().find(|waits| is_whole(waits, &window)) {
            merged.links.push((index, waits.id));
            continue;
        }
        let mut absorbed = Vec::new();
        // What has grown may hold or reach what it did not before.
        while let Some(at) = waiting.iter().position(|waits| waits.kind == job.kind && joins(waits, &window)) {
            let gone = waiting.swap_remove(at);
            window = window.hull(&gone.window);
            absorbed.push(gone.id);
        }
        // What waits shares no day with what was absorbed: only days of this job itself are left to it.
        let others = waiting.iter().filter(|waits| waits.kind == job.kind && !waits.held);
        window = cut_down(window, others, |id| merged.links.push((index, id)));
        // Those that hold its ends may hold all of it between them.
        if let Some(waits) = waiting.iter().find(|waits| absorbed.is_empty() && is_whole(waits, &window)) {
            merged.links.push((index, waits.id));
            continue;
        }
        take_over(&mut merged, &absorbed, job.id);
        merged.links.push((index, job.id));
        merged.insert.push(FetchJob { window, ..job.clone() });
        waiting.push(Queued { id: job.id, kind: job.kind, window, held: false });
    }
    merged
}

fn joins(waits: &Queued, window: &Window) -> bool {
    !waits.held
        && waits.window.touches(window)
        && (window.holds(&waits.window) || is_one_request(&waits.window.hull(window)))
}

/// Within one month and short enough: two windows that are asked for as one.
fn is_one_request(window: &Window) -> bool {
    window.days() <= i64::from(WINDOW_DAYS_MAX) && cell_of(window.start, WINDOW_DAYS_MAX).holds(window)
}

/// Leaves to others the days at the ends of `window` that they hold already; names them.
fn cut_down<'a>(
    window: Window,
    others: impl Iterator<Item = &'a Queued>,
    mut leans_on: impl FnMut(FetchJobId),
) -> Window {
    others.fold(window, |window, other| match rest_of(&window, &other.window) {
        Some(rest) => {
            leans_on(other.id);
            rest
        }
        None => window,
    })
}

/// The days of `window` that the other does not hold, where they overlap and what is left is one range.
fn rest_of(window: &Window, other: &Window) -> Option<Window> {
    let starts_in = other.start <= window.start && window.start < other.end;
    let ends_in = other.start < window.end && window.end <= other.end;
    match (starts_in, ends_in) {
        (true, false) => Some(Window { start: other.end, end: window.end }),
        (false, true) => Some(Window { start: window.start, end: other.start }),
        (true, true) | (false, false) => None,
    }
}

/// A job that was to be inserted itself leaves no row behind: whoever leant on it leans on the other.
fn take_over(merged: &mut Coalesced, absorbed: &[FetchJobId], by: FetchJobId) {
    for gone in absorbed {
        let is_new = merged.insert.iter().any(|job| job.id == *gone);
        merged.insert.retain(|job| job.id != *gone);
        for (_, link) in merged.links.iter_mut().filter(|(_, link)| link == gone) {
            *link = by;
        }
        for (_, into) in merged.absorbed.iter_mut().filter(|(_, into)| into == gone) {
            *into = by;
        }
        if !is_new {
            merged.absorbed.push((*gone, by));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Span;
    use jiff::civil::{Date, date};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::fetch::{FetchOrigin, split};
    use crate::id::{AliasKey, BackfillId, Environment};

    fn day(offset: i32) -> Date {
        date(2026, 1, 1).checked_add(Span::new().days(offset)).unwrap()
    }

    fn window(start: i32, days: i32) -> Window {
        Window { start: day(start), end: day(start + days) }
    }

    fn job(number: u128, window: Window) -> FetchJob {
        FetchJob {
            id: FetchJobId(Uuid::from_u128(number)),
            backfill: BackfillId(Uuid::from_u128(number)),
            gap: None,
            alias: AliasKey::new(&Environment::new("e"), "u"),
            provider: None,
            kind: DataKind::Daily,
            window,
            origin: FetchOrigin::Connect,
            attempts: 0,
        }
    }

    fn days(window: &Window) -> impl Iterator<Item = Date> {
        let end = window.end;
        window.start.series(Span::new().days(1)).take_while(move |day| *day < end)
    }

    /// What waits after the merge was written.
    fn written(queued: &[Queued], merged: &Coalesced) -> Vec<Queued> {
        let gone = |id: &FetchJobId| merged.absorbed.iter().any(|(gone, _)| gone == id);
        let new =
            merged.insert.iter().map(|job| Queued { id: job.id, kind: job.kind, window: job.window, held: false });
        queued.iter().filter(|waits| !gone(&waits.id)).cloned().chain(new).collect()
    }

    proptest! {
        #[test]
        fn every_wanted_day_is_asked_for_once(
            ranges in proptest::collection::vec((0..120_i32, 1..90_i32, 20..400_u32), 1..8), held in 0..8_usize,
        ) {
            let (mut waiting, mut number) = (Vec::new(), 0);
            // Each wish, and the jobs that it leans on.
            let mut wishes: Vec<(Window, BTreeSet<FetchJobId>)> = Vec::new();
            for (round, (start, length, days_max)) in ranges.into_iter().enumerate() {
                let wanted: Vec<FetchJob> = split(window(start, length), days_max)
                    .into_iter()
                    .map(|window| { number += 1; job(number, window) })
                    .collect();
                let merged = coalesce(&waiting, &wanted);
                let after = written(&waiting, &merged);
                // What is being asked right now can no longer change: a window around it asks for its days again.
                let asked: Vec<Date> = after.iter().filter(|waits| !waits.held).flat_map(|waits| days(&waits.window)).collect();
                prop_assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), asked.len(), "a day twice");
                for (_, leans_on) in &mut wishes {
                    let by = |id: &FetchJobId| merged.absorbed.iter().find(|(gone, _)| gone == id).map_or(*id, |(_, by)| *by);
                    *leans_on = leans_on.iter().map(by).collect();
                }
                wishes.extend(wanted.iter().enumerate().map(|(index, job)| {
                    (job.window, merged.links.iter().filter(|(of, _)| *of == index).map(|(_, id)| *id).collect())
                }));
                for (wish, leans_on) in &wishes {
                    let given: BTreeSet<Date> =
                        after.iter().filter(|waits| leans_on.contains(&waits.id)).flat_map(|waits| days(&waits.window)).collect();
                    prop_assert!(days(wish).all(|day| given.contains(&day)), "a day is not asked for");
                }
                prop_assert!(merged.absorbed.iter().all(|(_, into)| after.iter().any(|waits| waits.id == *into)));
                waiting = after;
                if round < held && let Some(waits) = waiting.first_mut() {
                    waits.held = true;
                }
            }
        }
    }

    #[test]
    fn who_leant_on_what_is_absorbed_still_has_all_days() {
        let held =
            Queued { id: FetchJobId(Uuid::from_u128(1)), kind: DataKind::Daily, window: window(17, 7), held: true };
        let later =
            Queued { id: FetchJobId(Uuid::from_u128(2)), kind: DataKind::Daily, window: window(24, 8), held: false };
        let merged = coalesce(&[held, later], &[job(3, window(14, 14)), job(4, window(0, 14))]);
        // The first wish, and those before it that nobody here knows of, lean on the fourth for the days from 14 on.
        assert_eq!(merged.insert.iter().map(|job| job.window).collect::<Vec<_>>(), [window(0, 24)]);
        let id = |number| FetchJobId(Uuid::from_u128(number));
        assert_eq!(merged.links, [(0, id(2)), (0, id(4)), (1, id(4))]);
    }

    #[test]
    fn the_same_days_again_are_no_new_request() {
        let waits =
            Queued { id: FetchJobId(Uuid::from_u128(1)), kind: DataKind::Daily, window: window(0, 10), held: true };
        let merged = coalesce(&[waits], &[job(2, window(3, 4))]);
        assert_eq!(merged, Coalesced { links: vec![(0, FetchJobId(Uuid::from_u128(1)))], ..Coalesced::default() });
    }

    #[test]
    fn neighbours_within_a_month_become_one_request_and_halves_of_a_long_month_stay_two() {
        let waits =
            Queued { id: FetchJobId(Uuid::from_u128(1)), kind: DataKind::Daily, window: window(0, 5), held: false };
        let merged = coalesce(std::slice::from_ref(&waits), &[job(2, window(5, 6))]);
        assert_eq!(merged.insert[0].window, window(0, 11));
        assert_eq!(merged.absorbed, [(waits.id, FetchJobId(Uuid::from_u128(2)))]);
        let merged = coalesce(&[waits], &[job(2, window(5, 26))]);
        assert_eq!((merged.insert[0].window, merged.absorbed.len()), (window(5, 26), 0));
    }
}
