//! The numbers an operator looks at first.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use adapters::queue::Depth;
use adapters::store::Stats;
use serde_json::{Value, json};

use super::{items, private};
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

pub(super) async fn stats(_: Authorized<Ops>, app: web::Data<App>) -> Result<HttpResponse, Problem> {
    let stats = app.ports.store.stats(app.ports.clock.now()).await?;
    let mut shown = shown(&stats);
    shown["usage"] = super::stats::overview(&app).await?;
    shown["silence"] = super::silence::overview(&app).await?;
    shown["reconcile"] = super::reconciles::overview(&app).await?;
    Ok(private(StatusCode::OK, &shown))
}

/// Pairs and triples get names: positions in an array say nothing to who reads it.
fn shown(stats: &Stats) -> Value {
    let connection = |(status, provider, count): &(_, String, u64)| json!({ "status": status, "provider": provider, "count": count });
    let retry = |(lane, count): &(String, u64)| json!({ "lane": lane, "count": count });
    json!({
        "connections": stats.connections.iter().map(connection).collect::<Vec<Value>>(),
        "dead_letters": stats.dead_letters,
        "retries": stats.retries.iter().map(retry).collect::<Vec<Value>>(),
        "outbox_pending": stats.outbox_pending,
        "events_held": stats.events_held,
        "open_references": stats.open_references,
        "fetch_open": stats.fetch_open,
        "backfills_open": stats.backfills_open,
        "backfills_stalled": stats.backfills_stalled,
    })
}

/// What waits in each lane, leased jobs included; retries that wait in the store are in `/v1/stats`.
pub(super) async fn queues(_: Authorized<Ops>, app: web::Data<App>) -> Result<HttpResponse, Problem> {
    let lane = |depth: &Depth| {
        let oldest = depth.oldest.map(|age| age.as_secs_f64());
        json!({ "lane": depth.lane, "jobs": depth.jobs, "oldest_seconds": oldest })
    };
    let depths = app.ports.queue.depths().await?;
    Ok(items(depths.iter().map(lane).collect(), None))
}

#[cfg(test)]
mod tests {
    use domain::identity::Status;

    use super::*;

    #[test]
    fn counts_have_names() {
        let stats = Stats {
            connections: vec![(Status::Active, "GARMIN".into(), 3)],
            retries: vec![("live".into(), 2)],
            ..Stats::default()
        };
        let shown = shown(&stats);
        assert_eq!(shown["connections"][0], json!({ "status": "active", "provider": "GARMIN", "count": 3 }));
        assert_eq!(shown["retries"][0], json!({ "lane": "live", "count": 2 }));
    }
}
