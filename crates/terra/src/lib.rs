//! The contract of Terra (tryterra.co) in Rust: how its webhooks are signed, what they carry, what its REST answers.
//!
//! Terra runs two platforms at once, and a payload does not say which one made it. Everything here therefore accepts
//! both dialects without asking. No function reads a clock, opens a socket or keeps state; none panics, whatever the
//! bytes.
//!
//! 1. [`signature`]: is the delivery genuine, and how old is it?
//! 2. [`headers`]: what the other headers say.
//! 3. [`event`]: which event it is, and whose.
//! 4. [`record`]: what a data event's items hold.
//! 5. [`reply`]: what the REST API answers.

pub mod event;
pub mod headers;
mod json;
pub mod record;
pub mod reply;
pub mod signature;
mod text;
