//! What the payload store holds, between two countings: to list it costs seconds, and a gauge is read every few.
//! A figure for people, not a book: a bucket does not say whether what it removes was there, and an object that is put
//! again under its key counts twice until the next counting.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Tally(Mutex<Option<Held>>);

struct Held {
    objects: u64,
    bytes: u64,
}

impl Tally {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it was counted just now: what went wrong since the last time, or was done by others, is in it.
    pub(super) fn counted(&self, objects: u64, bytes: u64) {
        *self.held() = Some(Held { objects, bytes });
    }

    pub(super) fn added(&self, bytes: u64) {
        if let Some(held) = &mut *self.held() {
            held.objects += 1;
            held.bytes += bytes;
        }
    }

    pub(super) fn removed(&self, bytes: u64) {
        if let Some(held) = &mut *self.held() {
            held.objects = held.objects.saturating_sub(1);
            held.bytes = held.bytes.saturating_sub(bytes);
        }
    }

    pub(super) fn now(&self) -> Option<(u64, u64)> {
        self.held().as_ref().map(|held| (held.objects, held.bytes))
    }
}
