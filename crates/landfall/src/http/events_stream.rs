//! The event log as server-sent events: everything after a position, then whatever comes.

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use domain::outgoing::Published;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::App;
use super::api::events::position;
use super::auth::{Authorized, Events};
use super::problem::Problem;

/// Readers at once. Each asks the store every second.
const STREAMS_MAX: usize = 100;
static STREAMS: Semaphore = Semaphore::const_new(STREAMS_MAX);

const BATCH: u32 = 200;

/// Another process may number events: its bell does not ring here.
const POLL: Duration = Duration::from_secs(1);

/// Something to read at least this often, or a proxy takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a browser waits before it connects again.
const HELLO: &str = "retry: 2000\n: the event log from here on\n\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    after: Option<String>,
}

/// `Last-Event-ID` is where a browser stood when it lost the connection: it counts more than where it once began.
pub(super) async fn stream(
    _: Authorized<Events>,
    app: web::Data<App>,
    request: HttpRequest,
    start: web::Query<Start>,
) -> Result<HttpResponse, Problem> {
    let last = request.headers().get("last-event-id").and_then(|value| value.to_str().ok());
    let start = last.map(str::to_owned).or(start.into_inner().after).filter(|text| !text.is_empty());
    let position = position(start)?;
    let permit = STREAMS
        .try_acquire()
        .map_err(|_| Problem::unavailable("too_many_streams", format!("at most {STREAMS_MAX} readers at once")))?;
    let reader = Reader { app: app.get_ref().clone(), position, spoke_at: None, _permit: permit };
    let stream = stream::unfold(reader, |mut reader| async move {
        let chunk = reader.next().await?;
        Some((Ok::<Bytes, actix_web::Error>(chunk), reader))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would collect events instead of handing them on.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

struct Reader {
    app: App,
    position: i64,
    spoke_at: Option<Instant>,
    _permit: SemaphorePermit<'static>,
}

impl Reader {
    /// Waits for the next thing to say; `None` once we stop. A store that is away ends nothing: the reader would not
    /// come back by itself from an error, so it hears heartbeats until there are events again.
    async fn next(&mut self) -> Option<Bytes> {
        let Some(spoke_at) = self.spoke_at else { return Some(self.say(HELLO.into())) };
        let numbered = self.app.ports.events_numbered.clone();
        while !self.app.stop.is_cancelled() {
            let bell = numbered.notified();
            match self.app.ports.store.events_after(self.position, BATCH).await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => {
                    self.position = events.last().map_or(self.position, |event| event.position);
                    let frames: String = events.iter().map(frame).collect();
                    return Some(self.say(frames));
                }
                Err(error) => debug!(cause = %error, "a reader of events waits for the store"),
            }
            if spoke_at.elapsed() >= HEARTBEAT {
                return Some(self.say(": alive\n\n".into()));
            }
            tokio::select! {
                () = bell => {}
                () = sleep(POLL) => {}
                () = self.app.stop.cancelled() => return None,
            }
        }
        None
    }

    fn say(&mut self, text: String) -> Bytes {
        self.spoke_at = Some(Instant::now());
        text.into()
    }
}

/// One event. JSON on one line holds no line break, so one `data` field is enough.
fn frame(event: &Published) -> String {
    format!("id: {}\nevent: {}\ndata: {}\n\n", event.position, event.event_type(), event.structured())
}

#[cfg(test)]
mod tests {
    use domain::id::{Environment, EventId};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_frame_has_position_type_and_one_line_of_data() {
        let event = Published {
            position: 7,
            id: EventId(uuid::Uuid::nil()),
            environment: Environment::new("default"),
            subject: None,
            entity: "activity".into(),
            verb: "upserted".into(),
            provider: Some("GARMIN".into()),
            time: Timestamp::UNIX_EPOCH,
            data: json!({ "key": "two\nlines" }),
        };
        let frame = frame(&event);
        let lines: Vec<&str> = frame.lines().collect();
        assert_eq!(lines[..2], ["id: 7", "event: landfall.activity.upserted.v1"]);
        assert!(lines[2].starts_with("data: {") && frame.ends_with("}\n\n"));
        assert_eq!(lines.len(), 4);
    }
}
