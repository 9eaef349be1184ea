//! Where large payloads lie: a folder, or a bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;

use super::{PayloadError, s3};

/// What `LANDFALL_PAYLOADS_URL` may say. Receivers and workers must mean the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadsUrl {
    File(PathBuf),
    S3 { bucket: String, prefix: String },
}

impl PayloadsUrl {
    /// Reads `file:///path`, a bare path, or `s3://bucket/prefix`.
    pub fn parse(text: &str) -> Result<PayloadsUrl, PayloadError> {
        let refused = |reason: &str| PayloadError::Setting { url: text.into(), reason: reason.into() };
        if let Some(place) = text.strip_prefix("s3://") {
            let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
            if bucket.is_empty() {
                return Err(refused("it names no bucket, as in s3://bucket/prefix"));
            }
            return Ok(PayloadsUrl::S3 { bucket: bucket.into(), prefix: prefix.trim_matches('/').into() });
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        if path.contains("://") {
            return Err(refused("known are file:///path and s3://bucket/prefix"));
        }
        if path.is_empty() || (path != text && !path.starts_with('/')) {
            return Err(refused("it names no absolute path, as in file:///path"));
        }
        Ok(PayloadsUrl::File(path.into()))
    }
}

pub(super) fn open(url: &PayloadsUrl) -> Result<Arc<dyn ObjectStore>, PayloadError> {
    match url {
        PayloadsUrl::File(path) => local(path),
        PayloadsUrl::S3 { bucket, prefix } => s3::open(bucket, prefix),
    }
}

fn local(path: &Path) -> Result<Arc<dyn ObjectStore>, PayloadError> {
    let refused = |reason: String| PayloadError::Setting { url: path.display().to_string(), reason };
    make_folder(path).map_err(|error| refused(error.to_string()))?;
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| refused(error.to_string()))?;
    // Without this, an object could be gone after a power cut although the message that points to it is not.
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}

/// Health data: for our own user only.
fn make_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let path = path.canonicalize()?;
    match path.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: PayloadsUrl) {
        assert_eq!(PayloadsUrl::parse(text).unwrap(), expected);
    }

    #[test]
    fn folders_and_buckets_are_read() {
        let s3 = |bucket: &str, prefix: &str| PayloadsUrl::S3 { bucket: bucket.into(), prefix: prefix.into() };
        check("file:///var/lib/x", PayloadsUrl::File("/var/lib/x".into()));
        check("./landfall-data/p", PayloadsUrl::File("./landfall-data/p".into()));
        check("s3://bucket", s3("bucket", ""));
        check("s3://bucket/a/b/", s3("bucket", "a/b"));
    }

    #[test]
    fn other_places_are_refused() {
        for text in ["", "file://", "file://host/path", "s3://", "s3:///prefix", "gs://bucket"] {
            assert!(PayloadsUrl::parse(text).is_err(), "{text}");
        }
    }
}
