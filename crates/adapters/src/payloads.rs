//! The one place where payload bytes go in and out: compressed, and above a limit kept outside (the claim check).
//!
//! A sealed payload is one byte that names its form, then the content:
//!
//! | form | content |
//! |---|---|
//! | 0 | a checksum, then the bytes as they came |
//! | 1 | a checksum, then an LZ4 block with its size before it; only where that is smaller |
//! | 2 | a pointer: JSON with key, size and SHA-256 of an object in the payload store, which is itself form 0 or 1 |
//! | 3 | the name of everything that tries of one delivery kept as documents: JSON with day and delivery. It cannot be read, only deleted |
//!
//! The checksum (CRC-32C of form and content, four bytes, little-endian) is there because neither SQLite nor PostgreSQL
//! as Debian makes it has one for what lies on the disk: a byte that was turned there must not pass for somebody's heart rate.

mod place;
mod s3;
mod tally;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::delivery::Delivery;
use domain::id::DeliveryId;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use place::PayloadsUrl;
use tally::Tally;

/// The largest payload, unpacked: what a prepended size may make us allocate.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1_024 * 1_024;

/// How long the payload store may take to keep an object. A webhook waits for it, and Terra's patience is 8 s.
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// How long it may take to give one back, or to remove one.
const READ_DEADLINE: Duration = Duration::from_secs(30);

/// How long a webhook that is refused anyway waits for it to remove an object.
const LET_GO_DEADLINE: Duration = Duration::from_secs(1);

/// How long it may take to say what it holds.
const LIST_DEADLINE: Duration = Duration::from_secs(120);

/// From here on packing takes milliseconds and moves to a thread that may block.
const PACK_INLINE_MAX: usize = 256 * 1_024;

/// LZ4 cannot make a block more than 255 times as large.
const LZ4_RATIO_MAX: usize = 255;

const FORM_RAW: u8 = 0;
const FORM_LZ4: u8 = 1;
const FORM_POINTER: u8 = 2;
const FORM_DOCUMENTS: u8 = 3;

const CHECKSUM_BYTES: usize = 4;

/// Behind form and checksum.
const CONTENT_AT: usize = 1 + CHECKSUM_BYTES;

/// Payload bytes as kept in messages and columns. Opaque to everybody but [`Payloads`]; the first byte names the form.
/// As JSON this would be an array of numbers: keep it beside JSON, never in it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub Bytes);

impl Sealed {
    /// True where the content lies in the payload store.
    pub fn is_stored(&self) -> bool {
        matches!(self.0.first(), Some(&(FORM_POINTER | FORM_DOCUMENTS)))
    }

    /// All that tries of a delivery put into the payload store beside its body, whether or not somebody came to know of
    /// it. For a delivery of which no record is left, and which nobody can try again.
    pub fn documents_of(delivery: DeliveryId, received_at: Timestamp) -> Sealed {
        let all = DocumentsOf { day: day_of(received_at), delivery };
        Sealed(with_json(FORM_DOCUMENTS, &all))
    }

    /// No bytes at all.
    pub fn nothing() -> Sealed {
        Sealed(pack(&[]))
    }

    /// Bytes this takes in a message or a row.
    pub fn size_in_row(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

/// Names the object of a large payload, so that two causes never share one and each may be deleted alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// Of the day that the cause was received: what is left of a day can be dropped with it.
    pub day: Date,
    pub of: Of,
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Delivery(DeliveryId),
    /// A record's, as this delivery says it; `id` is derived from record and delivery.
    Document {
        delivery: DeliveryId,
        id: Uuid,
    },
    /// A request whose signature failed.
    Quarantined(Uuid),
    /// Nobody's: to see whether the payload store works.
    Probe(Uuid),
}

const DELIVERIES: &str = "deliveries";
const DOCUMENTS: &str = "documents";

impl Hint {
    pub fn of(delivery: &Delivery) -> Hint {
        Hint { day: day_of(delivery.received_at), of: Of::Delivery(delivery.id) }
    }

