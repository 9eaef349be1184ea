//! Payloads that Terra leaves in storage: one GET of a link that lives for minutes.
//!
//! The link comes in a webhook, which is signed, yet it makes us call a host of somebody's choice from inside the
//! company's network. So: hosts of a list only, no address that is not public (checked on the addresses the connection
//! is then made to, not on an earlier answer), no redirect, a size and a time that end.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, StatusCode, redirect};
use url::{Host, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole of one download; the next try may still be in time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no payload. No text holds the link: whoever has it has the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// The link is none that we follow; trying again will not help.
    #[error("refused the link of a stored payload: {0}")]
    Refused(&'static str),
    /// The storage does not give it out, or not any more.
    #[error("the storage does not give out a payload (HTTP {status})")]
    Gone { status: u16 },
    #[error("a stored payload is larger than what is taken")]
    TooLarge,
    /// Not answered, or with an error that may pass.
    #[error("could not download a payload: {0}")]
    Failed(&'static str),
}

impl DownloadError {
    /// A stable word for ledger and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            DownloadError::Refused(_) => "payload_link_refused",
            DownloadError::Gone { .. } => "payload_gone",
            DownloadError::TooLarge => "payload_too_large",
            DownloadError::Failed(_) => "payload_not_downloaded",
        }
    }
}

/// A host we download from. An address that is written out is meant, whatever it is; a name must lead to public ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    /// `None`: the scheme's own.
    port: Option<u16>,
}

impl AllowedHost {
    /// - Shapes: `host` or `host:port`; IPv6 addresses in brackets.
    /// - Errors: `None` where it is neither.
    pub fn parse(text: &str) -> Option<AllowedHost> {
        let url = Url::parse(&format!("https://{}/", text.trim())).ok()?;
        let bare = url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.fragment().is_none();
        let host = url.host()?.to_owned();
        bare.then_some(AllowedHost { host, port: url.port() })
    }

    fn is_address(&self) -> bool {
        matches!(self.host, Host::Ipv4(_) | Host::Ipv6(_))
    }

    fn fits(&self, url: &Url) -> bool {
        url.host().is_some_and(|host| host.to_owned() == self.host) && url.port() == self.port
    }
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Downloader {
    http: Client,
    hosts: Arc<[AllowedHost]>,
    bytes_max: u64,
}

impl Downloader {
    /// Needs rustls' process-wide provider to be installed.
    pub fn new(hosts: Vec<AllowedHost>, bytes_max: u64) -> Result<Downloader, reqwest::Error> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Arc::new(PublicOnly))
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Downloader { http, hosts: hosts.into(), bytes_max })
    }

    pub async fn get(&self, link: &str) -> Result<Bytes, DownloadError> {
        let url = self.checked(link)?;
        let mut response = self.http.get(url).send().await.map_err(|error| refused_or_failed(&error))?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => return Err(DownloadError::Refused("it leads elsewhere")),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(DownloadError::Failed("the storage is busy"));
            }
            status if status.is_client_error() => return Err(DownloadError::Gone { status: status.as_u16() }),
            _ => return Err(DownloadError::Failed("the storage failed")),
        }
        if response.content_length().is_some_and(|length| length > self.bytes_max) {
            return Err(DownloadError::TooLarge);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| DownloadError::Failed("the answer broke off"))? {
            if body.len() as u64 + chunk.len() as u64 > self.bytes_max {
                return Err(DownloadError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn checked(&self, link: &str) -> Result<Url, DownloadError> {
        let url = Url::parse(link).map_err(|_| DownloadError::Refused("it is no URL"))?;
        let allowed = self.hosts.iter().find(|host| host.fits(&url));
        let allowed = allowed.ok_or(DownloadError::Refused("its host is not among download_hosts"))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if allowed.is_address() => Ok(url),
            _ => Err(DownloadError::Refused("it is not https")),
        }
    }
}

fn refused_or_failed(error: &reqwest::Error) -> DownloadError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if one.is::<NotPublic>() {
            return DownloadError::Refused("its host leads to an address that is not public");
        }
        cause = one.source();
    }
    DownloadError::Failed(if error.is_timeout() { "it took too long" } else { "the storage is not reachable" })
}

#[derive(Debug, thiserror::Error)]
#[error("the name leads to an address that is not public")]
struct NotPublic;

/// Resolves names and refuses those that lead inside.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().any(|address| !is_public(address.ip())) {
                return Err(NotPublic.into());
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// True of addresses that anybody on the internet could have. Source: the IANA special-purpose address registries.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b)))
        }
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => {
                let [first, second, ..] = v6.segments();
                let global_unicast = first & 0xe000 == 0x2000;
                global_unicast && !(first == 0x2001 && (second == 0x0db8 || second < 0x0200)) && first != 0x3fff
            }
        },
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64, 6to4.
fn embedded_v4(v6: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let segments = v6.segments();
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        std::net::Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(of(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_anybody_could_have_are_public() {
        for address in ["8.8.8.8", "52.95.150.1", "2a00:1450:4009::1", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[track_caller]
    fn check(hosts: &[&str], link: &str, expected: bool) {
        let hosts = hosts.iter().map(|host| AllowedHost::parse(host).unwrap()).collect();
        rustls::crypto::ring::default_provider().install_default().ok();
        let downloader = Downloader::new(hosts, 10).unwrap();
        assert_eq!(downloader.checked(link).is_ok(), expected, "{link}");
    }

    #[test]
    fn only_links_to_the_hosts_of_the_list_are_followed() {
        let storage = &["storage.googleapis.com"][..];
        check(storage, "https://storage.googleapis.com/bucket/object?signature=x", true);
        check(storage, "https://STORAGE.googleapis.com/bucket", true);
        for link in [
            "http://storage.googleapis.com/bucket",
            "https://storage.googleapis.com.evil.example/bucket",
            "https://storage.googleapis.com:8443/bucket",
            "https://user@evil.example/storage.googleapis.com",
            "https://127.0.0.1/",
            "file:///etc/passwd",
            "no url",
        ] {
            check(storage, link, false);
        }
        check(&["127.0.0.1:8082"], "http://127.0.0.1:8082/payload", true);
        check(&["127.0.0.1:8082"], "http://127.0.0.1:8083/payload", false);
        check(&["[::1]:8082"], "http://[::1]:8082/payload", true);
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_and_says_so() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let downloader = Downloader::new(vec![AllowedHost::parse("localhost").unwrap()], 10).unwrap();
        let refused = downloader.get("https://localhost/payload").await.unwrap_err();
        assert_eq!(refused, DownloadError::Refused("its host leads to an address that is not public"));
    }

    #[test]
    fn what_is_no_host_is_no_host() {
        for text in ["", "a/b", "a?b", "u@a", "http://a", "a:b"] {
            assert_eq!(AllowedHost::parse(text), None, "{text}");
        }
    }
}
