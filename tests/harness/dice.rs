//! A small generator of chance: the same seed, the same throws, so that a failure can be run again.

#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// A number below `limit`.
    pub fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// True in `percent` of the throws.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.up_to(100) < percent
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = usize::try_from(self.up_to(choices.len() as u64)).unwrap();
        &choices[index]
    }

    /// Another generator that does not disturb this one.
    pub fn fork(&mut self) -> Dice {
        Dice(self.up_to(1 << 31) << 31 | self.up_to(1 << 31))
    }
}
