//! Data that comes by itself, as it does from people who wear their devices.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::event::data_event;
use crate::generate::{Detail, daily_so_far, record, shifted};
use crate::lock::lock;
use crate::user::User;
use crate::world::World;

/// Kinds in turn. The day's totals come most often, as they are sent again whenever they grow.
const TURNS: [&str; 6] = ["daily", "activity", "daily", "sleep", "daily", "body"];

pub(crate) async fn run(world: Arc<World>, every: Duration) {
    for turn in 0_usize.. {
        tokio::time::sleep(every).await;
        let kind = TURNS[turn % TURNS.len()];
        let users: Vec<User> = lock(&world.users).all().cloned().collect();
        let events: Vec<Value> =
            users.iter().filter(|user| user.active).filter_map(|user| event(&world, user, kind)).collect();
        // Deliveries go on beside this loop.
        drop(world.announce(&events, Duration::ZERO));
    }
}

fn event(world: &World, user: &User, kind: &str) -> Option<Value> {
    let today = world.clock.today();
    let record = if kind == "daily" {
        let share = world.clock.unix_seconds().rem_euclid(86_400) as f64 / 86_400.0;
        daily_so_far(world.seed, &user.user_id, today, Detail::Summary, share)
    } else {
        // Yesterday's, for today's workout may still lie ahead.
        record(kind, world.seed, &user.user_id, shifted(today, -1), Detail::Summary)?
    };
    Some(data_event(kind, user, vec![record]))
}
