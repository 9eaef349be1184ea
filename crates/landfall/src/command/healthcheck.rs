//! `landfall healthcheck`: whether the instance on this machine is ready, for containers without an HTTP client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::client::Instance;
use super::output;
use crate::exit::Unreachable;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Internal address of the instance [default: LANDFALL_INTERNAL_ADDR on the loopback, else http://127.0.0.1:8081]
    #[arg(long, env = "LANDFALL_URL")]
    url: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 3)]
    within_s: u64,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let listens = std::env::var("LANDFALL_INTERNAL_ADDR").ok();
    let url = args.url.unwrap_or_else(|| reached(listens.as_deref()));
    let (ready, said) = Instance::at(url).api()?.probe("/readyz", Duration::from_secs(args.within_s)).await?;
    if ready {
        return Ok(());
    }
    output::note(said.trim());
    Err(Unreachable("the instance is not ready".into()).into())
}

/// An instance that listens everywhere is reached on the loopback.
fn reached(listens: Option<&str>) -> String {
    let addr = listens.and_then(|text| text.parse::<SocketAddr>().ok()).filter(|addr| addr.port() != 0);
    let mut addr = addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8081)));
    if addr.ip().is_unspecified() {
        addr.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    format!("http://{addr}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listens: Option<&str>, expected: &str) {
        assert_eq!(reached(listens), expected);
    }

    #[test]
    fn the_instance_is_asked_where_it_listens() {
        check(None, "http://127.0.0.1:8081");
        check(Some("0.0.0.0:9000"), "http://127.0.0.1:9000");
        check(Some("[::]:9000"), "http://127.0.0.1:9000");
        check(Some("10.0.0.7:9000"), "http://10.0.0.7:9000");
        check(Some("nonsense"), "http://127.0.0.1:8081");
    }
}
