//! Whether SQLite's log (`-wal`) is damaged, found out before SQLite opens it.
//!
//! SQLite takes the log up to the first frame that is not right and drops the rest without a word: one byte that turned
//! would cost every commit after it. After a crash that is as it should be, since the end of the log may be torn. So
//! here a torn end is told from damage:
//!
//! - One thread writes, and each commit is synced before the next begins (`synchronous` is FULL). Each frame's checksum
//!   goes on from that of the frame before. So a frame whose checksum goes on from a commit proves that this commit was
//!   synced, and so was all before it. If anything before is not right, it was right once: damage.
//! - The same holds for the head of the log, which is synced before the first frame is written.
//! - The index beside the log (`-shm`) says how many frames are committed, and is written after their sync. It outlives
//!   a process that is killed, and covers the last commit too.
//!
//! What is no proof: frames with other salts (left from before the log was begun anew), and frames that an undone, failed
//! or torn transaction left, for none goes on from a commit of theirs. A torn transaction may have reached the disk in
//! any order.
//!
//! Source: <https://sqlite.org/fileformat2.html#walformat> and <https://sqlite.org/walformat.html>, read 2026-11-22.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

const HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 24;
const PAGE_BYTES_MIN: usize = 512;
const PAGE_BYTES_MAX: usize = 65_536;

/// The last bit says in which order the words of a checksum are read.
const MAGIC: u32 = 0x377f_0682;

/// What the index begins with, twice.
const INDEX_HEAD_BYTES: usize = 48;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("the first {HEAD_BYTES} bytes of its log landfall.db-wal are not what was written, and commits follow")]
    Head,
    #[error("its log landfall.db-wal is not what was written from byte {at} on, and later commits follow")]
    Frame { at: u64 },
    #[error(
        "its log landfall.db-wal can be read up to frame {found}, and frames up to {committed} were committed: \
         what comes at byte {at} is not what was written"
    )]
    Lost { found: u32, committed: u32, at: u64 },
}

/// What is wrong with the log of `database`, if anything. Changes nothing.
pub(super) fn damage(database: &Path) -> io::Result<Option<Damage>> {
    let Some(log) = there(File::open(beside(database, "-wal")))? else { return Ok(None) };
    let mut index = Vec::new();
    if let Some(file) = there(File::open(beside(database, "-shm")))? {
        file.take(2 * INDEX_HEAD_BYTES as u64).read_to_end(&mut index)?;
    }
    examine(&mut BufReader::with_capacity(PAGE_BYTES_MAX, log), &Index::read(&index))
}

/// A process that was killed may have left whole frames unsynced, which SQLite takes for committed and notes in the index:
/// from here on that is true.
pub(super) fn sync(database: &Path) -> io::Result<()> {
    match there(File::open(beside(database, "-wal")))? {
        Some(log) => log.sync_all(),
        None => Ok(()),
    }
}

pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn there(opened: io::Result<File>) -> io::Result<Option<File>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn examine(log: &mut impl Read, index: &[Index]) -> io::Result<Option<Damage>> {
    let mut head = [0; HEAD_BYTES];
    if !fill(log, &mut head)? {
        return Ok(None);
    }
    match Format::read(&head) {
        Some(format) => examine_frames(log, &head, format, index),
        None => examine_headless(log, &head, index),
    }
}

/// Walks the whole log. Up to `found` SQLite takes it.
fn examine_frames(
    log: &mut impl Read,
    head: &[u8; HEAD_BYTES],
    format: Format,
    index: &[Index],
) -> io::Result<Option<Damage>> {
    let salts = &head[16..24];
    let (mut number, mut found, mut first_bad) = (0, 0, None);
    let mut seeds = [Sum::stored(&head[24..]); 2];
    let mut after_commit = false;
    let mut frame = Frame::of(format.page_bytes);
    while fill(log, &mut frame.head)? && fill(log, &mut frame.page)? {
        number += 1;
        let is_current = frame.salts() == salts;
        let sums = seeds.map(|seed| frame.sum(format.order, seed));
        let goes_on = sums.contains(&frame.stored());
        match first_bad {
            None if is_current && goes_on && frame.head[..4] != [0; 4] => {
                if frame.is_commit() {
                    found = number;
                }
                seeds = [frame.stored(); 2];
                continue;
            }
            None => first_bad = Some(number),
            Some(bad) if is_current && goes_on && after_commit => {
                return Ok(Some(Damage::Frame { at: format.offset(bad) }));
            }
            Some(_) => {}
        }
        after_commit = frame.was_commit(format.order, seeds);
        // Of two frames that do not fit, either the checksum in the first has turned or something that it covers.
        seeds = [frame.stored(), sums[0]];
    }
    let noted = index.iter().filter(|index| index.salts == salts).map(|index| index.frames).max().unwrap_or(0);
    let lost = Damage::Lost { found, committed: noted, at: format.offset(first_bad.unwrap_or(number + 1)) };
    Ok((noted > found).then_some(lost))
}

