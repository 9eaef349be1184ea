//! Damage of the log and torn ends, told apart: SQLite itself writes the logs and says what it makes of them.

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::embedded::scratch::Scratch;

/// The smallest there is, so that every byte can be tried.
const PAGE_BYTES: usize = 512;
const FRAME_BYTES: usize = FRAME_HEAD_BYTES + PAGE_BYTES;
const COMMITS: u32 = 4;

/// What a killed process leaves, after each of its commits the bytes of its log that were in use.
struct Left {
    database: Vec<u8>,
    log: Vec<u8>,
    index: Vec<u8>,
    ends: Vec<usize>,
}

fn connect(scratch: &Scratch) -> Connection {
    let connection = Connection::open(scratch.path().join("some.db")).unwrap();
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64).unwrap();
    for (name, value) in [("journal_mode", "WAL"), ("wal_autocheckpoint", "0"), ("synchronous", "FULL")] {
        connection.pragma_update(None, name, value).unwrap();
    }
    connection
}

fn insert(connection: &Connection, number: u32, bytes: u32) {
    connection.execute("INSERT INTO number VALUES (?1, randomblob(?2))", (number, bytes)).unwrap();
}

/// An empty table, all of it in the one file.
fn begin(scratch: &Scratch) -> Connection {
    std::fs::create_dir_all(scratch.path()).unwrap();
    let connection = connect(scratch);
    connection.execute("CREATE TABLE number (value INTEGER PRIMARY KEY, filler BLOB) STRICT", []).unwrap();
    checkpoint(&connection, "TRUNCATE");
    connection
}

fn checkpoint(connection: &Connection, kind: &str) {
    connection.query_row(&format!("PRAGMA wal_checkpoint({kind})"), [], |_| Ok(())).unwrap();
}

fn bytes_of(scratch: &Scratch, ending: &str) -> Vec<u8> {
    std::fs::read(beside(&scratch.path().join("some.db"), ending)).unwrap()
}

/// Commits of one frame, of some, of one again: the last byte of a commit may be in a frame of any place.
fn commit(scratch: &Scratch, connection: &Connection, numbers: std::ops::RangeInclusive<u32>) -> Left {
    let mut ends = Vec::new();
    for number in numbers {
        insert(connection, number, if number.is_multiple_of(3) { 1_300 } else { 10 });
        let frames = Index::read(&bytes_of(scratch, "-shm")[..96])[0].frames as usize;
        ends.push(HEAD_BYTES + frames * FRAME_BYTES);
    }
    let [database, log, index] = ["", "-wal", "-shm"].map(|ending| bytes_of(scratch, ending));
    Left { database, log, index, ends }
}

/// A log that was never begun anew.
fn fresh() -> Left {
    let scratch = Scratch::new();
    let connection = begin(&scratch);
    commit(&scratch, &connection, 1..=COMMITS)
}

/// One that was begun anew over a longer one: frames with other salts follow.
fn reused() -> Left {
    let scratch = Scratch::new();
    let connection = begin(&scratch);
    commit(&scratch, &connection, 101..=106);
    checkpoint(&connection, "RESTART");
    commit(&scratch, &connection, 1..=COMMITS)
}

impl Left {
    /// Where commit `number` ends in the log.
    fn end(&self, number: u32) -> usize {
        self.ends[number as usize - 1]
    }

    fn said(&self, log: &[u8]) -> Option<Damage> {
        examine(&mut &*log, &[]).unwrap()
    }

    fn said_with_index(&self, log: &[u8]) -> Option<Damage> {
        examine(&mut &*log, &Index::read(&self.index[..96])).unwrap()
    }

