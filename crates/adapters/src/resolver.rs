//! From `reference_id` to internal user, where the reference is not the user itself: one SQL query, or one GET.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use domain::id::{ReferenceId, UserId};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio_postgres::NoTls;

const TIMEOUT: Duration = Duration::from_secs(5);
const POOL_MAX: usize = 2;
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Knows whose a reference is. An outage is an error, never "unknown".
pub struct Resolver(Kind);

enum Kind {
    Sql { pool: Pool, query: String },
    Http { client: reqwest::Client, url: String, token: Option<SecretString> },
}

/// The resolver is away or answers nonsense: ask again later.
#[derive(Debug, thiserror::Error)]
#[error("ask the resolver: {0}")]
pub struct ResolverUnavailable(String);

impl Resolver {
    /// A query with `$1` = the reference; the first column (text) of its first row is the user.
    pub fn sql(url: &str, query: &str) -> Result<Self, ResolverUnavailable> {
        let mut config: tokio_postgres::Config =
            url.parse().map_err(|_| ResolverUnavailable("the URL is no PostgreSQL URL".into()))?;
        config
            .application_name("landfall-resolver")
            .connect_timeout(TIMEOUT)
            .options("-c statement_timeout=5s -c default_transaction_read_only=on");
        let manager =
            Manager::from_config(config, NoTls, ManagerConfig { recycling_method: RecyclingMethod::Verified });
        let pool = Pool::builder(manager)
            .max_size(POOL_MAX)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(TIMEOUT))
            .create_timeout(Some(TIMEOUT))
            .recycle_timeout(Some(TIMEOUT))
            .build()
            .map_err(|error| ResolverUnavailable(error.to_string()))?;
        Ok(Resolver(Kind::Sql { pool, query: query.into() }))
    }

    /// One GET of `url` with `{reference}` replaced: 200 `{"user": "…"}`, or 404 for unknown.
    pub fn http(url: &str, token: Option<SecretString>) -> Result<Self, ResolverUnavailable> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| ResolverUnavailable(error.to_string()))?;
        Ok(Resolver(Kind::Http { client, url: url.into(), token }))
    }

    /// - Errors: `ResolverUnavailable` for anything but a clear answer. Its text holds neither reference nor answer.
    pub async fn resolve(&self, reference: &ReferenceId) -> Result<Option<UserId>, ResolverUnavailable> {
        match &self.0 {
            Kind::Sql { pool, query } => by_query(pool, query, reference).await,
            Kind::Http { client, url, token } => by_get(client, url, token.as_ref(), reference).await,
        }
    }
}

async fn by_query(pool: &Pool, query: &str, reference: &ReferenceId) -> Result<Option<UserId>, ResolverUnavailable> {
    let ask = async {
        let connection =
            pool.get().await.map_err(|_| ResolverUnavailable("the resolver's database is not reachable".into()))?;
        let refused = |error: tokio_postgres::Error| {
            ResolverUnavailable(format!("the query failed ({})", error.code().map_or("connection", |code| code.code())))
        };
        let statement = connection.prepare_cached(query).await.map_err(refused)?;
        let row = connection.query_opt(&statement, &[&reference.as_str()]).await.map_err(refused)?;
        let Some(row) = row else { return Ok(None) };
        let user: Option<String> =
            row.try_get(0).map_err(|_| ResolverUnavailable("the query's first column is not text".into()))?;
        Ok(user.filter(|user| !user.is_empty()).map(UserId::new))
    };
    tokio::time::timeout(TIMEOUT * 2, ask)
        .await
        .unwrap_or_else(|_| Err(ResolverUnavailable("no answer in time".into())))
}

#[derive(Deserialize)]
struct Answer {
    user: String,
}

async fn by_get(
    client: &reqwest::Client,
    url: &str,
    token: Option<&SecretString>,
    reference: &ReferenceId,
) -> Result<Option<UserId>, ResolverUnavailable> {
    let encoded: String =
        url::form_urlencoded::byte_serialize(reference.as_str().as_bytes()).collect::<String>().replace('+', "%20");
    let mut request = client.get(url.replace("{reference}", &encoded));
    if let Some(token) = token {
        request = request.bearer_auth(token.expose_secret());
    }
    let answer = request.send().await.map_err(|error| {
        ResolverUnavailable(if error.is_timeout() { "no answer in time" } else { "not reachable" }.into())
    })?;
    match answer.status().as_u16() {
        200 => {
            let body = answer.bytes().await.map_err(|_| ResolverUnavailable("the answer broke off".into()))?;
            let parsed =
                (body.len() <= ANSWER_BYTES_MAX).then(|| serde_json::from_slice::<Answer>(&body).ok()).flatten();
            parsed
                .map(|answer| Some(UserId::new(answer.user)))
                .ok_or_else(|| ResolverUnavailable("the answer is not {\"user\": \"…\"}".into()))
        }
        404 => Ok(None),
        status => Err(ResolverUnavailable(format!("status {status}"))),
    }
}
