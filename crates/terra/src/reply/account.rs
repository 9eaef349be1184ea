//! Answers about people, connections and the account.

use std::fmt;

use serde_json::value::RawValue;

use crate::event::DataKind;
use crate::event::user::{self, User, identifier, label};
use crate::json;
use crate::record::lenient;

/// How long a widget link lives where the answer does not say.
const WIDGET_EXPIRES_IN_SECONDS: u64 = 900;

/// How long a token lives where the answer does not say.
const TOKEN_EXPIRES_IN_SECONDS: u64 = 180;

const LINK_BYTES_MAX: usize = 8_192;
const TOKEN_BYTES_MAX: usize = 8_192;

/// Users or providers in one answer that we take.
const LISTED_MAX: usize = 10_000;

/// Users in one answer to `/subscriptions`, which without pages has all of them.
const SUBSCRIPTIONS_MAX: usize = 500_000;

/// A page of Terra's on which one person connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WidgetSession {
    pub session_id: String,
    /// To be opened in a browser tab: providers refuse frames and web views.
    pub url: String,
    pub expires_in_seconds: u64,
}

/// Reads the answer of the newer endpoint and the older one; they are alike.
pub fn widget_session(body: &[u8]) -> Option<WidgetSession> {
    let [session_id, url, expires_in] = members(body, ["session_id", "url", "expires_in"])?;
    Some(WidgetSession {
        session_id: identifier(session_id)?,
        url: opaque(url?, LINK_BYTES_MAX)?,
        expires_in_seconds: expires_in.map(RawValue::get).and_then(lenient::count).unwrap_or(WIDGET_EXPIRES_IN_SECONDS),
    })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserInfo {
    pub user: User,
    /// Where the answer does not say, whether the user is active.
    pub is_authenticated: bool,
}

/// Reads the answer to `/userInfo?user_id=`.
pub fn user_info(body: &[u8]) -> Option<UserInfo> {
    let [user, is_authenticated] = members(body, ["user", "is_authenticated"])?;
    let user = user::read(user?)?;
    let is_authenticated =
        is_authenticated.map(RawValue::get).and_then(lenient::boolean).or(user.active).unwrap_or(false);
    Some(UserInfo { user, is_authenticated })
}

/// Reads the answer to `/userInfo?reference_id=`: a bare list, a list under `users`, or a single `user`. A user without
/// id is left out.
pub fn users_by_reference(body: &[u8]) -> Option<Vec<User>> {
    let raw: &RawValue = serde_json::from_slice(body).ok()?;
    let [users, user] = json::section(Some(raw), ["users", "user"]);
    if !json::is_object(raw) {
        return listed(raw);
    }
    match users {
        Some(users) => listed(users),
        None => Some(vec![user::read(user?)?]),
    }
}

/// One page of the answer to `/subscriptions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    pub users: Vec<User>,
    /// The page after this one; `None` where there is none, or where the answer says nothing of pages.
    pub next: Option<u32>,
    /// The last page; `None` where the answer says nothing of pages.
    pub max_page: Option<u32>,
}

/// Reads the answer to `/subscriptions`: `{users: […]}`, which says nothing of pages, or `{data: {next, max_page, results}}`.
/// A user without id is left out. `None` also where there are more users than we take: a list that was cut would look
/// whole.
pub fn subscriptions(body: &[u8]) -> Option<UserPage> {
    let [users, data] = members(body, ["users", "data"])?;
    if let Some(users) = users {
        return Some(UserPage { users: all_listed(users)?, next: None, max_page: None });
    }
    let [results, next, max_page] = json::section(data, ["results", "next", "max_page"]);
    let number = |raw: Option<&RawValue>| {
        raw.map(RawValue::get).and_then(lenient::count).and_then(|number| u32::try_from(number).ok())
    };
    Some(UserPage { users: all_listed(results?)?, next: number(next), max_page: number(max_page) })
}

fn all_listed(users: &RawValue) -> Option<Vec<User>> {
    Some(json::elements(users, SUBSCRIPTIONS_MAX)?.into_iter().filter_map(user::read).collect())
}

fn listed(users: &RawValue) -> Option<Vec<User>> {
    Some(json::elements(users, LISTED_MAX)?.into_iter().filter_map(user::read).collect())
}

/// A token for a phone or a stream; good for one use. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthToken {
    pub token: String,
    pub expires_in_seconds: u64,
}

impl fmt::Debug for AuthToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthToken(.., {} s)", self.expires_in_seconds)
    }
}

pub fn auth_token(body: &[u8]) -> Option<AuthToken> {
    let [token, expires_in] = members(body, ["token", "expires_in"])?;
    Some(AuthToken {
        token: opaque(token?, TOKEN_BYTES_MAX)?,
        expires_in_seconds: expires_in.map(RawValue::get).and_then(lenient::count).unwrap_or(TOKEN_EXPIRES_IN_SECONDS),
    })
}

/// One provider, and what can be had from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// Upper-case code.
    pub provider: String,
    /// For people; the code where there is none.
    pub name: String,
    pub enabled: bool,
    /// In the order of [`DataKind::ALL`].
    pub types: Vec<DataKind>,
}

/// Reads the answer to `/integrations/detailed`. Terra tells the truth about `enabled` only if the request named an
/// environment.
pub fn integrations_detailed(body: &[u8]) -> Option<Vec<Integration>> {
    let [providers] = members(body, ["providers"])?;
    Some(json::elements(providers?, LISTED_MAX)?.into_iter().filter_map(integration).collect())
}

fn integration(raw: &RawValue) -> Option<Integration> {
    let [provider, name, enabled, types] = json::section(Some(raw), ["provider", "name", "enabled", "types"]);
    let provider = label(provider)?;
    Some(Integration {
        name: label(name).unwrap_or_else(|| provider.clone()),
        provider,
        enabled: enabled.map(RawValue::get).and_then(lenient::boolean).unwrap_or(false),
        types: types.map(data_kinds).unwrap_or_default(),
    })
}

/// `types` is an object of flags.
fn data_kinds(types: &RawValue) -> Vec<DataKind> {
    let flags = json::section(Some(types), DataKind::ALL.map(DataKind::label));
    let kinds = DataKind::ALL.into_iter().zip(flags);
    kinds
        .filter(|(_, flag)| flag.map(RawValue::get).and_then(lenient::boolean) == Some(true))
        .map(|(kind, _)| kind)
        .collect()
}

fn members<'a, const N: usize>(body: &'a [u8], names: [&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    json::members(std::str::from_utf8(body).ok()?, names)
}

/// A link or a token: whole or not at all.
fn opaque(raw: &RawValue, bytes_max: usize) -> Option<String> {
    let text = json::string(raw)?;
    let fits = !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control);
    fits.then(|| text.into_owned())
}