    pub fn document(delivery: &Delivery, id: Uuid) -> Hint {
        Hint { day: day_of(delivery.received_at), of: Of::Document { delivery: delivery.id, id } }
    }

    /// Where its objects lie; what follows makes each its own.
    fn prefix(&self) -> String {
        let day = self.day;
        match self.of {
            Of::Delivery(id) => format!("{DELIVERIES}/{day}/{id}"),
            Of::Document { delivery, id } => format!("{}/{id}", documents_folder(day, delivery)),
            Of::Quarantined(id) => format!("quarantine/{day}/{id}"),
            Of::Probe(id) => format!("probes/{day}/{id}"),
        }
    }
}

fn day_of(received_at: Timestamp) -> Date {
    received_at.to_zoned(TimeZone::UTC).date()
}

fn documents_folder(day: Date, delivery: DeliveryId) -> String {
    format!("{DOCUMENTS}/{day}/{delivery}")
}

#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// It will not come back: retrying is useless.
    #[error("the payload is lost: {0}")]
    Lost(String),
    #[error("the payload store did not {attempted}")]
    Unavailable {
        attempted: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("a payload of {size} bytes is larger than {PAYLOAD_BYTES_MAX}")]
    TooLarge { size: usize },
    /// The setting is at fault: nothing was tried.
    #[error("open the payload store {url}: {reason}")]
    Setting { url: String, reason: String },
}

/// Seals and unseals payloads. Cheap to clone.
#[derive(Clone)]
pub struct Payloads {
    store: Arc<dyn ObjectStore>,
    inline_max: usize,
    tally: Arc<Tally>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pointer {
    key: String,
    size: u64,
    /// Hexadecimal; of the object as stored.
    sha256: String,
}

/// Names a folder by what it is of: no damage can turn it into the name of a greater one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DocumentsOf {
    day: Date,
    delivery: DeliveryId,
}

impl Payloads {
    /// Opens the payload store; makes the folder of a local one. `inline_max` counts bytes before packing.
    pub fn open(url: &PayloadsUrl, inline_max: usize) -> Result<Payloads, PayloadError> {
        Ok(Payloads::over(place::open(url)?, inline_max))
    }

    /// A payload store that ends with the process, for tests.
    pub fn in_memory(inline_max: usize) -> Payloads {
        Payloads::over(Arc::new(object_store::memory::InMemory::new()), inline_max)
    }

    fn over(store: Arc<dyn ObjectStore>, inline_max: usize) -> Payloads {
        Payloads { store, inline_max, tally: Arc::default() }
    }

