//! Several hosts in one URL, of which one takes writes: a primary and whoever may take its place.
//!
//! The driver tries them in their order and limits only how long the network takes to connect. A primary that is frozen
//! still connects, by its kernel, and would use up the time that was meant for its successor, at every try anew. So each
//! host has a limit of its own here, and the one that answered last is asked first.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Config, Host};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Error, Socket};
use tokio_util::task::TaskTracker;

pub(super) struct EachHost<T> {
    hosts: Arc<[Config]>,
    tls: T,
    /// For each of them but the last that is tried, which has what the pool gives to the whole.
    max: Duration,
    /// The place of the host that answered last.
    first: Arc<AtomicUsize>,
    tasks: TaskTracker,
}

impl<T> EachHost<T> {
    pub(super) fn new(hosts: Vec<Config>, tls: T, max: Duration) -> Self {
        EachHost { hosts: hosts.into(), tls, max, first: Arc::default(), tasks: TaskTracker::new() }
    }
}

impl<T> Connect for EachHost<T>
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        Box::pin(async move {
            let first = self.first.load(Ordering::Relaxed);
            let last = self.hosts.len().saturating_sub(1);
            for step in 0..last {
                let at = (first + step) % self.hosts.len();
                if let Ok(Ok(connected)) = timeout(self.max, self.connect_to(at)).await {
                    return Ok(connected);
                }
            }
            self.connect_to((first + last) % self.hosts.len()).await
        })
    }
}

impl<T> EachHost<T>
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    async fn connect_to(&self, at: usize) -> Result<(Client, JoinHandle<()>), Error> {
        let (client, connection) = self.hosts[at].connect(self.tls.clone()).await?;
        self.first.store(at, Ordering::Relaxed);
        let speaking = self.tasks.spawn(async move {
            // Whoever waits on this connection is told the same.
            let _ = connection.await;
        });
        Ok((client, speaking))
    }
}

/// What is asked of the whole, of each host alone; `None` if names, addresses and ports do not go together.
pub(super) fn each(config: &Config) -> Option<Vec<Config>> {
    let (names, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = names.len().max(addresses.len());
    let fits = |given: usize, least: usize| given == count || given <= least;
    if count == 0 || !fits(names.len(), 0) || !fits(addresses.len(), 0) || !fits(ports.len(), 1) {
        return None;
    }
    let port = |at: usize| ports.get(at).or(ports.first()).copied();
    Some((0..count).map(|at| alone(config, names.get(at), addresses.get(at).copied(), port(at))).collect())
}

/// Everything but the hosts: the driver's settings have no way to take one out.
fn alone(config: &Config, host: Option<&Host>, address: Option<IpAddr>, port: Option<u16>) -> Config {
    let mut one = Config::new();
    match host {
        Some(Host::Tcp(name)) => drop(one.host(name)),
        Some(Host::Unix(folder)) => drop(one.host_path(folder)),
        None => {}
    }
    address.map(|address| one.hostaddr(address));
    port.map(|port| one.port(port));
    config.get_user().map(|user| one.user(user));
    config.get_password().map(|password| one.password(password));
    config.get_dbname().map(|name| one.dbname(name));
    config.get_options().map(|options| one.options(options));
    config.get_application_name().map(|name| one.application_name(name));
    config.get_connect_timeout().map(|max| one.connect_timeout(*max));
    config.get_tcp_user_timeout().map(|max| one.tcp_user_timeout(*max));
    config.get_keepalives_interval().map(|pause| one.keepalives_interval(pause));
    config.get_keepalives_retries().map(|tries| one.keepalives_retries(tries));
    one.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::str::FromStr;
    use std::time::Instant;

    use tokio_postgres::NoTls;

    use super::*;

    #[test]
    fn each_host_is_asked_with_all_that_was_said_of_the_whole() {
        let all = "user=u password=p dbname=d options='-c jit=off' application_name=a sslmode=require \
                   sslnegotiation=direct connect_timeout=3 tcp_user_timeout=5 keepalives=1 keepalives_idle=7 \
                   keepalives_interval=2 keepalives_retries=4 target_session_attrs=read-write channel_binding=require \
                   load_balance_hosts=random";
        let whole = Config::from_str(&format!("{all} host=one,/two hostaddr=127.0.0.1,127.0.0.2 port=1,2")).unwrap();
        let expected = ["host=one hostaddr=127.0.0.1 port=1", "host=/two hostaddr=127.0.0.2 port=2"]
            .map(|host| Config::from_str(&format!("{all} {host}")).unwrap());
        assert_eq!(each(&whole).unwrap(), expected);
    }

    #[test]
    fn one_port_is_for_all_hosts_and_other_numbers_must_match() {
        let ports = |of: &str| each(&Config::from_str(of).unwrap()).map(|hosts| hosts.len());
        assert_eq!(ports("host=one,two port=7"), Some(2));
        assert_eq!(ports("host=one,two"), Some(2));
        assert_eq!(ports("host=one,two port=7,8,9"), None);
        assert_eq!(ports("host=one,two hostaddr=127.0.0.1"), None);
        assert_eq!(ports("user=u"), None);
        assert_eq!(each(&Config::from_str("host=one,two port=7").unwrap()).unwrap()[1].get_ports(), [7]);
    }

    #[tokio::test]
    async fn a_host_that_is_silent_costs_its_own_time_and_not_that_of_the_next() {
        // The kernel connects, and nobody answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = format!("{},{refusing}", silent.local_addr().unwrap().port());
        let config = Config::from_str(&format!("host=127.0.0.1,127.0.0.1 port={ports} user=u")).unwrap();
        let hosts = EachHost::new(each(&config).unwrap(), NoTls, Duration::from_millis(50));
        let begun = Instant::now();
        let error = hosts.connect(&config).await.map(drop).unwrap_err();
        assert_eq!(error.to_string(), "error connecting to server");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
