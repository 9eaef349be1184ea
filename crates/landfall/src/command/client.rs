//! Talking to a running instance through its API.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method, RequestBuilder, StatusCode, redirect};
use serde_json::Value;

use super::output::{self, Output};
use crate::exit::Unreachable;

const WITHIN: Duration = Duration::from_secs(30);

/// A person's years, with every sample.
const DOWNLOAD_WITHIN: Duration = Duration::from_secs(3_600);

/// The most rows one page of a listing has.
const PAGE_MAX: usize = 1_000;

/// Where the instance is.
#[derive(clap::Args)]
pub(crate) struct Instance {
    /// Internal address of a running instance
    #[arg(long, env = "LANDFALL_URL", default_value = "http://127.0.0.1:8081")]
    url: String,
}

/// An instance's API. A token comes from `LANDFALL_TOKEN` alone: flags are visible to everybody on the machine.
pub(crate) struct Api {
    http: Client,
    url: String,
    token: Option<String>,
}

impl Instance {
    pub(crate) fn at(url: String) -> Instance {
        Instance { url }
    }

    pub(crate) fn api(self) -> anyhow::Result<Api> {
        let http = Client::builder()
            .timeout(WITHIN)
            // A token must not follow to another host; where an id leads is handled here.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("build the HTTP client")?;
        let url = self.url.trim_end_matches('/').to_owned();
        url::Url::parse(&url).with_context(|| format!("read the URL {url} (--url, LANDFALL_URL)"))?;
        Ok(Api { http, url, token: std::env::var("LANDFALL_TOKEN").ok().filter(|token| !token.is_empty()) })
    }
}

/// One thing of an instance, to be shown.
#[derive(clap::Args)]
pub(crate) struct One {
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) instance: Instance,
}

impl One {
    /// Prints what is at `path` under this id.
    pub(crate) async fn print(self, path: &str) -> anyhow::Result<()> {
        let thing = self.instance.api()?.get(&format!("{path}/{}", segment(&self.id)), &[]).await?;
        output::print_one(&self.output, &thing)
    }
}

/// What an instance answered with 2xx, or where it sent us.
enum Answer {
    Body(Value),
    Elsewhere(String),
}

impl Api {
    /// Follows the one redirect there is, from a merged connection to the one it became part of.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        match self.send(self.request(Method::GET, path).query(query)).await? {
            Answer::Body(body) => Ok(body),
            Answer::Elsewhere(path) => match self.send(self.request(Method::GET, &path)).await? {
                Answer::Body(body) => Ok(body),
                Answer::Elsewhere(path) => bail!("{} sends from one place to the next: {path}", self.url),
            },
        }
    }

    pub(crate) async fn change(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        match self.send(request).await? {
            Answer::Body(body) => Ok(body),
            Answer::Elsewhere(path) => bail!("it became part of another one: see {path}"),
        }
    }

    /// Rows of a listing, from as many pages as it takes to have `wanted`.
    pub(crate) async fn list(
        &self,
        path: &str,
        filter: &[(&str, String)],
        wanted: usize,
    ) -> anyhow::Result<Vec<Value>> {
        let mut rows: Vec<Value> = Vec::new();
        let mut after = None;
        while rows.len() < wanted {
            let mut query = filter.to_vec();
            query.push(("limit", (wanted - rows.len()).min(PAGE_MAX).to_string()));
            query.extend(after.map(|cursor| ("after", cursor)));
            let mut page = self.get(path, &query).await?;
            let items =
                page["items"].as_array_mut().with_context(|| format!("{path} of {} is no listing", self.url))?;
            rows.append(items);
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        Ok(rows)
    }

    /// Whether the instance answers this path with 2xx, and what it says.
    pub(crate) async fn probe(&self, path: &str, within: Duration) -> anyhow::Result<(bool, String)> {
        let answer =
            self.request(Method::GET, path).timeout(within).send().await.map_err(|error| self.unreachable(&error))?;
        let is_good = answer.status().is_success();
        Ok((is_good, answer.text().await.unwrap_or_default()))
    }

    /// An answer that may be large and slow, piece by piece.
    pub(crate) async fn download(&self, path: &str) -> anyhow::Result<Chunks<'_>> {
        let request = self.request(Method::GET, path).timeout(DOWNLOAD_WITHIN);
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Chunks { api: self, answer });
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Err(refusal(status, &body))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status == StatusCode::PERMANENT_REDIRECT {
            let place = answer
                .headers()
                .get("location")
                .and_then(|value| value.to_str().ok())
                .filter(|place| place.starts_with('/'));
            return Ok(Answer::Elsewhere(place.unwrap_or("/").to_owned()));
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        if status.is_success() {
            let body = serde_json::from_slice(&body)
                .with_context(|| format!("read the answer of {}: is it Landfall's internal address?", self.url))?;
            return Ok(Answer::Body(body));
        }
        Err(refusal(status, &body))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Unreachable {
        let why = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
        Unreachable(format!(
            "{} {why}: start an instance (`landfall dev` or `landfall serve`), or name the internal address of one with --url or LANDFALL_URL",
            self.url
        ))
    }
}

/// An answer as it comes.
pub(crate) struct Chunks<'a> {
    api: &'a Api,
    answer: reqwest::Response,
}

impl Chunks<'_> {
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<bytes::Bytes>> {
        self.answer.chunk().await.map_err(|error| self.api.unreachable(&error).into())
    }
}

/// What a problem document says, with what to do where that is a matter of this command line.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = document["detail"].as_str().unwrap_or("no reason given");
    let code = document["code"].as_str().unwrap_or("no code");
    let hint = match status {
        StatusCode::UNAUTHORIZED => "; set LANDFALL_TOKEN to a token of this instance",
        _ => "",
    };
    let text = format!("{detail} ({} {code}){hint}", status.as_u16());
    if status == StatusCode::SERVICE_UNAVAILABLE { Unreachable(text).into() } else { anyhow::anyhow!(text) }
}

/// One segment of a path, whatever is in it.
pub(crate) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_detail_and_code() {
        let body = br#"{"code":"unknown_connection","detail":"there is no connection x"}"#;
        let text = refusal(StatusCode::NOT_FOUND, body).to_string();
        assert_eq!(text, "there is no connection x (404 unknown_connection)");
        assert!(refusal(StatusCode::UNAUTHORIZED, b"<html>").to_string().contains("LANDFALL_TOKEN"));
    }

    #[test]
    fn a_dependency_that_is_away_has_its_own_exit_code() {
        assert!(refusal(StatusCode::SERVICE_UNAVAILABLE, b"{}").is::<Unreachable>());
        assert!(!refusal(StatusCode::NOT_FOUND, b"{}").is::<Unreachable>());
    }

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("a/../b ?c"), "a%2F..%2Fb%20%3Fc");
    }
}
