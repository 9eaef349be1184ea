//! The writer: what is committed together, and what an error leaves behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use futures_util::FutureExt;

use super::group::GROUP_BYTES_MAX;
use super::*;
use crate::embedded::scratch::Scratch;

/// A writer over a table with one unique number.
struct Bench {
    writer: Arc<Writer>,
    scratch: Scratch,
}

impl Bench {
    fn new() -> Self {
        let scratch = Scratch::new();
        std::fs::create_dir_all(scratch.path()).unwrap();
        let connection = Connection::open(scratch.path().join("bench.db")).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.execute_batch("CREATE TABLE number (value INTEGER PRIMARY KEY, filler BLOB) STRICT").unwrap();
        let lock = File::create(scratch.path().join("lock")).unwrap();
        Bench { writer: Arc::new(Writer::start(connection, lock, Arc::default()).unwrap()), scratch }
    }

    async fn insert(&self, value: i64) -> Result<(), Failure> {
        self.writer.write(move |connection| insert(connection, value)).await
    }

    /// What somebody else sees.
    fn stored(&self) -> Vec<i64> {
        let connection = Connection::open(self.scratch.path().join("bench.db")).unwrap();
        let mut statement = connection.prepare("SELECT value FROM number ORDER BY value").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Keeps the thread busy until the answer is dropped or used, so that what follows shares a group.
    async fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let started = Arc::new(AtomicBool::new(false));
        let running = started.clone();
        let wait = move |_: &mut Connection| {
            running.store(true, Ordering::SeqCst);
            held.recv().ok();
            Ok::<(), Failure>(())
        };
        self.writer.submit(Undo::Savepoint, GROUP_BYTES_MAX, PATIENCE, wait, |_| {}).await.unwrap();
        while !started.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let_go
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, PartialEq)]
enum Failure {
    Unwritten(Unwritten),
    Refused,
}

impl From<Unwritten> for Failure {
    fn from(unwritten: Unwritten) -> Self {
        Failure::Unwritten(unwritten)
    }
}

