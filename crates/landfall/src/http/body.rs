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

/// How long a body may stay behind its pace. actix-web itself would wait for ever.
const PATIENCE: Duration = Duration::from_secs(4);
/// The pace. What comes faster earns no right to pause for longer.
const BYTES_PER_SECOND: u64 = 128 * 1024;

const PERMIT_BYTES: usize = 4 * 1024;

/// What nearly every webhook is smaller than.
const LARGE_BYTES: usize = 1024 * 1024;

/// Bytes in memory at once, over all requests. Large bodies may use three quarters of it: nobody has been asked for a
/// signature yet that is good, and whoever sends a few of them must not keep the ordinary ones out.
#[derive(Clone)]
pub(crate) struct Budget {
    all: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

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
    _share: Share,
}

impl Budget {
    /// `body_max`: the largest body there is room for, alone at least.
    pub(crate) fn new(bytes: usize, body_max: usize) -> Self {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes.div_ceil(PERMIT_BYTES).min(Semaphore::MAX_PERMITS)));
        let bytes = bytes.max(body_max);
        Budget { all: of(bytes), large: of((bytes - bytes / 4).max(body_max)) }
    }

    /// Whether there is room for a body of this size just now.
    fn has_room(&self, bytes: usize) -> bool {
        let room = |of: &Semaphore| of.available_permits().saturating_mul(PERMIT_BYTES) >= bytes;
        room(&self.all) && (bytes <= LARGE_BYTES || room(&self.large))
    }
}

/// What one body holds of the budget: what has arrived of it, not what it says that it is.
#[derive(Default)]
struct Share {
    bytes: usize,
    is_large: bool,
    _held: Vec<OwnedSemaphorePermit>,
}

impl Share {
    /// Grows to at least so many bytes of the `max` that there can be.
    fn grow(&mut self, bytes: usize, max: usize, budget: &Budget) -> Result<(), BodyError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        // Twice as much each time, so that a large body does not ask a thousand times.
        let grown = bytes.max(self.bytes.saturating_mul(2).min(max)).next_multiple_of(PERMIT_BYTES);
        self.hold(&budget.all, grown - self.bytes)?;
        let is_large = grown > LARGE_BYTES;
        if is_large {
            self.hold(&budget.large, if self.is_large { grown - self.bytes } else { grown })?;
        }
        (self.bytes, self.is_large) = (grown, is_large);
        Ok(())
    }

    fn hold(&mut self, of: &Arc<Semaphore>, bytes: usize) -> Result<(), BodyError> {
        let permits = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX);
        self._held.push(of.clone().try_acquire_many_owned(permits).map_err(|_| BodyError::Busy)?);
        Ok(())
    }
}

/// Reads at most `max` bytes. `announced` is the Content-Length, if there was one.
pub(crate) async fn read(
    payload: &mut Payload,
    announced: Option<usize>,
    max: usize,
    budget: &Budget,
) -> Result<Body, BodyError> {
    let expected = announced.unwrap_or(max);
    if expected > max {
        return Err(BodyError::TooLarge);
    }
    if announced.is_some_and(|bytes| !budget.has_room(bytes)) {
        return Err(BodyError::Busy);
    }
    let mut share = Share::default();
    share.grow(1, expected, budget)?;
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or_default().min(64 * 1024));
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        let chunk = match tokio::time::timeout_at(deadline, payload.next()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => return Ok(Body { bytes: bytes.freeze(), _share: share }),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(chunk))) => chunk,
        };
        if bytes.len() + chunk.len() > max {
            return Err(BodyError::TooLarge);
        }
        share.grow(bytes.len() + chunk.len(), expected, budget)?;
        bytes.extend_from_slice(&chunk);
        let earned = Duration::from_micros(chunk.len() as u64 * 1_000_000 / BYTES_PER_SECOND);
        deadline = (deadline + earned).min(Instant::now() + PATIENCE);
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