/// SQLite takes a log whose head is not right for an empty one. It is damaged if frames follow that fit the head, or each
/// other; the head may hide how long a page is and how words are read.
fn examine_headless(log: &mut impl Read, head: &[u8; HEAD_BYTES], index: &[Index]) -> io::Result<Option<Damage>> {
    let mut rest = Vec::new();
    log.take(2 * (FRAME_HEAD_BYTES + PAGE_BYTES_MAX) as u64).read_to_end(&mut rest)?;
    let is_noted = |salts: Option<&[u8]>| index.iter().any(|index| index.frames > 0 && salts == Some(&index.salts[..]));
    if is_noted(Some(&head[16..24])) || is_noted(rest.get(8..16)) {
        return Ok(Some(Damage::Head));
    }
    for page_bytes in (9..=16).map(|power| 1 << power) {
        let mut rest = &rest[..];
        let (mut first, mut second) = (Frame::of(page_bytes), Frame::of(page_bytes));
        if !(fill(&mut rest, &mut first.head)? && fill(&mut rest, &mut first.page)?) {
            break;
        }
        let has_second = fill(&mut rest, &mut second.head)? && fill(&mut rest, &mut second.page)?;
        for order in [Order::Little, Order::Big] {
            let seeds = [Sum::stored(&head[24..]), order.sum(Sum::default(), &head[..24])];
            let fits_head = seeds.iter().any(|seed| first.sum(order, *seed) == first.stored());
            let fits_first =
                has_second && first.salts() == second.salts() && second.sum(order, first.stored()) == second.stored();
            if fits_head || fits_first {
                return Ok(Some(Damage::Head));
            }
        }
    }
    Ok(None)
}

/// False where the input ends before `buffer` is full.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn big_endian(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// In which order the words of a checksum are read.
#[derive(Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// SQLite's checksum: two sums that feed each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum(u32, u32);

impl Sum {
    /// As it stands in the file: always the highest byte first.
    fn stored(bytes: &[u8]) -> Sum {
        Sum(big_endian(bytes), big_endian(&bytes[4..]))
    }
}

impl Order {
    fn word(self, bytes: &[u8]) -> u32 {
        match self {
            Order::Little => big_endian(bytes).swap_bytes(),
            Order::Big => big_endian(bytes),
        }
    }

    fn sum(self, seed: Sum, bytes: &[u8]) -> Sum {
        let mut sum = seed;
        for pair in bytes.chunks_exact(8) {
            sum.0 = sum.0.wrapping_add(self.word(pair)).wrapping_add(sum.1);
            sum.1 = sum.1.wrapping_add(self.word(&pair[4..])).wrapping_add(sum.0);
        }
        sum
    }

    /// The sum before `bytes` were added.
    fn without(self, sum: Sum, bytes: &[u8]) -> Sum {
        let mut sum = sum;
        for pair in bytes.rchunks_exact(8) {
            sum.1 = sum.1.wrapping_sub(self.word(&pair[4..])).wrapping_sub(sum.0);
            sum.0 = sum.0.wrapping_sub(self.word(pair)).wrapping_sub(sum.1);
        }
        sum
    }
}

/// What the head of a log says of it.
#[derive(Clone, Copy)]
struct Format {
    order: Order,
    page_bytes: usize,
}

impl Format {
    /// `None` where SQLite takes the log for empty.
    fn read(head: &[u8; HEAD_BYTES]) -> Option<Format> {
        let magic = big_endian(head);
        let order = if magic & 1 == 1 { Order::Big } else { Order::Little };
        let page_bytes = usize::try_from(big_endian(&head[8..])).ok()?;
        let is_page = (PAGE_BYTES_MIN..=PAGE_BYTES_MAX).contains(&page_bytes) && page_bytes.is_power_of_two();
        let is_right =
            magic & !1 == MAGIC && is_page && order.sum(Sum::default(), &head[..24]) == Sum::stored(&head[24..]);
        is_right.then_some(Format { order, page_bytes })
    }

    /// Where frame `number` begins; they are counted from 1.
    fn offset(self, number: u32) -> u64 {
        HEAD_BYTES as u64 + u64::from(number - 1) * (FRAME_HEAD_BYTES + self.page_bytes) as u64
    }
}

/// A page as some transaction left it. Head: number of the page, pages of the file after a commit or 0, salts, checksum.
struct Frame {
    head: [u8; FRAME_HEAD_BYTES],
    page: Vec<u8>,
}

impl Frame {
    fn of(page_bytes: usize) -> Frame {
        Frame { head: [0; FRAME_HEAD_BYTES], page: vec![0; page_bytes] }
    }

    fn salts(&self) -> &[u8] {
        &self.head[8..16]
    }

    fn stored(&self) -> Sum {
        Sum::stored(&self.head[16..])
    }

    fn sum(&self, order: Order, seed: Sum) -> Sum {
        order.sum(order.sum(seed, &self.head[..8]), &self.page)
    }

    fn is_commit(&self) -> bool {
        self.head[4..8] != [0; 4]
    }

    /// The same of a frame that may be damaged: where checksum, page and its number agree, they say what the mark of a
    /// commit was.
    fn was_commit(&self, order: Order, seeds: [Sum; 2]) -> bool {
        let after = order.without(self.stored(), &self.page);
        let agrees = |seed: &&Sum| after.0 == seed.0.wrapping_add(seed.1).wrapping_add(order.word(&self.head));
        match seeds.iter().find(agrees) {
            Some(seed) => after.1 != seed.1.wrapping_add(after.0),
            None => self.is_commit(),
        }
    }
}

/// A head of the index that is whole: in the order of this machine, written twice, the second first.
struct Index {
    salts: [u8; 8],
    frames: u32,
}

impl Index {
    fn read(bytes: &[u8]) -> Vec<Index> {
        let order = if cfg!(target_endian = "big") { Order::Big } else { Order::Little };
        let whole = |head: &[u8]| {
            let sum = Sum(order.word(&head[40..]), order.word(&head[44..]));
            let is_whole = head[12] == 1 && order.sum(Sum::default(), &head[..40]) == sum;
            let salts = head[32..40].try_into().ok()?;
            is_whole.then_some(Index { salts, frames: order.word(&head[16..]) })
        };
        bytes.chunks_exact(INDEX_HEAD_BYTES).filter_map(whole).collect()
    }
}

#[cfg(test)]
mod tests;
