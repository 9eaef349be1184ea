//! Our own decoder, judged by the same events and schemas.

use anyhow::Result;

use crate::conformance::Golden;
use crate::conformance::schemas::Published;

/// What our decoder makes of Terra's events: a line for each value that a schema has and the decoder
/// did not read, or read as something else.
///
/// The decoder lives behind a wall that this program may not look over (it uses none of our crates),
/// so its check belongs into a test of its own crate, run from here. `None` says that there is none.
pub(crate) fn check_our_decoder(_events: &[Golden], _published: &Published) -> Result<Option<Vec<String>>> {
    Ok(None)
}