    /// The numbers that SQLite finds, with `log` in the place of the log.
    fn kept(&self, log: &[u8]) -> Vec<u32> {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.path()).unwrap();
        let database = scratch.path().join("some.db");
        std::fs::write(&database, &self.database).unwrap();
        std::fs::write(beside(&database, "-wal"), log).unwrap();
        let connection = Connection::open(&database).unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        let mut statement = connection.prepare("SELECT value FROM number WHERE value <= 100 ORDER BY value").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

/// Other values for a byte: all bits, one bit, none left.
fn others(byte: u8, at: usize) -> impl Iterator<Item = u8> {
    [byte ^ 0xff, byte ^ 1 << (at % 8), 0].into_iter().filter(move |other| *other != byte)
}

#[test]
fn a_log_as_it_was_written_is_good() {
    for left in [fresh(), reused()] {
        assert_eq!(left.said_with_index(&left.log), None);
        assert_eq!(left.kept(&left.log), (1..=COMMITS).collect::<Vec<_>>());
    }
}

#[test]
fn any_byte_that_turned_before_the_last_commit_is_noticed() {
    for left in [fresh(), reused()] {
        let mut log = left.log.clone();
        for at in 0..left.end(COMMITS - 1) {
            for other in others(left.log[at], at) {
                log[at] = other;
                assert!(left.said(&log).is_some(), "byte {at}: {:#x} instead of {:#x}", other, left.log[at]);
            }
            log[at] = left.log[at];
        }
    }
}

#[test]
fn the_index_of_a_killed_process_covers_the_last_commit_too() {
    for left in [fresh(), reused()] {
        let mut log = left.log.clone();
        for at in 0..left.end(COMMITS) {
            log[at] ^= 0xff;
            assert!(left.said_with_index(&log).is_some(), "byte {at}");
            log[at] ^= 0xff;
        }
        for at in left.end(COMMITS)..left.log.len() {
            log[at] ^= 0xff;
            assert_eq!(left.said_with_index(&log), None, "byte {at} is from before the log was begun anew");
            log[at] ^= 0xff;
        }
    }
}

#[test]
fn a_log_that_ends_early_is_torn_wherever_it_ends() {
    let left = fresh();
    for end in 0..left.log.len() {
        assert_eq!(left.said(&left.log[..end]), None, "at {end}");
    }
    let short = left.said_with_index(&left.log[..left.end(3)]);
    assert!(matches!(short, Some(Damage::Lost { .. })), "but what is noted as committed is missed: {short:?}");
}

#[test]
fn a_head_that_was_overwritten_is_noticed() {
    let left = fresh();
    for filler in [0, 0xff] {
        let mut log = left.log.clone();
        log[..HEAD_BYTES].fill(filler);
        assert_eq!(left.said(&log), Some(Damage::Head));
    }
    assert_eq!(left.said(&[0; HEAD_BYTES]), None, "nothing follows");
}

#[test]
fn what_failed_or_torn_transactions_left_behind_is_no_damage() {
    let scratch = Scratch::new();
    let connection = begin(&scratch);
    let first = commit(&scratch, &connection, 1..=2);
    insert(&connection, 3, 9_000);
    let mut log = bytes_of(&scratch, "-wal");
    drop(connection);
    // Its first frame never reached the disk, and those after it did.
    log[first.end(2)..first.end(2) + FRAME_BYTES].fill(0);
    assert_eq!(first.said(&log), None);
    // Later processes go on in the same log, each torn in its turn, and leave commits that nothing goes on from.
    for (number, bytes) in [(4, 6_000), (5, 3_000), (6, 10)] {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.path()).unwrap();
        let database = scratch.path().join("some.db");
        std::fs::write(&database, &first.database).unwrap();
        std::fs::write(beside(&database, "-wal"), &log).unwrap();
        let connection = connect(&scratch);
        insert(&connection, number, bytes);
        log = bytes_of(&scratch, "-wal");
        assert_eq!(first.said(&log), None, "{number}");
        assert_eq!(first.kept(&log), [1, 2, number]);
        if number < 6 {
            log[first.end(2)..first.end(2) + FRAME_BYTES].fill(0);
            assert_eq!(first.said(&log), None, "{number}, torn");
        }
    }
}

#[test]
fn the_checksum_is_undone_by_its_inverse() {
    let bytes: Vec<u8> = (0..64).collect();
    for order in [Order::Little, Order::Big] {
        let seed = Sum(7, 11);
        assert_eq!(order.without(order.sum(seed, &bytes), &bytes), seed);
    }
}

#[test]
fn an_index_that_is_not_whole_says_nothing() {
    let mut index = fresh().index[..96].to_vec();
    assert_eq!(Index::read(&index).len(), 2);
    index[16] ^= 1;
    assert_eq!(Index::read(&index).len(), 1);
    assert!(Index::read(&[0; 96]).is_empty() && Index::read(&[]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    /// Whatever turned, either it is noticed or SQLite itself finds every commit but perhaps the last.
    #[test]
    fn one_byte_that_turned_costs_no_commit_before_the_last_unnoticed(
        at in any::<proptest::sample::Index>(), other in 1..=255_u8, again in any::<bool>(),
    ) {
        let left = if again { reused() } else { fresh() };
        let mut log = left.log.clone();
        log[at.index(left.log.len())] ^= other;
        if left.said(&log).is_none() {
            prop_assert!(left.kept(&log).starts_with(&(1..COMMITS).collect::<Vec<_>>()));
        }
        if left.said_with_index(&log).is_none() {
            prop_assert_eq!(left.kept(&log), (1..=COMMITS).collect::<Vec<_>>());
        }
    }

    /// Of the last transaction the disk has these blocks and not those: the rest is what was there before.
    #[test]
    fn a_last_transaction_that_reached_the_disk_in_any_order_is_no_damage(
        blocks in proptest::collection::vec(any::<bool>(), 64), again in any::<bool>(),
    ) {
        const BLOCK_BYTES: usize = 512;
        let scratch = Scratch::new();
        let connection = begin(&scratch);
        if again {
            commit(&scratch, &connection, 101..=106);
            checkpoint(&connection, "RESTART");
        }
        let before = commit(&scratch, &connection, 1..=4);
        insert(&connection, 5, 5_000);
        let after = bytes_of(&scratch, "-wal");
        let mut log = before.log.clone();
        log.resize(after.len(), 0);
        for (block, reached) in (0..after.len()).step_by(BLOCK_BYTES).zip(blocks.iter().cycle()) {
            let end = (block + BLOCK_BYTES).min(after.len());
            if *reached {
                log[block..end].copy_from_slice(&after[block..end]);
            }
        }
        prop_assert_eq!(before.said_with_index(&log), None);
        prop_assert!(before.kept(&log).starts_with(&[1, 2, 3, 4]));
    }
}
