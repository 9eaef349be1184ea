//! Buckets of S3 and of what speaks like it. Region, credentials and endpoint come from the standard `AWS_*` variables.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};
use reqwest::{Body, Client, Request, redirect};

use super::{PAYLOAD_BYTES_MAX, PayloadError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Within the deadline of one operation; whoever sent the payload tries again as well.
const TRIES_MORE: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(4);

pub(super) fn open(bucket: &str, prefix: &str) -> Result<Arc<dyn ObjectStore>, PayloadError> {
    open_with(AmazonS3Builder::from_env(), bucket, prefix)
}

fn open_with(builder: AmazonS3Builder, bucket: &str, prefix: &str) -> Result<Arc<dyn ObjectStore>, PayloadError> {
    let retry = RetryConfig { max_retries: TRIES_MORE, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    // Deleting many at once is what stores that only speak like S3 lack most often.
    let builder = builder.with_bucket_name(bucket).with_disable_bulk_delete(true);
    let builder = builder.with_retry(retry).with_http_connector(Connector);
    let store = builder
        .build()
        .map_err(|error| PayloadError::Setting { url: format!("s3://{bucket}/{prefix}"), reason: error.to_string() })?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

/// Our own HTTP client: the one `object_store` would bring along needs HTTP/2 and a second TLS library.
#[derive(Debug)]
struct Connector;

#[derive(Debug)]
struct Service(Client);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allow_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .https_only(allow_http.as_deref() != Some("true"))
            .redirect(redirect::Policy::none())
            .build();
        let client = client.map_err(|source| object_store::Error::Generic { store: "S3", source: source.into() })?;
        Ok(HttpClient::new(Service(client)))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = Request::try_from(request.map(Body::wrap)).map_err(failed)?;
        let mut response = self.0.execute(request).await.map_err(failed)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > PAYLOAD_BYTES_MAX + 1 {
                let error = std::io::Error::other("the answer is too large");
                return Err(HttpError::new(HttpErrorKind::Decode, error));
            }
            body.extend_from_slice(&chunk);
        }
        let mut answer = HttpResponse::new(HttpResponseBody::from(body.freeze()));
        *answer.status_mut() = response.status();
        *answer.headers_mut() = response.headers().clone();
        Ok(answer)
    }
}

/// Its kind decides whether `object_store` tries again.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error.without_url())
}

#[cfg(test)]
mod tests;
