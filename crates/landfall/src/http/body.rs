//! Reading a request's body under limits: size, time, and memory shared by all requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A body of any size may take this long …
const TIME_BASE: Duration = Duration::from_secs(5);
/// … and a second more for each of these that has arrived. actix-web itself would wait for ever.
const BYTES_PER_EXTRA_SECOND: usize = 128 * 1024;

const PERMIT_BYTES: usize = 4 * 1024;

/// Bytes in memory at once, over all requests.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    /// The byte budget is used up.
    Busy,
    /// The client went away, or the framing was broken.
    Broken,
}

/// A body and its share of the budget.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    _held: Vec<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Budget(Arc::new(Semaphore::new((bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS))))
    }

    fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        self.0.clone().try_acquire_many_owned(permits).map_err(|_| BodyError::Busy)
    }
}

/// Reads at most `max` bytes. `announced` is the Content-Length, if there was one.
pub(crate) async fn read(
    payload: &mut Payload,
    announced: Option<usize>,
    max: usize,
    budget: &Budget,
) -> Result<Body, BodyError> {
    if announced.is_some_and(|length| length > max) {
        return Err(BodyError::TooLarge);
    }
    let reserve = announced.unwrap_or(0);
    let mut held = vec![budget.hold(reserve.max(1))?];
    let mut reserved = reserve.max(PERMIT_BYTES);
    let mut bytes = BytesMut::with_capacity(reserve.min(64 * 1024));
    let started = Instant::now();
    loop {
        let allowed = TIME_BASE + Duration::from_secs((bytes.len() / BYTES_PER_EXTRA_SECOND) as u64);
        let chunk = match tokio::time::timeout_at(started + allowed, payload.next()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => return Ok(Body { bytes: bytes.freeze(), _held: held }),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(chunk))) => chunk,
        };
        if bytes.len() + chunk.len() > max {
            return Err(BodyError::TooLarge);
        }
        while bytes.len() + chunk.len() > reserved {
            held.push(budget.hold(reserved)?);
            reserved *= 2;
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// The answer to a request whose body nobody read to its end: its connection is closed. A payload that is let go before
/// the answer is written counts as one to be read on and thrown away, and of one in chunks that may take for ever.
pub(crate) fn close_unread(response: HttpResponse, payload: Payload) -> HttpResponse {
    response.map_body(|_, body| BoxBody::new(Unread { body, _payload: payload }))
}

/// Lives until the answer is written.
struct Unread {
    body: BoxBody,
    _payload: Payload,
}

impl MessageBody for Unread {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