    /// Packs the bytes. Large ones are in the payload store, synced, before this returns.
    pub async fn seal(&self, bytes: Bytes, hint: Hint) -> Result<Sealed, PayloadError> {
        let size = bytes.len();
        if size > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLarge { size });
        }
        if size <= self.inline_max && size <= PACK_INLINE_MAX {
            return Ok(Sealed(pack(&bytes)));
        }
        let (packed, sha256) = aside(move || {
            let packed = pack(&bytes);
            let sha256 = hex::encode(Sha256::digest(&packed));
            (packed, sha256)
        })
        .await?;
        if size <= self.inline_max {
            return Ok(Sealed(packed));
        }
        self.put(packed, sha256, hint).await
    }

    /// Gives back the bytes as they were sealed.
    pub async fn unseal(&self, sealed: &Sealed) -> Result<Bytes, PayloadError> {
        let packed = match pointer(sealed)? {
            Some(pointer) => self.get(&pointer).await?,
            None => sealed.0.clone(),
        };
        if packed.len() <= PACK_INLINE_MAX {
            return unpack(&packed);
        }
        aside(move || unpack(&packed)).await?
    }

    /// Removes what the payload store holds for this; nothing to do for what rides in its row.
    pub async fn delete(&self, sealed: &Sealed) -> Result<(), PayloadError> {
        if let Some(all) = documents_of(sealed)? {
            return self.delete_all(&documents_folder(all.day, all.delivery)).await.map(|_| ());
        }
        let Some(pointer) = pointer(sealed)? else { return Ok(()) };
        let key = key_of(&pointer)?;
        match within(READ_DEADLINE, "delete an object", self.store.delete(&key)).await {
            Ok(()) => {
                self.tally.removed(pointer.size);
                Ok(())
            }
            Err(PayloadError::Lost(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what was sealed in vain, if that can be done at once: what stays goes with its day.
    pub async fn let_go(&self, sealed: &Sealed) {
        let _ = tokio::time::timeout(LET_GO_DEADLINE, self.delete(sealed)).await;
    }

    /// Removes the bodies of deliveries received before `day`: those whose rows are gone by then, and those that never
    /// had one, because the queue did not take them and nobody was told that they are stored.
    pub async fn delete_deliveries_before(&self, day: Date) -> Result<u64, PayloadError> {
        let folder = Path::from(DELIVERIES);
        let listed = within(LIST_DEADLINE, "list its days", self.store.list_with_delimiter(Some(&folder))).await?;
        let mut gone = 0;
        for prefix in listed.common_prefixes {
            let its_day = prefix.filename().and_then(|name| name.parse::<Date>().ok());
            if its_day.is_some_and(|its_day| its_day < day) {
                gone += self.delete_all(prefix.as_ref()).await?;
            }
        }
        Ok(gone)
    }

    async fn delete_all(&self, prefix: &str) -> Result<u64, PayloadError> {
        let prefix = Path::from(prefix);
        let found = self.store.list(Some(&prefix)).map_ok(|object| (object.location, object.size));
        let mut gone = 0;
        for (key, bytes) in within(LIST_DEADLINE, "list its objects", found.try_collect::<Vec<_>>()).await? {
            match within(READ_DEADLINE, "delete an object", self.store.delete(&key)).await {
                Ok(()) => {
                    gone += 1;
                    self.tally.removed(bytes);
                }
                Err(PayloadError::Lost(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(gone)
    }

    /// What the payload store holds: objects and bytes, of the first `objects_max` it lists.
    pub async fn stored(&self, objects_max: usize) -> Result<(u64, u64), PayloadError> {
        let count =
            self.store.list(None).take(objects_max).try_fold((0, 0), |(objects, bytes), object| {
                std::future::ready(Ok((objects + 1, bytes + object.size)))
            });
        let (objects, bytes) = within(LIST_DEADLINE, "list its objects", count).await?;
        self.tally.counted(objects, bytes);
        Ok((objects, bytes))
    }

    /// What [`Payloads::stored`] last counted, with what this process has put there and removed since; `None` before it
    /// ever did.
    pub fn tally(&self) -> Option<(u64, u64)> {
        self.tally.now()
    }

    async fn put(&self, packed: Bytes, sha256: String, hint: Hint) -> Result<Sealed, PayloadError> {
        // The digest in the key: a second try with other bytes never overwrites what a row already points to.
        let key = format!("{}-{}", hint.prefix(), &sha256[..16]);
        let pointer = Pointer { key, size: packed.len() as u64, sha256 };
        let path = key_of(&pointer)?;
        within(STORE_DEADLINE, "store an object", self.store.put(&path, PutPayload::from_bytes(packed))).await?;
        self.tally.added(pointer.size);
        Ok(Sealed(with_json(FORM_POINTER, &pointer)))
    }

    async fn get(&self, pointer: &Pointer) -> Result<Bytes, PayloadError> {
        let key = key_of(pointer)?;
        let found = within(READ_DEADLINE, "read an object", async {
            let found = self.store.get(&key).await?;
            // Not read at all where the size is wrong: it may be huge.
            if found.meta.size != pointer.size || pointer.size > (PAYLOAD_BYTES_MAX + 1) as u64 {
                return Ok(None);
            }
            found.bytes().await.map(Some)
        });
        let wrong = || PayloadError::Lost(format!("the object {} is not what was stored", pointer.key));
        let bytes = found.await?.ok_or_else(wrong)?;
        let digest = bytes.clone();
        let sha256 = aside(move || hex::encode(Sha256::digest(&digest))).await?;
        if sha256 == pointer.sha256 { Ok(bytes) } else { Err(wrong()) }
    }
}

fn pointer(sealed: &Sealed) -> Result<Option<Pointer>, PayloadError> {
    match sealed.0.split_first() {
        Some((&FORM_POINTER, json)) => {
            serde_json::from_slice(json).map(Some).map_err(|_| PayloadError::Lost("its pointer is unreadable".into()))
        }
        Some(_) | None => Ok(None),
    }
}

fn documents_of(sealed: &Sealed) -> Result<Option<DocumentsOf>, PayloadError> {
    match sealed.0.split_first() {
        Some((&FORM_DOCUMENTS, json)) => {
            serde_json::from_slice(json).map(Some).map_err(|_| PayloadError::Lost("its name is unreadable".into()))
        }
        Some(_) | None => Ok(None),
    }
}

fn with_json(form: u8, content: &impl Serialize) -> Bytes {
    let mut sealed = vec![form];
    serde_json::to_writer(&mut sealed, content).expect("invariant: plain fields into memory");
    sealed.into()
}

fn key_of(pointer: &Pointer) -> Result<Path, PayloadError> {
    Path::parse(&pointer.key).map_err(|_| PayloadError::Lost("its pointer names no object".into()))
}

fn pack(bytes: &[u8]) -> Bytes {
    let block = lz4_flex::block::compress_prepend_size(bytes);
    let (form, content) = if block.len() < bytes.len() { (FORM_LZ4, block.as_slice()) } else { (FORM_RAW, bytes) };
    let mut packed = Vec::with_capacity(CONTENT_AT + content.len());
    packed.push(form);
    packed.extend_from_slice(&checksum(form, content));
    packed.extend_from_slice(content);
    packed.into()
}

fn checksum(form: u8, content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&[form]);
    digest.update(content);
    u32::try_from(digest.finalize()).expect("invariant: this algorithm has 32 bits").to_le_bytes()
}

fn unpack(packed: &Bytes) -> Result<Bytes, PayloadError> {
    let damaged = |what: &str| PayloadError::Lost(format!("its bytes are {what}"));
    let form = *packed.first().ok_or_else(|| damaged("missing"))?;
    if !matches!(form, FORM_RAW | FORM_LZ4) {
        return Err(damaged("of an unknown form"));
    }
    if packed.len() < CONTENT_AT {
        return Err(damaged("cut short"));
    }
    let content = packed.slice(CONTENT_AT..);
    if packed[1..CONTENT_AT] != checksum(form, &content) {
        return Err(damaged("not those that were kept"));
    }
    match form {
        FORM_RAW => Ok(content),
        _ => {
            let (size, block) = lz4_flex::block::uncompressed_size(&content).map_err(|_| damaged("cut short"))?;
            let reachable = block.len().saturating_mul(LZ4_RATIO_MAX);
            if size > PAYLOAD_BYTES_MAX || size > reachable {
                return Err(damaged("of an impossible size"));
            }
            lz4_flex::block::decompress(block, size).map(Bytes::from).map_err(|_| damaged("damaged"))
        }
    }
}

/// Runs what takes milliseconds of processor time where it delays nobody else.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PayloadError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|source| PayloadError::Unavailable { attempted: "finish its work", source: source.into() })
}

async fn within<T>(
    deadline: Duration,
    attempted: &'static str,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, PayloadError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(object_store::Error::NotFound { path, .. })) => {
            Err(PayloadError::Lost(format!("there is no object {path}")))
        }
        Ok(Err(source)) => Err(PayloadError::Unavailable { attempted, source: source.into() }),
        Err(source) => Err(PayloadError::Unavailable { attempted, source: source.into() }),
    }
}

#[cfg(test)]
mod tests;