impl Damaging for Failure {
    fn damage(&self) -> Option<String> {
        if let Failure::Unwritten(unwritten) = self { unwritten.damage() } else { None }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(_: rusqlite::Error) -> Self {
        Failure::Refused
    }
}

fn insert(connection: &Connection, value: i64) -> Result<(), Failure> {
    connection.prepare_cached("INSERT INTO number (value) VALUES (?1)")?.execute([value])?;
    Ok(())
}

#[tokio::test]
async fn an_answer_means_that_others_see_it() {
    let bench = Bench::new();
    bench.insert(1).await.unwrap();
    assert_eq!(bench.stored(), [1]);
}

#[tokio::test]
async fn operations_of_a_group_run_in_the_order_of_their_submission_and_share_a_commit() {
    let bench = Bench::new();
    let held = bench.hold().await;
    let order = Arc::new(AtomicU32::new(0));
    let commits = Arc::new(Mutex::new(Vec::new()));
    let mut answers = Vec::new();
    for value in 0..10 {
        let (answer, answered) = oneshot::channel();
        let (order, commits) = (order.clone(), commits.clone());
        let work = move |connection: &mut Connection| {
            assert_eq!(order.fetch_add(1, Ordering::SeqCst), value);
            commits.lock().unwrap().push(connection.is_autocommit());
            insert(connection, i64::from(value))
        };
        let settle = move |outcome: Outcome<(), Failure>| answer.send(outcome.unwrap()).unwrap();
        bench.writer.submit(Undo::Savepoint, 1, PATIENCE, work, settle).await.unwrap();
        answers.push(answered);
    }
    assert!(bench.stored().is_empty());
    drop(held);
    for answered in answers {
        answered.await.unwrap().unwrap();
    }
    assert_eq!(bench.stored(), (0..10).collect::<Vec<_>>());
    assert_eq!(*commits.lock().unwrap(), [false; 10]);
}

#[tokio::test]
async fn a_failing_operation_harms_only_itself() {
    let bench = Bench::new();
    bench.insert(1).await.unwrap();
    let held = bench.hold().await;
    let half_done = bench.writer.write(|connection| {
        insert(connection, 10)?;
        insert(connection, 1)
    });
    let (failed, before, after, _) =
        tokio::join!(half_done, bench.insert(2), bench.insert(3), async move { drop(held) });
    assert_eq!((failed, before, after), (Err(Failure::Refused), Ok(()), Ok(())));
    assert_eq!(bench.stored(), [1, 2, 3], "10 is undone");
}

#[tokio::test]
async fn a_panic_reaches_its_caller_and_the_thread_lives_on() {
    let bench = Bench::new();
    let panicking = bench.writer.write(|connection| -> Result<(), Failure> {
        insert(connection, 7)?;
        panic!("a test's panic")
    });
    assert!(AssertUnwindSafe(panicking).catch_unwind().await.is_err());
    bench.insert(8).await.unwrap();
    assert_eq!(bench.stored(), [8], "what the panicking operation wrote is undone");
}

#[tokio::test]
async fn without_room_a_submission_waits_and_then_gives_up() {
    let bench = Bench::new();
    let held = bench.hold().await;
    for _ in 0..WAITING_MAX {
        bench.writer.submit(Undo::Statement, 1, PATIENCE, |_| Ok::<(), Failure>(()), |_| {}).await.unwrap();
    }
    let wait = Duration::from_millis(20);
    let full = bench.writer.submit(Undo::Statement, 1, wait, |_| Ok::<(), Failure>(()), |_| {}).await;
    assert_eq!(full, Err(Unwritten::Busy));
    drop(held);
    bench.insert(1).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_later_operations_succeed() {
    let bench = Bench::new();
    let limit = |pages: u32| {
        move |connection: &mut Connection| Ok::<_, Failure>(connection.pragma_update(None, "max_page_count", pages)?)
    };
    bench.writer.write(limit(20)).await.unwrap();
    let large = bench.writer.write(|connection| {
        connection.execute("INSERT INTO number VALUES (1, zeroblob(1000000))", [])?;
        Ok::<(), Failure>(())
    });
    assert!(large.await.is_err());
    bench.insert(2).await.unwrap();
    bench.writer.write(limit(100_000)).await.unwrap();
    bench.insert(3).await.unwrap();
    assert_eq!(bench.stored(), [2, 3]);
}

#[tokio::test]
async fn closing_finishes_what_was_handed_over_and_refuses_the_rest() {
    let bench = Bench::new();
    let held = bench.hold().await;
    bench.writer.submit(Undo::Statement, 1, PATIENCE, |connection| insert(connection, 1), |_| {}).await.unwrap();
    tokio::join!(bench.writer.close(), async move { drop(held) });
    assert_eq!(bench.insert(2).await, Err(Failure::Unwritten(Unwritten::Closed)));
    assert!(!bench.writer.is_alive());
    assert_eq!(bench.stored(), [1]);
    assert!(!bench.scratch.path().join("bench.db-wal").exists(), "the log is in the file");
    bench.writer.close().await;
}

#[tokio::test]
async fn after_damage_was_met_nothing_is_committed_any_more() {
    let bench = Bench::new();
    bench.insert(1).await.unwrap();
    let held = bench.hold().await;
    let (answer, answered) = oneshot::channel();
    let settle = move |outcome: Outcome<(), Failure>| answer.send(outcome.unwrap()).unwrap();
    bench.writer.submit(Undo::Statement, 1, PATIENCE, |connection| insert(connection, 2), settle).await.unwrap();
    let damage = || Unwritten::Damaged("database disk image is malformed".into());
    let meets = bench.writer.write(move |_| Err::<(), _>(Failure::Unwritten(damage())));
    let (met, ()) = tokio::join!(meets, async move { drop(held) });
    assert_eq!(met, Err(Failure::Unwritten(damage())));
    assert_eq!(bench.insert(3).await, Err(Failure::Unwritten(damage())));
    answered.await.unwrap().ok();
    assert!(!bench.stored().contains(&3));
    let log = bench.scratch.path().join("bench.db-wal");
    let before = std::fs::read(&log).unwrap();
    bench.writer.close().await;
    assert!(std::fs::read(&log).is_ok_and(|after| after == before), "nor is the log copied into a damaged file");
}
