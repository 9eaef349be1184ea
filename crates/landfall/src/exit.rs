//! Exit codes: a contract with scripts and supervisors.

use std::process::ExitCode;

/// A dependency cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreachable(pub(crate) String);

/// Schema or topology does not fit this binary.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DoesNotFit(pub(crate) String);

/// Checks that were asked for have failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ChecksFailed(pub(crate) String);

/// Declined, or needs `--yes`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Declined(pub(crate) String);

/// 0 done · 1 failed · 2 usage (clap's own) · 3 settings invalid · 4 dependency unreachable · 5 checks failed ·
/// 6 schema or topology does not fit · 7 declined.
pub(crate) fn code(error: &anyhow::Error) -> ExitCode {
    let is = |check: fn(&(dyn std::error::Error + 'static)) -> bool| error.chain().any(check);
    let code = if is(|cause| cause.is::<crate::config::Invalid>()) {
        3
    } else if is(|cause| cause.is::<Unreachable>()) {
        4
    } else if is(|cause| cause.is::<ChecksFailed>()) {
        5
    } else if is(|cause| cause.is::<DoesNotFit>()) {
        6
    } else if is(|cause| cause.is::<Declined>()) {
        7
    } else {
        1
    };
    ExitCode::from(code)
}
