//! S3: what is asked of a server, and what its answers become.

use std::collections::HashMap;

use bytes::Bytes;
use domain::id::DeliveryId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::super::{Hint, Of, Payloads, Sealed};
use super::*;

/// As much of S3 as one bucket needs.
async fn bucket() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    TaskTracker::new().spawn(async move {
        let mut objects = HashMap::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            answer(&mut stream, &mut objects).await;
        }
    });
    format!("http://{address}")
}

async fn answer(stream: &mut TcpStream, objects: &mut HashMap<String, Vec<u8>>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if request.len() >= end + 4 + length {
                break (head, request[end + 4..].to_vec());
            }
        }
    };
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap().to_owned());
    assert!(head.contains("authorization: AWS4-HMAC-SHA256"), "{head}");
    let (status, content) = match method {
        "PUT" => {
            assert!(path.starts_with("/health/landfall/") && path.contains("/2026-11-22/"), "{path}");
            objects.insert(path, body);
            (200, Vec::new())
        }
        "GET" if path.contains("list-type=2") => (200, listing(&path, objects)),
        "GET" => objects.get(&path).map_or((404, Vec::new()), |object| (200, object.clone())),
        _ => {
            objects.remove(&path);
            (204, Vec::new())
        }
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\nconnection: close\r\netag: \"1\"\r\nlast-modified: Sun, 22 Nov 2026 07:00:00 GMT\r\n\
         content-length: {}\r\n\r\n",
        content.len()
    );
    stream.write_all(&[head.as_bytes(), &content].concat()).await.unwrap();
}

fn listing(path: &str, objects: &HashMap<String, Vec<u8>>) -> Vec<u8> {
    let parameters = path.split_once('?').map_or("", |(_, parameters)| parameters);
    let prefix = parameters.split('&').find_map(|one| one.strip_prefix("prefix=")).unwrap().replace("%2F", "/");
    let keys = objects.keys().filter_map(|path| path.strip_prefix("/health/"));
    let found: String = keys
        .filter(|key| key.starts_with(&prefix))
        .map(|key| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-22T07:00:00.000Z</LastModified><Size>5</Size>\
                 <ETag>1</ETag></Contents>"
            )
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>").into_bytes()
}

#[tokio::test]
async fn a_bucket_keeps_large_payloads_until_they_are_deleted() {
    let payloads = payloads().await;
    let hint = Hint { day: jiff::civil::date(2026, 11, 22), of: Of::Probe(Uuid::nil()) };
    let bytes = Bytes::from_static(b"steps steps steps steps steps");
    let sealed = payloads.seal(bytes.clone(), hint).await.unwrap();
    assert!(sealed.is_stored());
    assert_eq!(payloads.unseal(&sealed).await.unwrap(), bytes);
    payloads.delete(&sealed).await.unwrap();
    let lost = payloads.unseal(&sealed).await;
    assert!(matches!(lost, Err(PayloadError::Lost(_))), "{lost:?}");
}

#[tokio::test]
async fn documents_of_a_delivery_go_from_a_bucket_as_a_whole() {
    let payloads = payloads().await;
    let day = jiff::civil::date(2026, 11, 22);
    let [one, other] = [1, 2].map(|id| DeliveryId(Uuid::from_u128(id)));
    for (delivery, id) in [(one, 1), (one, 2), (other, 3)] {
        let hint = Hint { day, of: Of::Document { delivery, id: Uuid::from_u128(id) } };
        payloads.seal(Bytes::from_static(b"steps steps steps steps steps"), hint).await.unwrap();
    }
    let at = day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
    payloads.delete(&Sealed::documents_of(one, at)).await.unwrap();
    assert_eq!(payloads.stored(10).await.unwrap().0, 1, "the other's");
}

async fn payloads() -> Payloads {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = AmazonS3Builder::new()
        .with_endpoint(bucket().await)
        .with_allow_http(true)
        .with_region("eu-west-2")
        .with_access_key_id("id")
        .with_secret_access_key("secret");
    Payloads::over(open_with(builder, "health", "landfall").unwrap(), 10)
}
