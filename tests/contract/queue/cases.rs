//! The cases.

use std::collections::HashSet;
use std::time::Duration;

use adapters::queue::{Consumer, Job, PublishError, Queue};
use domain::delivery::Lane;
use futures_util::future::join_all;

use super::jobs::{event, ids, job, job_with, lease, take};
use crate::harness::eventually;

/// Long enough for something wrong to show.
const A_WHILE: Duration = Duration::from_millis(300);

async fn nothing_comes(consumer: &mut Box<dyn Consumer>) {
    let leasing = tokio::time::timeout(A_WHILE, consumer.lease(64));
    assert!(leasing.await.is_err(), "a job came");
}

async fn has_depths(queue: &dyn Queue, expected: [u64; 4]) {
    eventually(&format!("depths are {expected:?}"), || async {
        let depths = queue.depths().await.unwrap();
        Lane::ALL
            .iter()
            .zip(expected)
            .all(|(lane, jobs)| depths.iter().any(|depth| depth.lane == *lane && depth.jobs == jobs))
    })
    .await;
}

pub(crate) async fn publish_some(queue: &dyn Queue) -> Vec<Job> {
    let jobs: Vec<Job> = Lane::ALL.into_iter().cycle().take(40).map(job).collect();
    for job in &jobs {
        queue.publish(job.clone()).await.unwrap();
    }
    jobs
}

pub(crate) async fn all_come_out(queue: &dyn Queue, sent: Vec<Job>) {
    let mut consumer = queue.consume().await.unwrap();
    assert_eq!(ids(&take(&mut consumer, sent.len()).await), ids(&sent));
    nothing_comes(&mut consumer).await;
}

pub(crate) const FULL_AT: u64 = 1_000_000;
const ONE_OF_MANY: usize = 20_000;

/// Publishes to one lane until it is refused, and a little more; answers what was taken.
pub(crate) async fn fill(queue: &dyn Queue) -> Vec<Job> {
    let (mut stored, mut refused) = (Vec::new(), 0);
    while refused < 20 {
        let job = job_with(Lane::Live, vec![b'x'; ONE_OF_MANY]);
        match queue.publish(job.clone()).await {
            Ok(()) => stored.push(job),
            Err(error) => {
                assert!(matches!(error, PublishError::Full | PublishError::Refused), "{error}");
                refused += 1;
            }
        }
        assert!(stored.len() * ONE_OF_MANY < 2 * FULL_AT as usize, "nothing bounds it");
    }
    assert!((stored.len() + 1) * ONE_OF_MANY > FULL_AT as usize * 9 / 10, "it refused too early: {}", stored.len());
    stored
}

pub(crate) async fn refuses_until_it_is_worked_off(queue: &dyn Queue, stored: Vec<Job>) {
    let again = || queue.publish(job_with(Lane::Live, vec![b'x'; ONE_OF_MANY]));
    again().await.unwrap_err();
    queue.publish(job(Lane::Auth)).await.unwrap();
    let live = queue.depths().await.unwrap().into_iter().find(|depth| depth.lane == Lane::Live).unwrap();
    assert!(live.bytes.is_none_or(|bytes| bytes > FULL_AT * 9 / 10 && bytes <= FULL_AT), "{live:?}");
    let mut consumer = queue.consume().await.unwrap();
    let taken = ids(&take(&mut consumer, stored.len() + 1).await);
    assert!(ids(&stored).iter().all(|id| taken.contains(id)), "nothing that was taken is lost");
    eventually("it takes more", || async { again().await.is_ok() }).await;
}

pub(crate) async fn a_published_job_comes_out_whole(queue: &dyn Queue) {
    let large = (0..1_500_000_u32).map(|number| number as u8).collect();
    let bodies = [vec![], vec![0], b"\x00\xff\x00{}".to_vec(), large];
    let mut consumer = queue.consume().await.unwrap();
    for lane in Lane::ALL {
        for body in &bodies {
            let job = job_with(lane, body.clone());
            queue.publish(job.clone()).await.unwrap();
            assert_eq!(take(&mut consumer, 1).await, [job]);
        }
    }
}

pub(crate) async fn a_leased_job_is_hidden_from_other_consumers(queue: &dyn Queue) {
    queue.publish(job(Lane::Live)).await.unwrap();
    let mut first = queue.consume().await.unwrap();
    let held = lease(&mut first, 1).await;
    let mut second = queue.consume().await.unwrap();
    nothing_comes(&mut second).await;
    nothing_comes(&mut first).await;
    held.ack().await.unwrap();
}

