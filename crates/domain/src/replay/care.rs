//! What was in hand when a process died is worked with care: alone, and not again and again.
//!
//! What a step takes is written into the run before it is worked. Whoever goes on and finds there what another process
//! took, and it is still first in line, knows that this process did not come back from it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::DeliveryId;

/// Deaths beside a delivery that was alone before it counts as their cause. What goes on beside a replay in the same
/// process may be the cause of one.
pub const DEATHS_MAX: u32 = 2;

/// What a step took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InHand {
    /// The first of them.
    pub first: DeliveryId,
    pub deliveries: u32,
    /// Processes that died when this one was alone.
    pub deaths: u32,
    /// So many, with these, are still to be taken one by one.
    pub singly: u32,
}

/// How the next step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    Together,
    Alone {
        deaths: u32,
        singly: u32,
    },
    /// It ended too many processes.
    Leave {
        singly: u32,
    },
}

/// Decides on a step that begins with `first`. `is_ours`: what is found in hand was taken by this very process, which
/// lives.
pub fn care(found: Option<&InHand>, first: DeliveryId, is_ours: bool) -> Care {
    let Some(found) = found else { return Care::Together };
    if is_ours || found.first != first {
        return match found.singly.saturating_sub(1) {
            0 => Care::Together,
            singly => Care::Alone { deaths: 0, singly },
        };
    }
    if found.deliveries > 1 {
        return Care::Alone { deaths: 0, singly: found.deliveries };
    }
    match found.deaths + 1 {
        DEATHS_MAX.. => Care::Leave { singly: found.singly.saturating_sub(1) },
        deaths => Care::Alone { deaths, singly: found.singly.max(1) },
    }
}

impl Care {
    /// How many of those at hand the step takes.
    pub fn deliveries(self, at_hand: usize) -> usize {
        if self == Care::Together { at_hand } else { at_hand.min(1) }
    }

    /// What to write down before the step.
    pub fn in_hand(self, first: DeliveryId, deliveries: u32) -> InHand {
        match self {
            Care::Together => InHand { first, deliveries, deaths: 0, singly: 0 },
            Care::Alone { deaths, singly } => InHand { first, deliveries, deaths, singly },
            // Settled without being worked; whoever starts the run again begins anew.
            Care::Leave { singly } => {
                InHand { first: DeliveryId(Uuid::nil()), deliveries: 0, deaths: 0, singly: singly + 1 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> DeliveryId {
        DeliveryId(Uuid::from_u128(number))
    }

    /// Works deliveries 1..=`count`, of which some end whoever works them, `step` at a time; answers deaths, and those
    /// that were left.
    #[track_caller]
    fn check_run(count: u128, step: usize, deadly: &[u128], deaths_max: u32, left: &[u128]) {
        let mut waiting: Vec<u128> = (1..=count).collect();
        let (mut in_hand, mut deaths, mut is_ours, mut given_up) = (None::<InHand>, 0, false, Vec::new());
        while let Some(&next) = waiting.first() {
            let care = care(in_hand.as_ref(), id(next), is_ours);
            let taken = care.deliveries(waiting.len().min(step));
            in_hand = Some(care.in_hand(id(next), u32::try_from(taken).unwrap()));
            is_ours = true;
            if let Care::Leave { .. } = care {
                given_up.push(waiting.remove(0));
            } else if waiting[..taken].iter().any(|number| deadly.contains(number)) {
                (deaths, is_ours) = (deaths + 1, false);
                assert!(deaths <= deaths_max, "{deaths} deaths");
            } else {
                waiting.drain(..taken);
            }
        }
        assert_eq!(given_up, left);
    }

    #[test]
    fn what_ends_its_process_is_left_and_nothing_beside_it() {
        check_run(50, 50, &[], 0, &[]);
        check_run(50, 50, &[25], 3, &[25]);
        check_run(50, 1, &[25], 2, &[25]);
        check_run(50, 10, &[1, 50], 6, &[1, 50]);
        check_run(120, 50, &[3, 4, 60], 8, &[3, 4, 60]);
    }

    #[test]
    fn a_death_that_was_another_s_fault_leaves_nothing() {
        let alone = Care::Alone { deaths: 0, singly: 1 }.in_hand(id(7), 1);
        assert_eq!(care(Some(&alone), id(7), false), Care::Alone { deaths: 1, singly: 1 });
        assert_eq!(care(Some(&alone), id(8), false), Care::Together, "it was settled before its process ended");
    }

    #[test]
    fn what_was_left_begins_anew_when_the_run_is_started_again() {
        let left = Care::Leave { singly: 0 }.in_hand(id(7), 0);
        assert_eq!(care(Some(&left), id(7), false), Care::Together);
    }
}
