//! What one process does.

use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Public listener: webhooks and redirects.
    pub(crate) receive: bool,
    /// Works deliveries; runs resolver, fetcher, relay, upkeep.
    pub(crate) work: bool,
    /// `/v1` on the internal listener.
    pub(crate) api: bool,
}

impl Roles {
    pub(crate) const ALL: Roles = Roles { receive: true, work: true, api: true };
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut roles = Roles { receive: false, work: false, api: false };
        for name in text.split(',').map(str::trim) {
            match name {
                "receive" => roles.receive = true,
                "work" => roles.work = true,
                "api" => roles.api = true,
                other => return Err(format!("`{other}` is none of receive, work, api")),
            }
        }
        Ok(roles)
    }
}
