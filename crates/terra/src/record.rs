//! What the items of data events hold, as Terra sends them: numbers lenient, enums open, times as delivered.

mod activity;
mod key;
pub mod lenient;
mod times;

pub use activity::Activity;
pub use key::{NaturalKey, NoKey, UPLOAD_TYPE_DELETED, is_tombstone, natural_key};
pub use times::{Times, times};

/// The item is not a JSON object, so nothing in it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read a record that is not a JSON object")]
pub struct NotAnObject;
