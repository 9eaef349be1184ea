//! Who is silent, in numbers and in words.

use actix_web::{HttpResponse, web};
use adapters::store::{Silences, StaleView, StoreError};
use domain::silence::words;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Paged, items};
use crate::http::App;
use crate::http::auth::{Authorized, Ops};
use crate::http::problem::Problem;

/// Connections that are quiet while their provider delivers to others.
pub(super) async fn stale(
    _: Authorized<Ops>,
    app: web::Data<App>,
    asked: web::Query<Paged>,
) -> Result<HttpResponse, Problem> {
    let listing = app.ports.store.stale_connections(&asked.into_inner().page()?).await?;
    let now = app.ports.clock.now();
    Ok(items(listing.items.iter().map(|view| row(view, now)).collect(), listing.next))
}

fn row(view: &StaleView, now: Timestamp) -> Value {
    let mut row = json!(view);
    row["text"] = words::stale(view.provider.as_deref(), now.duration_since(view.last_data_at)).into();
    row
}

/// The part of `/v1/stats`.
pub(super) async fn overview(app: &App) -> Result<Value, StoreError> {
    Ok(shown(&app.ports.store.silences().await?, app.ports.clock.now()))
}

fn shown(silences: &Silences, now: Timestamp) -> Value {
    let providers: Vec<Value> = silences
        .providers
        .iter()
        .map(|silent| {
            let mut row = json!(silent);
            row["text"] = words::silent(&silent.channel, silent.users, now.duration_since(silent.since)).into();
            row
        })
        .collect();
    let stale: u64 = silences.stale.iter().map(|(_, count)| count).sum();
    let mut texts: Vec<Value> = providers.iter().map(|row| row["text"].clone()).collect();
    if stale > 0 {
        let by_provider: Vec<String> = silences
            .stale
            .iter()
            .map(|(provider, count)| format!("{} {count}", if provider.is_empty() { "unknown" } else { provider }))
            .collect();
        texts.push(
            format!("{stale} users are stale while their provider delivers to others: {}", by_provider.join(", "))
                .into(),
        );
    }
    let by_provider = |(provider, count): &(String, u64)| json!({ "provider": provider, "connections": count });
    json!({
        "texts": texts,
        "providers": providers,
        "stale": { "connections": stale, "by_provider": silences.stale.iter().map(by_provider).collect::<Vec<_>>() },
    })
}

#[cfg(test)]
mod tests {
    use adapters::store::SilentView;
    use domain::id::Environment;
    use domain::silence::Channel;

    use super::*;

    #[test]
    fn silence_is_shown_in_words() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let channel =
            Channel { environment: Environment::new("default"), provider: "OURA".into(), kind: "sleep".into() };
        let silences = Silences {
            providers: vec![SilentView { channel, since: at("2026-03-01T06:00:00Z"), users: 412 }],
            stale: vec![("GARMIN".into(), 3), (String::new(), 1)],
        };
        let shown = shown(&silences, at("2026-03-01T12:00:00Z"));
        assert_eq!(
            shown["texts"],
            json!([
                "no sleep from OURA for 6 h, 412 users",
                "4 users are stale while their provider delivers to others: GARMIN 3, unknown 1"
            ])
        );
        assert_eq!(shown["providers"][0]["type"], "sleep");
        assert_eq!(shown["stale"]["connections"], 4);
    }
}
