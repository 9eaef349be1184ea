//! Everything that is known of a person, as one stream of lines of JSON: what they have a right to see.
//!
//! The first line says whose export it is, the last one counts the lines before it: a stream without that line was cut.

use std::collections::BTreeMap;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::{HttpResponse, web};
use adapters::store::view::LIMIT_MAX;
use adapters::store::{
    AuthEventFilter, BackfillFilter, ConnectionFilter, DeliveryFilter, FetchFilter, Listing, Page, RecordView, Span,
};
use bytes::Bytes;
use domain::id::{Environment, UserId};
use domain::session::ConnectSession;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use terra::event::DataKind;
use tracing::{error, info};

use super::records::document_of;
use super::user_of;
use crate::http::App;
use crate::http::auth::{Authorized, Privacy};
use crate::http::problem::Problem;

/// Records of one page; each comes with its document, which may be large.
const RECORDS_AT_ONCE: u32 = 50;
const DOCUMENTS_AT_ONCE: usize = 8;

pub(super) async fn stream(
    caller: Authorized<Privacy>,
    app: web::Data<App>,
    user: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let user = user_of(&user)?;
    let now = app.ports.clock.now();
    app.ports.store.write_audit(&caller.actor.0, "export", user.as_str(), &json!({}), now).await?;
    info!(actor = %caller.actor.0, "began an export");
    let export = Export {
        app: app.get_ref().clone(),
        user,
        part: Some(Part::Begin),
        after: None,
        position: 0,
        aliases: Vec::new(),
        counts: BTreeMap::new(),
        now,
    };
    let lines = stream::try_unfold(export, |mut export| async move {
        let lines =
            export.next().await.inspect_err(|problem| error!(code = problem.code, "an export was cut short"))?;
        Ok::<_, actix_web::Error>(lines.map(|lines| (lines, export)))
    });
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"export.ndjson\""))
        .streaming(lines))
}

/// What comes next. Every part but the first and the last is a listing, page after page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Begin,
    Connections,
    AuthEvents,
    Sessions,
    /// The kind, by its place.
    Records(usize),
    /// The alias, by its place.
    Deliveries(usize),
    Events,
    Fetches,
    Backfills,
    End,
}

struct Export {
    app: App,
    user: UserId,
    part: Option<Part>,
    /// Cursor of the part's next page.
    after: Option<String>,
    position: i64,
    aliases: Vec<(Environment, String)>,
    counts: BTreeMap<&'static str, u64>,
    now: Timestamp,
}

impl Export {
    /// The lines of the next page that has any; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        while let Some(part) = self.part {
            let lines = self.page(part).await?;
            if !lines.is_empty() {
                return Ok(Some(lines.into()));
            }
        }
        Ok(None)
    }

    async fn page(&mut self, part: Part) -> Result<String, Problem> {
        let store = self.app.ports.store.clone();
        let page = Page { after: self.after.take(), limit: LIMIT_MAX };
        let user = Some(self.user.clone());
        match part {
            Part::Begin => {
                self.part = Some(Part::Connections);
                Ok(format!("{}\n", json!({ "part": "export", "user": self.user, "at": self.now })))
            }
            Part::Connections => {
                let filter = ConnectionFilter { user, ..ConnectionFilter::default() };
                let listing = store.connections(&filter, &page).await?;
                for connection in &listing.items {
                    let names = connection.aliases.iter().map(|alias| alias.terra_user_id.clone());
                    self.aliases.extend(names.map(|name| (connection.environment.clone(), name)));
                }
                self.listed("connection", listing, Part::AuthEvents)
            }
            Part::AuthEvents => {
                let filter = AuthEventFilter { user, ..AuthEventFilter::default() };
                self.listed("auth_event", store.auth_events(&filter, &page).await?, Part::Sessions)
            }
            Part::Sessions => {
                let sessions = store.sessions_of(&self.user).await?;
                self.part = Some(Part::Records(0));
                self.lines("connect_session", sessions.iter().map(|session| shown(session, self.now)).collect())
            }
            Part::Records(place) => self.records(place, page.after).await,
            Part::Deliveries(place) => {
                let Some((environment, name)) = self.aliases.get(place).cloned() else {
                    self.part = Some(Part::Events);
                    return Ok(String::new());
                };
                let filter = DeliveryFilter {
                    terra_user_id: Some(name),
                    environment: Some(environment),
                    ..DeliveryFilter::default()
                };
                self.listed("delivery", store.deliveries(&filter, &page).await?, Part::Deliveries(place + 1))
            }
            Part::Events => {
                let events = store.events_of(&self.user, self.position, LIMIT_MAX).await?;
                match events.last() {
                    Some(last) => self.position = last.position,
                    None => self.part = Some(Part::Fetches),
                }
                self.lines("event", events.iter().map(|event| event.structured()).collect())
            }
            Part::Fetches => {
                let filter = FetchFilter { user, ..FetchFilter::default() };
                self.listed("fetch", store.fetches(&filter, &page).await?, Part::Backfills)
            }
            Part::Backfills => {
                let filter = BackfillFilter { user, state: None };
                self.listed("backfill", store.backfills(&filter, &page, self.now).await?, Part::End)
            }
            Part::End => {
                self.part = None;
                Ok(format!("{}\n", json!({ "part": "end", "lines": self.counts })))
            }
        }
    }

    /// Each record with Terra's whole object.
    async fn records(&mut self, place: usize, after: Option<String>) -> Result<String, Problem> {
        let Some(kind) = DataKind::ALL.get(place).copied() else {
            self.part = Some(Part::Deliveries(0));
            return Ok(String::new());
        };
        let page = Page { after, limit: RECORDS_AT_ONCE };
        let listing = self.app.ports.store.records(&self.user, kind, Span::default(), &page).await?;
        let app = &self.app;
        let whole = listing.items.iter().map(|record| with_document(app, record));
        let whole: Vec<Value> = stream::iter(whole).buffered(DOCUMENTS_AT_ONCE).try_collect().await?;
        self.go_on(listing.next, Part::Records(place + 1));
        self.lines("record", whole)
    }

    fn listed<T: Serialize>(&mut self, part: &'static str, listing: Listing<T>, then: Part) -> Result<String, Problem> {
        self.go_on(listing.next, then);
        let values = listing.items.iter().map(serde_json::to_value).collect::<Result<Vec<Value>, _>>();
        self.lines(part, values.map_err(|_| Problem::unavailable("unreadable", "a row cannot be shown"))?)
    }

    fn go_on(&mut self, next: Option<String>, then: Part) {
        if next.is_none() {
            self.part = Some(then);
        }
        self.after = next;
    }

    fn lines(&mut self, part: &'static str, values: Vec<Value>) -> Result<String, Problem> {
        *self.counts.entry(part).or_default() += values.len() as u64;
        Ok(values.into_iter().map(|value| format!("{}\n", json!({ "part": part, "value": value }))).collect())
    }
}

async fn with_document(app: &App, record: &RecordView) -> Result<Value, Problem> {
    let mut value = json!(record);
    let document = document_of(app, record.id).await?;
    // A number that no number of ours can hold stands in the text only.
    value["document"] = serde_json::from_str(&document).unwrap_or(Value::String(document));
    Ok(value)
}

/// The digest of the state stays here: it opens nothing and is nobody's.
fn shown(session: &ConnectSession, now: Timestamp) -> Value {
    json!({
        "id": session.id,
        "environment": session.environment,
        "reference_id": session.reference,
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "returned_at": session.returned_at,
        "status": session.state_at(now).label(),
        "terra_user_id": session.terra_user_id,
        "provider": session.provider,
        "reason": session.reason,
    })
}
