//! Whose turn it is: urgent jobs first, users one after the other, each within the budget.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::budget::{Budget, Room, Spend, cost, room};
use super::{FetchJob, PRIORITY_URGENT};
use crate::id::AliasKey;

/// A user's due jobs of one priority, in the order in which they are to be made.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub alias: AliasKey,
    pub priority: u8,
    pub jobs: Vec<FetchJob>,
}

/// What goes out now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// (index of the candidate, index of its job)
    pub jobs: Vec<(usize, usize)>,
    /// Candidates without room in the budget, and when they have it.
    pub blocked: Vec<(usize, Timestamp)>,
}

/// Chooses at most `limit` jobs. `candidates` come by priority, and within one by how long they have not had a turn;
/// those of one priority take turns, job by job. `spends` are what each user has spent so far.
pub fn choose(
    candidates: &[Candidate],
    mut spends: BTreeMap<AliasKey, Vec<Spend>>,
    budget: &Budget,
    limit: usize,
    now: Timestamp,
) -> Choice {
    let mut choice = Choice::default();
    let mut first = 0;
    while let Some(leader) = candidates.get(first) {
        let of_priority = candidates[first..].iter().take_while(|one| one.priority == leader.priority).count();
        let mut turns: Vec<usize> = (first..first + of_priority).collect();
        let mut round = 0;
        while !turns.is_empty() && choice.jobs.len() < limit {
            turns.retain(|turn| {
                let candidate = &candidates[*turn];
                let Some(job) = candidate.jobs.get(round) else { return false };
                if choice.jobs.len() == limit {
                    return false;
                }
                let spent = spends.entry(candidate.alias.clone()).or_default();
                match room(spent, cost(job), candidate.priority == PRIORITY_URGENT, budget, now) {
                    Room::Now => {
                        spent.push(Spend { at: now, days: cost(job) });
                        choice.jobs.push((*turn, round));
                        true
                    }
                    Room::NotBefore(then) => {
                        choice.blocked.push((*turn, then));
                        false
                    }
                }
            });
            round += 1;
        }
        first += of_priority;
    }
    choice
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use terra::event::DataKind;

    use super::*;
    use crate::fetch::{FetchOrigin, Window, Wish, jobs};
    use crate::id::Environment;

    fn candidate(user: &str, priority: u8, days: i64, count: usize) -> Candidate {
        let alias = AliasKey::new(&Environment::new("e"), user);
        let end = date(2026, 1, 1).checked_add(jiff::Span::new().days(days)).unwrap();
        let wish = Wish {
            alias: &alias,
            provider: None,
            kinds: &[DataKind::Daily],
            days: Window { start: date(2026, 1, 1), end: date(2026, 1, 2) },
            origin: FetchOrigin::Request,
            cause: b"c",
            window_days_max: 1_825,
        };
        let job = FetchJob { window: Window { end, ..wish.days }, ..jobs(&wish).remove(0) };
        Candidate { alias, priority, jobs: vec![job; count] }
    }

    fn chosen(candidates: &[Candidate], limit: usize) -> Vec<(usize, usize)> {
        choose(candidates, BTreeMap::new(), &Budget::default(), limit, Timestamp::UNIX_EPOCH).jobs
    }

    #[test]
    fn what_is_urgent_goes_first_and_users_take_turns() {
        let candidates = [candidate("ann", 0, 1, 2), candidate("bob", 1, 1, 9), candidate("cid", 1, 1, 2)];
        assert_eq!(chosen(&candidates, 6), [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (2, 1)]);
        assert_eq!(chosen(&candidates, 3), [(0, 0), (0, 1), (1, 0)]);
        assert_eq!(chosen(&candidates, 99).len(), 13);
        assert_eq!(chosen(&[], 5), []);
    }

    #[test]
    fn the_budget_is_the_users_over_all_priorities() {
        let candidates = [candidate("ann", 0, 1_500, 3), candidate("ann", 1, 1_500, 2), candidate("bob", 1, 1_500, 1)];
        let choice = choose(&candidates, BTreeMap::new(), &Budget::default(), 99, Timestamp::UNIX_EPOCH);
        assert_eq!(choice.jobs, [(0, 0), (0, 1), (0, 2), (2, 0)]);
        assert!(matches!(choice.blocked[..], [(1, then)] if then > Timestamp::UNIX_EPOCH));
    }
}
