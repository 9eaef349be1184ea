//! Who holds which job, in memory: the process has the file to itself, so nobody else needs to know.
//!
//! Ids ascend in the order of commits. Of each lane everything up to a cursor was leased once; from there on it is
//! waiting. What was given back is remembered by id. So memory grows with what is held, not with what waits.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::delivery::Lane;
use rusqlite::{Connection, params};
use tokio::sync::Notify;

const LANES: usize = Lane::ALL.len();

/// Jobs of a lane, the oldest, that a former process may have held at its end: more than all its workers lease at once.
const HELD_MAX: i64 = 2_048;

pub(crate) struct Lanes {
    state: Mutex<State>,
    /// Wakes consumers: a job is waiting, or the queue closes.
    pub(crate) changed: Notify,
    /// Held from the choice of jobs until they are marked, so that no two consumers choose the same.
    pub(crate) choosing: tokio::sync::Mutex<()>,
    next_id: AtomicI64,
}

#[derive(Default)]
struct State {
    lanes: [LaneState; LANES],
    leases: HashMap<u64, Held>,
    /// Last number given to a lease or a consumer.
    last_number: u64,
    closed: bool,
}

#[derive(Default)]
struct LaneState {
    /// Jobs on the disk that are not acknowledged.
    jobs: u64,
    /// What these take on the disk, and what is being written.
    bytes: u64,
    /// Jobs that nobody holds.
    waiting: usize,
    /// Everything up to this id was leased at least once.
    cursor: i64,
    given_back: BTreeSet<i64>,
    /// A former process may have held what is up to this id.
    held_before: i64,
    /// What fair serving owes this lane.
    credit: i64,
}

struct Held {
    consumer: u64,
    jobs: Vec<Place>,
}

/// Where a job lies, and how much room it takes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lane: Lane,
    pub(crate) id: i64,
    pub(crate) bytes: u64,
}

/// What to read of one lane for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) lane: Lane,
    /// Ids that were given back; the oldest come first.
    pub(crate) given_back: Vec<i64>,
    /// Then this many after the cursor.
    pub(crate) fresh: usize,
    pub(crate) cursor: i64,
}

