//! The embedded queue in a folder of its own.

use std::sync::Arc;

use adapters::embedded::Embedded;
use adapters::queue::embedded::EmbeddedQueue;
use adapters::queue::{LANE_BYTES_MAX, Queue};
use tempfile::TempDir;

use crate::harness::eventually;

pub(crate) struct Rig {
    queue: Option<Arc<EmbeddedQueue>>,
    lane_bytes_max: u64,
    dir: TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Rig {
        Rig::bounded(LANE_BYTES_MAX).await
    }

    pub(crate) async fn bounded(lane_bytes_max: u64) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let queue = EmbeddedQueue::new(Embedded::open(dir.path()).unwrap(), lane_bytes_max);
        Rig { queue: Some(Arc::new(queue)), lane_bytes_max, dir }
    }

    pub(crate) fn queue(&self) -> Arc<dyn Queue> {
        self.queue.clone().unwrap()
    }

    /// As after the end of the process: the folder is all that is left.
    pub(crate) async fn reopen(&mut self) {
        self.queue = None;
        let mut reopened = None;
        eventually("the folder is free", || {
            reopened = Embedded::open(self.dir.path()).ok();
            std::future::ready(reopened.is_some())
        })
        .await;
        self.queue = reopened.map(|embedded| Arc::new(EmbeddedQueue::new(embedded, self.lane_bytes_max)));
    }

    pub(crate) async fn end(&mut self) {
        self.queue = None;
    }
}
