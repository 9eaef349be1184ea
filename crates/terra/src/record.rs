//! What the items of data events hold, as Terra sends them: numbers lenient, enums open, times as delivered.

pub mod columns;
mod key;
pub mod lenient;
mod reading;
mod scan;
pub(crate) mod schema;
pub mod times;

pub use columns::{Column, Scalar, Shape, columns};
pub use key::{NaturalKey, UPLOAD_TYPE_DELETED, is_by_day};
pub use reading::{Problem, Reading, Strange, Unread, read, score_value};
