//! Prints what this machine does; says nothing by itself.

use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_are_printed() {
    const BATCH: usize = 128;
    const BATCHES: usize = if cfg!(debug_assertions) { 2 } else { 60 };
    let bench = Bench::new(ReferencePolicy::IsTheUser);
    let filler = "x".repeat(2_500);
    let deliveries = (0..BATCH * BATCHES).map(|number| {
        let item = json!({
            "metadata": { "summary_id": format!("s{number}"), "start_time": "2026-01-01T00:00:00Z", "name": filler },
            "distance_data": { "summary": { "distance_meters": 12.5, "steps": number } },
        });
        let alias = format!("u{}", number % 500);
        delivery(&json!({ "type": "activity", "user": user(&alias, Some(&alias)), "data": [item] }), number as i64)
    });
    let batches: Vec<Vec<Prepared>> = deliveries.collect::<Vec<_>>().chunks(BATCH).map(<[Prepared]>::to_vec).collect();
    let started = Instant::now();
    for batch in &batches {
        bench.store.apply(batch, at(1_000)).await.unwrap();
    }
    let rate = (BATCH * BATCHES) as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} deliveries/s in batches of {BATCH} with one record each");
}
