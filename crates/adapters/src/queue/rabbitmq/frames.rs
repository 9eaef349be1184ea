//! The body of a message: one delivery or several that came together.
//!
//! Each is a frame: the length of its header, the header (the delivery's metadata as JSON), the length of its body, the
//! sealed body. Lengths are four bytes, big-endian.

use bytes::{Buf, BufMut, Bytes};
use lapin::BasicProperties;

use crate::payloads::Sealed;
use crate::queue::Job;

pub(super) const CONTENT_TYPE: &str = "application/vnd.landfall.deliveries.v1";

/// Metadata has some 700 bytes; every text in it is bounded.
const HEADER_BYTES_MAX: usize = 64 * 1_024;

/// Far above what a publisher puts together.
const JOBS_MAX: usize = 10_000;

/// The message is not one of ours; what is wrong, without its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("its content type is another")]
    Foreign,
    #[error("it holds no delivery")]
    Empty,
    #[error("it holds more than {JOBS_MAX} deliveries")]
    TooMany,
    #[error("it is cut short")]
    CutShort,
    #[error("the metadata of a delivery are unreadable")]
    Header,
}

pub(super) fn encode<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<u8> {
    let mut message = Vec::new();
    for job in jobs {
        let header = serde_json::to_vec(&job.delivery).expect("invariant: metadata is plain data, written to memory");
        put(&mut message, &header);
        put(&mut message, &job.body.0);
    }
    message
}

/// Reads a message as it came; bodies share its memory.
pub(super) fn read(properties: &BasicProperties, data: Vec<u8>) -> Result<Vec<Job>, Unreadable> {
    let content_type = properties.content_type().as_ref();
    if content_type.is_none_or(|name| name.as_str() != CONTENT_TYPE) {
        return Err(Unreadable::Foreign);
    }
    decode(Bytes::from(data))
}

fn decode(mut message: Bytes) -> Result<Vec<Job>, Unreadable> {
    let mut jobs = Vec::new();
    while message.has_remaining() {
        if jobs.len() == JOBS_MAX {
            return Err(Unreadable::TooMany);
        }
        let header = take(&mut message)?;
        if header.len() > HEADER_BYTES_MAX {
            return Err(Unreadable::Header);
        }
        let delivery = serde_json::from_slice(&header).map_err(|_| Unreadable::Header)?;
        let body = Sealed(take(&mut message)?);
        jobs.push(Job { delivery, body });
    }
    if jobs.is_empty() { Err(Unreadable::Empty) } else { Ok(jobs) }
}

/// How many deliveries a message holds, by its lengths alone.
pub(super) fn count(mut message: &[u8]) -> usize {
    let mut parts = 0;
    while let Ok(length) = message.try_get_u32()
        && length as usize <= message.len()
    {
        message.advance(length as usize);
        parts += 1;
    }
    parts / 2
}

fn put(message: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("invariant: payloads are far below 4 GiB");
    message.put_u32(length);
    message.put_slice(part);
}

fn take(message: &mut Bytes) -> Result<Bytes, Unreadable> {
    let length = message.try_get_u32().map_err(|_| Unreadable::CutShort)? as usize;
    if length > message.len() {
        return Err(Unreadable::CutShort);
    }
    Ok(message.split_to(length))
}

#[cfg(test)]
mod tests;
