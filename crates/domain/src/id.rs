//! Newtypes for every identifier, so that two strings can never be swapped.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

text_id!(
    /// One Terra environment (dev id) as named in the settings.
    Environment
);
text_id!(
    /// Terra's id of one connection: one person at one provider, until the next re-authentication.
    TerraUserId
);
text_id!(
    /// What the company gave Terra as `reference_id`.
    ReferenceId
);
text_id!(
    /// The company's own user.
    UserId
);

uuid_id!(
    /// One webhook as received; version 7, so ordered by receipt.
    DeliveryId
);
uuid_id!(
    /// One connection. It is the smallest birth id among the aliases of its group (`identity`).
    ConnectionId
);
uuid_id!(
    /// One record: version 5 of its natural key, so the same on every machine.
    RecordId
);
uuid_id!(
    /// One outgoing event; stable across redeliveries.
    EventId
);
uuid_id!(
    /// One connect session.
    SessionId
);
uuid_id!(
    /// One request for data that we send to Terra.
    FetchJobId
);
uuid_id!(
    /// One wish for data, with all the requests it takes.
    BackfillId
);

/// Where an alias lives: the same Terra user id in two environments is two people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AliasKey {
    pub environment: Environment,
    pub terra_user_id: TerraUserId,
}

impl AliasKey {
    pub fn new(environment: &Environment, terra_user_id: &str) -> Self {
        Self { environment: environment.clone(), terra_user_id: TerraUserId::new(terra_user_id) }
    }
}

/// Derives a stable uuid from parts; a length prefix keeps ("a","bc") and ("ab","c") apart.
pub fn derived_uuid(parts: &[&[u8]]) -> Uuid {
    const NAMESPACE: Uuid = Uuid::from_u128(0x6c61_6e64_6661_6c6c_8000_7465_7272_6121);
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}
