//! Bytes → plan, with the documents of its records sealed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use adapters::payloads::{Hint, PayloadError};
use adapters::queue::Job;
use adapters::store::Prepared;
use domain::id::derived_uuid;
use domain::plan::{self, Context};
use domain::replay::Start;
use domain::settle::Failure;
#[cfg(feature = "failpoints")]
use fail::fail_point;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{PAUSE_FIRST, Stopped, wait};
use crate::wiring::Ports;

pub(super) async fn prepare(
    job: &Job,
    attempt: u32,
    replay: Option<Start>,
    context: &Context,
    ports: &Ports,
    stop: &CancellationToken,
) -> Result<Result<Prepared, Failure>, Stopped> {
    let mut pause = PAUSE_FIRST;
    loop {
        match try_prepare(job, attempt, replay, context, ports).await {
            Ok(prepared) => return Ok(Ok(prepared)),
            Err(Unprepared::Failed(failure)) => return Ok(Err(failure)),
            Err(Unprepared::Away(error)) => {
                warn!(%error, "the payload store is away; waiting");
                wait(&mut pause, stop).await;
                if stop.is_cancelled() {
                    return Err(Stopped);
                }
            }
        }
    }
}

enum Unprepared {
    Failed(Failure),
    Away(PayloadError),
}

impl From<PayloadError> for Unprepared {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Lost(_) | PayloadError::TooLarge { .. } => Unprepared::Failed(Failure::PayloadLost),
            PayloadError::Unavailable { .. } | PayloadError::Setting { .. } => Unprepared::Away(error),
        }
    }
}

async fn try_prepare(
    job: &Job,
    attempt: u32,
    replay: Option<Start>,
    context: &Context,
    ports: &Ports,
) -> Result<Prepared, Unprepared> {
    let bytes = ports.payloads.unseal(&job.body).await?;
    let delivery = job.delivery.clone();
    let planning = || {
        #[cfg(feature = "failpoints")]
        bugs(&bytes);
        plan::plan(delivery, &bytes, context)
    };
    let plan = catch_unwind(AssertUnwindSafe(planning)).map_err(|_| Unprepared::Failed(Failure::Panicked))?;
    let cause = plan.cause.id_bytes();
    // A replay puts nothing where the try before it has let go of something: that may be deleted just now.
    let run = replay.map(|start| [start.run.0.as_bytes().as_slice(), &start.number.to_be_bytes()].concat());
    let mut documents = Vec::with_capacity(plan.records.len());
    for record in &plan.records {
        let record_id = record.key.id();
        let parts = [record_id.0.as_bytes().as_slice(), cause.as_slice()];
        let id = derived_uuid(&parts.into_iter().chain(run.as_deref()).collect::<Vec<_>>());
        let hint = Hint::document(&job.delivery, id);
        documents.push(ports.payloads.seal(record.document.clone(), hint).await?);
    }
    Ok(Prepared { plan, body: job.body.clone(), documents, attempt, replay: replay.map(|start| start.run) })
}

/// Where a test may have a payload of its own end the process, or panic, as a bug of ours might.
#[cfg(feature = "failpoints")]
pub(crate) fn bugs(bytes: &[u8]) {
    let holds = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    fail_point!("poison", holds(b"poison"), |_| std::process::abort());
    fail_point!("panicking", holds(b"panicking"), |_| panic!("a test asked for it"));
}
