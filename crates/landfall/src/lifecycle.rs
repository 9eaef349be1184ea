//! Start and stop: signals, a soft stop, then a hard one. The only place that spawns tasks.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Time for adapters to finish what is in flight after everything above them has ended.
const ADAPTERS_GRACE: Duration = Duration::from_secs(3);

/// Tokens and trackers that go down as arguments.
#[derive(Clone, Default)]
pub(crate) struct Lifecycle {
    /// Soft stop: take nothing new, finish what was accepted.
    pub(crate) stop: CancellationToken,
    tasks: TaskTracker,
    /// The adapters' own tasks outlive ours: a request that is being answered still needs its confirm.
    pub(crate) adapters: TaskTracker,
    pub(crate) stop_adapters: CancellationToken,
    /// Why the process stops by itself, if it does.
    failure: Arc<OnceLock<String>>,
}

impl Lifecycle {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// From here on the first SIGTERM or SIGINT is the soft stop. Nobody waits for this task: it ends with the process.
    pub(crate) fn watch_signals(&self) {
        let stop = self.stop.clone();
        TaskTracker::new().spawn(async move {
            if let Err(error) = watch_signals(stop).await {
                warn!(%error, "cannot watch signals");
            }
        });
    }

    /// The soft stop, because the process can do no more good.
    pub(crate) fn fail(&self, why: String) {
        // The first reason is the one to mend.
        self.failure.set(why).ok();
        self.stop.cancel();
    }

    /// An error if it was we who ended this.
    pub(crate) fn outcome(&self) -> anyhow::Result<()> {
        match self.failure.get() {
            Some(why) => Err(anyhow::anyhow!("{why}")),
            None => Ok(()),
        }
    }

    /// Lets our tasks finish what they hold, within `grace`.
    pub(crate) async fn end_tasks(&self, grace: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            warn!(grace_s = grace.as_secs(), "not everything ended in time; what was not acknowledged comes again");
        }
    }

    /// Then the adapters' own tasks, and the listeners.
    pub(crate) async fn end_adapters(&self) {
        self.stop_adapters.cancel();
        self.adapters.close();
        if tokio::time::timeout(ADAPTERS_GRACE, self.adapters.wait()).await.is_err() {
            warn!("an adapter did not end in time");
        }
    }
}

/// Cancels `stop` at the first SIGTERM or SIGINT; the second ends the process at once.
async fn watch_signals(stop: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut first = true;
    loop {
        let (name, code) = tokio::select! {
            _ = terminate.recv() => ("SIGTERM", 143),
            _ = interrupt.recv() => ("SIGINT", 130),
        };
        if !first {
            warn!("second {name}: ending at once");
            std::process::exit(code);
        }
        first = false;
        info!("{name}: taking nothing new, finishing what was accepted; once more ends at once");
        stop.cancel();
    }
}
