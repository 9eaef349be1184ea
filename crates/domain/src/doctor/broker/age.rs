//! How long a queue's deliveries have waited, from what the broker remembers of its length.
//!
//! RabbitMQ 3.10 tells no time of a quorum queue's first message. Messages leave in the order in which they came: what was
//! there at some time is all gone once as many were taken since.

use std::time::Duration;

use super::super::{Area, Finding};
use super::{Queue, bad, good};

const CHECK: &str = "queue_age";

/// As long as the alarm LandfallOldestWaiting allows.
const AGE_MAX: Duration = Duration::from_secs(300);

/// A queue at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    pub ago: Duration,
    pub messages: u64,
    /// Messages acknowledged since the broker counts.
    pub taken: u64,
}

/// How long the first message has been there at least; `None`: there is none.
///
/// `samples` are of one queue, the newest first. No more of the messages of one time can be left than were there, less
/// those taken since; so all samples since then have to agree.
pub fn waiting_for(samples: &[Sample]) -> Option<Duration> {
    let taken = samples.first()?.taken;
    let is_left = |sample: &&Sample| sample.messages > taken.saturating_sub(sample.taken);
    samples.iter().take_while(is_left).last().map(|sample| sample.ago)
}

pub(super) fn judge(queues: &[Queue]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut longest = Duration::ZERO;
    for queue in queues {
        let name = &queue.name;
        if queue.samples.is_empty() {
            let text = format!("the management API tells no history of {name}");
            let fix = "ask again in a minute if it is new; else turn RabbitMQ's statistics on (rates_mode = basic)";
            findings.push(Finding::not_checked(Area::Broker, CHECK, text, fix));
            continue;
        }
        let age = waiting_for(&queue.samples).unwrap_or_default();
        longest = longest.max(age);
        if age > AGE_MAX {
            let (messages, minutes) = (queue.messages, age.as_secs() / 60);
            let text = match queue.consumers {
                0 => {
                    format!("{name} has {messages} messages, waiting for {minutes} min or longer, and nobody takes any")
                }
                _ => format!("{name} has {messages} messages, of which some have waited for {minutes} min or longer"),
            };
            let fix =
                "start workers, or see in their log what they wait for: LandfallOldestWaiting in deploy/README.md";
            findings.push(bad(CHECK, text, fix));
        }
    }
    if findings.is_empty() && !queues.is_empty() {
        let text = match longest.as_secs() {
            0 => "nothing has waited in the queues for more than a moment".to_owned(),
            seconds => format!("what waits in the queues has waited for {seconds} s"),
        };
        findings.push(good(CHECK, text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths and what was taken in all, the newest first, one minute apart.
    #[track_caller]
    fn check(history: &[(u64, u64)], expected: Option<u64>) {
        let sample = |(minute, (messages, taken)): (u64, &(u64, u64))| Sample {
            ago: Duration::from_secs(minute * 60),
            messages: *messages,
            taken: *taken,
        };
        let samples: Vec<Sample> = (0..).zip(history).map(sample).collect();
        assert_eq!(waiting_for(&samples), expected.map(|minutes| Duration::from_secs(minutes * 60)));
    }

    #[test]
    fn nothing_waits_in_an_empty_queue() {
        check(&[], None);
        check(&[(0, 9), (5, 4), (9, 0)], None);
    }

    #[test]
    fn what_nobody_takes_gets_older() {
        check(&[(7, 0), (5, 0), (1, 0), (0, 0)], Some(2));
        check(&[(7, 50), (7, 50), (7, 50)], Some(2));
    }

    #[test]
    fn a_long_queue_that_is_worked_off_is_no_older_than_what_was_not_taken_since() {
        // Two hundred are taken each minute: those of three minutes ago are all gone, of the 450 a minute later 50 are left.
        check(&[(400, 1_000), (420, 800), (450, 600), (400, 400)], Some(2));
        check(&[(1, 100), (1, 99), (1, 98)], Some(0));
    }

    #[test]
    fn what_left_in_another_way_is_not_there_any_more() {
        check(&[(3, 0), (2, 0), (0, 0), (900, 0)], Some(1));
    }
}
