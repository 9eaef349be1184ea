//! Properties over seeded chance: a seed that fails is in the message.

use domain::delivery::{Admission, Delivery, Origin};
use domain::id::{DeliveryId, Environment};
use jiff::Timestamp;
use terra::headers::DeliveryHeaders;
use uuid::Uuid;

use super::*;

const SEEDS: std::ops::Range<u64> = 1..400;

/// Xorshift: enough for tests.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.below(256) as u8).collect()
    }

    fn text(&mut self) -> Option<String> {
        let some = self.below(3) > 0;
        some.then(|| String::from_utf8_lossy(&self.bytes(40)).into_owned())
    }

    fn jobs(&mut self) -> Vec<Job> {
        (0..=self.below(12)).map(|_| self.job()).collect()
    }

    fn job(&mut self) -> Job {
        let body = self.bytes(300);
        let delivery = Delivery {
            id: DeliveryId(Uuid::from_u128(u128::from(self.0))),
            environment: Environment::new("default"),
            received_at: Timestamp::UNIX_EPOCH,
            t_seconds: 1_700_000_000,
            headers: DeliveryHeaders { trace_id: self.text(), reference: self.text(), ordering_ms: Some(1) },
            type_name: self.text(),
            terra_user_id: self.text(),
            event_id: None,
            body_digest: [1; 32],
            signed_digest: [2; 32],
            size_bytes: body.len() as u64,
            admission: Admission::Fresh,
            origin: Origin::Live,
        };
        Job { delivery, body: Sealed(body.into()) }
    }
}

#[test]
fn what_was_encoded_comes_back() {
    for seed in SEEDS {
        let jobs = Dice(seed).jobs();
        let message = encode(&jobs);
        assert_eq!(count(&message), jobs.len(), "seed {seed}");
        assert_eq!(decode(message.into()), Ok(jobs), "seed {seed}");
    }
}

#[test]
fn any_bytes_are_an_answer_and_no_panic() {
    for seed in SEEDS {
        let mut dice = Dice(seed);
        let noise = dice.bytes(600);
        let mut damaged = encode(&dice.jobs());
        for _ in 0..8 {
            let place = dice.below(damaged.len());
            damaged[place] = dice.below(256) as u8;
        }
        for message in [noise, damaged] {
            count(&message);
            let _ = decode(message.into());
        }
    }
}

#[test]
fn a_message_cut_inside_a_delivery_is_refused() {
    for seed in SEEDS {
        let mut dice = Dice(seed);
        let jobs = dice.jobs();
        let message = encode(&jobs);
        let last = encode(&jobs[jobs.len() - 1..]).len();
        let cut = message.len() - 1 - dice.below(last - 1);
        let rest = Bytes::copy_from_slice(&message[..cut]);
        assert_eq!(decode(rest), Err(Unreadable::CutShort), "seed {seed}");
    }
}

#[test]
fn nothing_is_not_a_delivery() {
    assert_eq!(decode(Bytes::new()), Err(Unreadable::Empty));
}
