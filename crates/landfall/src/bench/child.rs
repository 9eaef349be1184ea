//! An instance started for a measurement: a process of its own, so that its CPU and memory can be told from the load's.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;
use tokio::process::{Child, Command};

const READY_WITHIN: Duration = Duration::from_secs(60);
const END_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Instance {
    child: Child,
    data: TempDir,
    public: u16,
    internal: u16,
}

impl Instance {
    /// Starts `landfall serve` on the engines of this process's settings, in a data dir of its own.
    pub(crate) async fn start(roles: &str, secret: &str) -> anyhow::Result<Self> {
        Self::start_in(tempfile::tempdir().context("make a data dir")?, roles, secret).await
    }

    pub(crate) async fn start_in(data: TempDir, roles: &str, secret: &str) -> anyhow::Result<Self> {
        let (public, internal) = (free_port()?, free_port()?);
        let program = std::env::current_exe().context("find this program")?;
        let child = Command::new(program)
            .args(["serve", "--migrate", "--roles", roles])
            .env("LANDFALL_DATA_DIR", data.path())
            .env("LANDFALL_PUBLIC_ADDR", format!("127.0.0.1:{public}"))
            .env("LANDFALL_SHUTDOWN_DELAY", "0s")
            .env("LANDFALL_INTERNAL_ADDR", format!("127.0.0.1:{internal}"))
            .env("LANDFALL_TERRA_SIGNING_SECRETS", secret)
            .env("LANDFALL_LOG", "warn")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start an instance")?;
        let mut instance = Instance { child, data, public, internal };
        instance.wait_until_ready().await?;
        Ok(instance)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    pub(crate) fn webhook_url(&self) -> String {
        format!("http://127.0.0.1:{}/webhooks/terra", self.public)
    }

    /// The sum over all labels of a metric.
    pub(crate) async fn metric_sum(&self, name: &str) -> anyhow::Result<f64> {
        let text = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.internal))
            .await
            .context("read metrics")?
            .text()
            .await
            .context("read metrics")?;
        Ok(text
            .lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }

    /// Ends it in order; gives back its data dir.
    pub(crate) async fn end(mut self) -> anyhow::Result<TempDir> {
        let pid = self.pid().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await.context("end the instance")?;
        tokio::time::timeout(END_WITHIN, self.child.wait())
            .await
            .context("the instance did not end in time")?
            .context("end the instance")?;
        Ok(self.data)
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let url = format!("http://127.0.0.1:{}/readyz", self.internal);
        while started.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait().context("watch the instance")? {
                anyhow::bail!("the instance ended at once ({status}); its own message is above");
            }
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("the instance is not ready after {} s", READY_WITHIN.as_secs())
    }
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}
