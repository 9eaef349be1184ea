//! What is different for one user: people of a scenario have a history and a budget of their own, so
//! that scenarios do not disturb one another.

use crate::lock::lock;
use crate::rate_limit::Budget;
use crate::settings::Amount;
use crate::world::World;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Whims {
    pub(crate) seed: Option<u64>,
    pub(crate) data: Option<Amount>,
    pub(crate) history_days: Option<u32>,
    pub(crate) budget: Option<Budget>,
}

/// From which the generators draw somebody's data.
pub(crate) fn seed_of(world: &World, user_id: &str) -> u64 {
    of(world, user_id).seed.unwrap_or(world.seed)
}

pub(crate) fn budget_of(world: &World, user_id: &str) -> Budget {
    of(world, user_id).budget.unwrap_or_else(|| lock(&world.dials).budget)
}

/// How much data somebody has, and for how many days.
pub(crate) fn history_of(world: &World, user_id: &str) -> (Amount, u32) {
    let whims = of(world, user_id);
    let dials = lock(&world.dials);
    (whims.data.unwrap_or(dials.data), whims.history_days.unwrap_or(dials.history_days))
}

fn of(world: &World, user_id: &str) -> Whims {
    lock(&world.whims).get(user_id).copied().unwrap_or_default()
}