impl Lanes {
    /// Takes stock of what a former process left.
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Lanes> {
        const STOCK: &str = "
            SELECT lane, count(*), max(id), sum(length(CAST(delivery AS BLOB)) + length(body))
            FROM queue_job GROUP BY lane";
        const HELD_BEFORE: &str =
            "SELECT coalesce(max(id), 0) FROM (SELECT id FROM queue_job WHERE lane = ?1 ORDER BY id LIMIT ?2)";
        let mut state = State::default();
        let mut last_id = 0;
        let mut statement = connection.prepare(STOCK)?;
        let mut held_before = connection.prepare(HELD_BEFORE)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let jobs = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            last_id = last_id.max(row.get(2)?);
            if let Some(lane) = Lane::parse(&row.get::<_, String>(0)?) {
                let held_before = held_before.query_row(params![lane.label(), HELD_MAX], |row| row.get(0))?;
                let lane = &mut state.lanes[lane as usize];
                lane.held_before = held_before;
                lane.jobs = jobs as u64;
                lane.bytes = u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
                lane.waiting = jobs;
            }
        }
        Ok(Lanes {
            state: Mutex::new(state),
            changed: Notify::new(),
            choosing: tokio::sync::Mutex::new(()),
            next_id: AtomicI64::new(last_id + 1),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a job that is being written; only the writer's thread asks, so ids ascend in the order of commits.
    pub(crate) fn next_id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn new_consumer(&self) -> u64 {
        self.state().number()
    }

    /// Keeps room for a job that is about to be written; `None` where the lane has none.
    pub(crate) fn reserve(self: &Arc<Self>, lane: Lane, bytes: u64, max: u64) -> Option<Room> {
        let state = &mut self.state().lanes[lane as usize];
        if state.bytes > 0 && state.bytes.saturating_add(bytes) > max {
            return None;
        }
        state.bytes += bytes;
        Some(Room { lanes: self.clone(), lane, bytes })
    }

    /// A job of this lane was committed.
    fn published(&self, lane: Lane) {
        {
            let lane = &mut self.state().lanes[lane as usize];
            lane.jobs += 1;
            lane.waiting += 1;
        }
        self.changed.notify_waiters();
    }

    /// Divides a lease of at most `max` jobs among the lanes that have any. Call it while holding `choosing`.
    pub(crate) fn shares(&self, max: usize) -> Vec<Share> {
        let mut state = self.state();
        let counts = divide(&mut state.lanes, max);
        let share = |(lane, count): (Lane, usize)| {
            let kept = &state.lanes[lane as usize];
            let given_back: Vec<i64> = kept.given_back.iter().copied().take(count).collect();
            Share { lane, fresh: count - given_back.len(), given_back, cursor: kept.cursor }
        };
        Lane::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).map(share).collect()
    }

    /// Hides jobs until their lease ends. Answers the number of the lease.
    pub(crate) fn lease(&self, consumer: u64, jobs: Vec<Place>) -> u64 {
        let mut state = self.state();
        jobs.iter().for_each(|place| state.lanes[place.lane as usize].hide(place.id));
        let number = state.number();
        state.leases.insert(number, Held { consumer, jobs });
        number
    }

    /// Was this job held before, by us or perhaps by a former process? Ask before it is leased.
    pub(crate) fn was_held(&self, lane: Lane, id: i64) -> bool {
        let state = self.state();
        let lane = &state.lanes[lane as usize];
        lane.given_back.contains(&id) || id <= lane.held_before
    }

    /// Hides a job until the process ends.
    pub(crate) fn set_aside(&self, lane: Lane, id: i64) {
        self.state().lanes[lane as usize].hide(id);
    }

    /// Ends a lease; its jobs wait again. Nothing happens if it has ended.
    pub(crate) fn give_back(&self, lease: u64) {
        let held = self.state().leases.remove(&lease);
        if let Some(held) = held {
            self.show(&held.jobs);
        }
    }

    /// Ends all leases of a consumer.
    pub(crate) fn give_back_all(&self, consumer: u64) {
        let ended: Vec<Held> =
            self.state().leases.extract_if(|_, held| held.consumer == consumer).map(|(_, held)| held).collect();
        ended.iter().for_each(|held| self.show(&held.jobs));
    }

    fn show(&self, jobs: &[Place]) {
        {
            let mut state = self.state();
            for place in jobs {
                let lane = &mut state.lanes[place.lane as usize];
                lane.given_back.insert(place.id);
                lane.waiting += 1;
            }
        }
        self.changed.notify_waiters();
    }

    /// Ends a lease whose jobs are done. `None` if it had ended before.
    pub(crate) fn acknowledge(self: &Arc<Self>, lease: u64) -> Option<Leaving> {
        let mut state = self.state();
        let held = state.leases.remove(&lease)?;
        for place in &held.jobs {
            let lane = &mut state.lanes[place.lane as usize];
            lane.jobs = lane.jobs.saturating_sub(1);
            lane.bytes = lane.bytes.saturating_sub(place.bytes);
        }
        Some(Leaving { lanes: self.clone(), jobs: held.jobs })
    }

    /// Jobs per lane and their bytes, leased ones included.
    pub(crate) fn depths(&self) -> [(Lane, u64, u64); LANES] {
        let state = self.state();
        Lane::ALL.map(|lane| (lane, state.lanes[lane as usize].jobs, state.lanes[lane as usize].bytes))
    }

    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

impl LaneState {
    fn hide(&mut self, id: i64) {
        self.waiting = self.waiting.saturating_sub(1);
        self.given_back.remove(&id);
        self.cursor = self.cursor.max(id);
    }
}

/// Room for a job that is being written. Dropped before it is, be it because whoever publishes has gone, others have it.
pub(crate) struct Room {
    lanes: Arc<Lanes>,
    lane: Lane,
    bytes: u64,
}

impl Room {
    /// The job was committed.
    pub(crate) fn take(mut self) {
        self.bytes = 0;
        self.lanes.published(self.lane);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let lane = &mut self.lanes.state().lanes[self.lane as usize];
        lane.bytes = lane.bytes.saturating_sub(self.bytes);
    }
}

/// Jobs that are acknowledged and not deleted yet. Dropped before they are, they wait again.
pub(crate) struct Leaving {
    lanes: Arc<Lanes>,
    jobs: Vec<Place>,
}

impl Leaving {
    pub(crate) fn ids(&self) -> Vec<i64> {
        self.jobs.iter().map(|place| place.id).collect()
    }

    pub(crate) fn left(mut self) {
        self.jobs.clear();
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        {
            let mut state = self.lanes.state();
            for place in &self.jobs {
                let lane = &mut state.lanes[place.lane as usize];
                lane.jobs += 1;
                lane.bytes += place.bytes;
            }
        }
        self.lanes.show(&self.jobs);
    }
}

/// Hands out `max` places by weight, one at a time, each to the lane that was kept waiting most (smooth weighted round
/// robin). Credits outlive the call, so that small leases are fair too.
fn divide(lanes: &mut [LaneState; LANES], max: usize) -> [usize; LANES] {
    let mut counts = [0; LANES];
    for _ in 0..max {
        let waiting: Vec<Lane> =
            Lane::ALL.into_iter().filter(|lane| lanes[*lane as usize].waiting > counts[*lane as usize]).collect();
        let weight = |lane: Lane| i64::try_from(lane.weight()).unwrap_or(i64::MAX);
        for lane in &waiting {
            lanes[*lane as usize].credit += weight(*lane);
        }
        let Some(next) = waiting.iter().copied().max_by_key(|lane| lanes[*lane as usize].credit) else { break };
        lanes[next as usize].credit -= waiting.iter().copied().map(weight).sum::<i64>();
        counts[next as usize] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(counts: [usize; LANES]) -> [LaneState; LANES] {
        counts.map(|waiting| LaneState { waiting, ..LaneState::default() })
    }

    #[test]
    fn full_lanes_are_served_by_their_weights() {
        assert_eq!(divide(&mut waiting([1_000; LANES]), 256), [64, 32, 128, 32]);
    }

    #[test]
    fn what_a_lane_does_not_need_goes_to_the_others() {
        assert_eq!(divide(&mut waiting([1, 0, 0, 500]), 100), [1, 0, 0, 99]);
        assert_eq!(divide(&mut waiting([0; LANES]), 100), [0; LANES]);
    }

    #[test]
    fn leases_of_one_job_serve_all_lanes() {
        let mut lanes = waiting([1_000; LANES]);
        let mut served = [0; LANES];
        for _ in 0..256 {
            let counts = divide(&mut lanes, 1);
            served.iter_mut().zip(counts).for_each(|(served, count)| *served += count);
        }
        assert_eq!(served, [64, 32, 128, 32]);
    }
}
