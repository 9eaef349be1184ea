//! Downloads, as from the object store behind Terra's `s3_payload` events. Its refusals are XML.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;

use crate::clock::stamp_of;
use crate::lock::lock;
use crate::payload::Payload;
use crate::world::World;

/// A download waits no longer than this.
const DELAY_MAX: Duration = Duration::from_secs(120);
static BLANKS: [u8; 64 * 1024] = [b' '; 64 * 1024];

pub(crate) async fn download(
    request: HttpRequest,
    world: web::Data<World>,
    id: web::Path<String>,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    answer(&request, &world, &id, &query, false).await
}

/// Where a payload that redirects to itself really is.
pub(crate) async fn moved(
    request: HttpRequest,
    world: web::Data<World>,
    id: web::Path<String>,
    query: web::Query<HashMap<String, String>>,
) -> HttpResponse {
    answer(&request, &world, &id, &query, true).await
}

async fn answer(
    request: &HttpRequest,
    world: &World,
    id: &str,
    query: &HashMap<String, String>,
    moved: bool,
) -> HttpResponse {
    let Some(payload) = lock(&world.payloads).find(id).filter(|payload| !payload.ping.vanish) else {
        return error(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.", "");
    };
    tokio::time::sleep(Duration::from_millis(payload.ping.delay_ms).min(DELAY_MAX)).await;
    if query.get("X-Amz-Signature") != Some(&payload.signature) {
        let message = "The request signature we calculated does not match the signature you provided.";
        return error(StatusCode::FORBIDDEN, "SignatureDoesNotMatch", message, "");
    }
    let now_ms = world.clock.unix_ms();
    if now_ms >= payload.expires_at_ms {
        let more = format!(
            "<X-Amz-Expires>{}</X-Amz-Expires><Expires>{}</Expires><ServerTime>{}</ServerTime>",
            payload.ping.expires_in,
            stamp_of(payload.expires_at_ms),
            stamp_of(now_ms),
        );
        return error(StatusCode::FORBIDDEN, "AccessDenied", "Request has expired", &more);
    }
    match payload.ping.redirect.as_deref() {
        Some(target) if !moved => {
            let own = || format!("{}/_simulator/payloads/{id}/moved?{}", world.public_url, request.query_string());
            let target = if target == "self" { own() } else { target.to_owned() };
            HttpResponse::Found().insert_header(("Location", target)).finish()
        }
        Some(_) | None => body(request, payload),
    }
}

fn body(request: &HttpRequest, payload: Payload) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type("application/json");
    if payload.ping.extra_bytes == 0 || request.method() == Method::HEAD {
        return response.body(payload.body);
    }
    response.body(Unannounced { body: Some(payload.body), blanks: payload.ping.extra_bytes })
}

fn error(status: StatusCode, code: &str, message: &str, more: &str) -> HttpResponse {
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>SIMULATED</RequestId></Error>"
    );
    HttpResponse::build(status).content_type("application/xml").body(xml)
}

/// A body whose length nobody was told, with blanks after its end.
struct Unannounced {
    body: Option<Bytes>,
    blanks: u64,
}

impl MessageBody for Unannounced {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if let Some(body) = self.body.take() {
            return Poll::Ready(Some(Ok(body)));
        }
        let length = BLANKS.len().min(usize::try_from(self.blanks).unwrap_or(usize::MAX));
        self.blanks -= length as u64;
        Poll::Ready((length > 0).then(|| Ok(Bytes::from_static(&BLANKS[..length]))))
    }
}