pub(crate) async fn a_dropped_lease_comes_back(queue: &dyn Queue) {
    let sent = job(Lane::Live);
    queue.publish(sent.clone()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    drop(lease(&mut consumer, 1).await);
    assert_eq!(lease(&mut consumer, 1).await.jobs, [sent]);
}

pub(crate) async fn what_was_held_before_is_a_suspect(queue: &dyn Queue) {
    let sent = job(Lane::Live);
    queue.publish(sent.clone()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let first = lease(&mut consumer, 1).await;
    assert!(first.suspects.is_empty(), "nobody had it");
    drop(first);
    assert_eq!(lease(&mut consumer, 1).await.suspects, HashSet::from([sent.delivery.id]));
    drop(consumer);
    let mut consumer = queue.consume().await.unwrap();
    assert_eq!(lease(&mut consumer, 1).await.suspects, HashSet::from([sent.delivery.id]));
}

pub(crate) async fn a_dropped_consumer_gives_its_jobs_back(queue: &dyn Queue) {
    let sent = publish_some(queue).await;
    let mut first = queue.consume().await.unwrap();
    let held = lease(&mut first, 64).await;
    drop(first);
    drop(held);
    all_come_out(queue, sent).await;
}

pub(crate) async fn an_acknowledged_job_is_gone(queue: &dyn Queue) {
    let sent = job(Lane::Auth);
    queue.publish(sent).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    lease(&mut consumer, 1).await.ack().await.unwrap();
    drop(consumer);
    let mut consumer = queue.consume().await.unwrap();
    nothing_comes(&mut consumer).await;
    has_depths(queue, [0; 4]).await;
}

pub(crate) async fn a_lease_takes_no_more_than_asked(queue: &dyn Queue) {
    let sent = publish_some(queue).await;
    let mut consumer = queue.consume().await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        let lease = lease(&mut consumer, 3).await;
        assert!((1..=3).contains(&lease.jobs.len()));
        seen.extend(lease.jobs.iter().cloned());
        lease.ack().await.unwrap();
    }
    assert_eq!(ids(&seen), ids(&sent));
}

pub(crate) async fn a_backlog_in_one_lane_delays_no_other(queue: &dyn Queue) {
    const BACKLOG: usize = 600;
    // One after the other, so that they do not travel together.
    for _ in 0..BACKLOG {
        queue.publish(job(Lane::Bulk)).await.unwrap();
    }
    let mut consumer = queue.consume().await.unwrap();
    let mut worked_off = 0;
    for lane in [Lane::Auth, Lane::Urgent, Lane::Live] {
        let wanted = job(lane);
        queue.publish(wanted.clone()).await.unwrap();
        loop {
            let held = lease(&mut consumer, 4).await;
            let found = held.jobs.contains(&wanted);
            worked_off += held.jobs.len();
            // A worker's work: the broker has time to send what is new.
            tokio::time::sleep(Duration::from_millis(5)).await;
            held.ack().await.unwrap();
            if found {
                break;
            }
            assert!(worked_off < BACKLOG / 2, "{lane:?} waits behind the backlog");
        }
    }
}

pub(crate) async fn a_thousand_concurrent_publishes_all_arrive(queue: &dyn Queue) {
    let sent: Vec<Job> = Lane::ALL.into_iter().cycle().take(1_000).map(job).collect();
    let results = join_all(sent.iter().map(|job| queue.publish(job.clone()))).await;
    assert!(results.iter().all(Result::is_ok));
    all_come_out(queue, sent).await;
}

/// A client that hangs up cancels its handler; the publish goes on, and so do the others.
pub(crate) async fn a_cancelled_publish_harms_nobody(queue: &dyn Queue) {
    for _ in 0..200 {
        let publishing = queue.publish(job(Lane::Live));
        let _ = tokio::time::timeout(Duration::from_micros(50), publishing).await;
    }
    let sent = job(Lane::Live);
    queue.publish(sent.clone()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    while !take(&mut consumer, 1).await.contains(&sent) {}
}

pub(crate) async fn depths_count_what_waits_and_what_is_leased(queue: &dyn Queue) {
    for lane in [Lane::Auth, Lane::Auth, Lane::Auth, Lane::Bulk, Lane::Bulk] {
        queue.publish(job(lane)).await.unwrap();
    }
    has_depths(queue, [3, 0, 0, 2]).await;
    let mut consumer = queue.consume().await.unwrap();
    let held = lease(&mut consumer, 1).await;
    has_depths(queue, [3, 0, 0, 2]).await;
    held.ack().await.unwrap();
    take(&mut consumer, 4).await;
    has_depths(queue, [0; 4]).await;
}

pub(crate) async fn events_are_taken(queue: &dyn Queue) {
    queue.publish_events(&[]).await.unwrap();
    let events: Vec<_> = (1..=600).map(event).collect();
    queue.publish_events(&events).await.unwrap();
}

pub(crate) async fn a_ready_queue_answers(queue: &dyn Queue) {
    queue.ping().await.unwrap();
}

pub(crate) async fn after_close_nothing_is_taken(queue: &dyn Queue) {
    queue.publish(job(Lane::Live)).await.unwrap();
    queue.close(Duration::from_secs(5)).await;
    let refused = queue.publish(job(Lane::Live)).await;
    assert_eq!(refused, Err(PublishError::Unavailable));
    assert!(queue.ping().await.is_err());
}
