//! A log that forgets its oldest entries instead of growing.

use std::collections::VecDeque;

pub(crate) struct Ring<T> {
    items: VecDeque<T>,
    entries_max: usize,
}

impl<T: Clone> Ring<T> {
    pub(crate) fn holding(entries_max: usize) -> Self {
        Self { items: VecDeque::new(), entries_max }
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.items.len() == self.entries_max {
            self.items.pop_front();
        }
        self.items.push_back(item);
    }

    pub(crate) fn list(&self) -> Vec<T> {
        self.items.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.items.clear();
    }
}
