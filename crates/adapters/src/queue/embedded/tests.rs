//! The embedded queue: leases, order, crashes, rates.

use std::time::Instant;

use domain::delivery::{Admission, Delivery, Receipt as Received};
use domain::id::{DeliveryId, Environment};
use futures_util::FutureExt;
use futures_util::future::join_all;
use jiff::Timestamp;
use terra::headers::DeliveryHeaders;
use uuid::Uuid;

use super::*;
use crate::embedded::scratch::Scratch;
use crate::queue::LANE_BYTES_MAX;

fn job(kind: &str, number: u128) -> Job {
    job_of(kind, number, Bytes::from(vec![0; 16]))
}

fn job_of(kind: &str, number: u128, body: Bytes) -> Job {
    let received = Received {
        id: DeliveryId(Uuid::from_u128(number)),
        environment: Environment::new("default"),
        received_at: Timestamp::UNIX_EPOCH,
        t_seconds: 0,
        headers: DeliveryHeaders::default(),
        body_digest: [1; 32],
        signed_digest: [2; 32],
        size_bytes: 16,
        admission: Admission::Fresh,
    };
    let peek = terra::event::peek(format!(r#"{{"type":"{kind}"}}"#).as_bytes());
    Job { delivery: Delivery::new(received, peek), body: Sealed(body) }
}

fn open(scratch: &Scratch) -> EmbeddedQueue {
    EmbeddedQueue::new(Embedded::open(scratch.path()).unwrap(), LANE_BYTES_MAX)
}

fn numbers(lease: &Lease) -> Vec<u128> {
    lease.jobs.iter().map(|job| job.delivery.id.0.as_u128()).collect()
}

/// Nothing can be leased: the consumer waits.
async fn assert_empty(consumer: &mut Box<dyn Consumer>) {
    assert!(tokio::time::timeout(Duration::from_millis(50), consumer.lease(10)).await.is_err());
}

#[tokio::test]
async fn a_leased_job_is_hidden_until_it_is_given_back() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    queue.publish(job("activity", 1)).await.unwrap();
    let (mut first, mut second) = (queue.consume().await.unwrap(), queue.consume().await.unwrap());
    let lease = first.lease(10).await.unwrap();
    assert_eq!(lease.jobs, [job("activity", 1)]);
    assert_empty(&mut second).await;
    drop(lease);
    assert_eq!(numbers(&second.lease(10).await.unwrap()), [1]);
}

#[tokio::test]
async fn a_waiting_consumer_wakes_for_a_new_job_and_for_one_given_back() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    let (mut first, mut second) = (queue.consume().await.unwrap(), queue.consume().await.unwrap());
    let (lease, published) = tokio::join!(first.lease(1), queue.publish(job("activity", 1)));
    published.unwrap();
    let mut waiting = second.lease(1);
    assert!((&mut waiting).now_or_never().is_none());
    drop(lease);
    assert_eq!(numbers(&waiting.await.unwrap()), [1]);
}

#[tokio::test]
async fn dropping_a_consumer_ends_its_leases() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    queue.publish(job("activity", 1)).await.unwrap();
    let (mut first, mut second) = (queue.consume().await.unwrap(), queue.consume().await.unwrap());
    let lease = first.lease(1).await.unwrap();
    drop(first);
    let again = second.lease(1).await.unwrap();
    assert_eq!(numbers(&again), [1]);
    assert!(lease.ack().await.is_err(), "somebody else has it");
    again.ack().await.unwrap();
    assert_empty(&mut second).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_gone_after_a_restart_and_the_rest_is_there() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    for number in 1..=3 {
        queue.publish(job("activity", number)).await.unwrap();
    }
    let mut consumer = queue.consume().await.unwrap();
    consumer.lease(1).await.unwrap().ack().await.unwrap();
    let held = consumer.lease(1).await.unwrap();
    assert_eq!(numbers(&held), [2]);
    drop((held, consumer, queue));

    let queue = open(&scratch);
    let mut consumer = queue.consume().await.unwrap();
    assert_eq!(numbers(&consumer.lease(10).await.unwrap()), [2, 3]);
    queue.publish(job("activity", 4)).await.unwrap();
    drop(consumer);
    let mut consumer = queue.consume().await.unwrap();
    assert_eq!(numbers(&consumer.lease(10).await.unwrap()), [2, 3, 4]);
}

#[tokio::test]
async fn a_backlog_in_one_lane_starves_no_other() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    join_all((0..200).map(|number| queue.publish(job("activity", number)))).await;
    queue.publish(job("auth", 1_000)).await.unwrap();
    queue.publish(job("s3_payload", 1_001)).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let lease = consumer.lease(16).await.unwrap();
    assert_eq!(lease.jobs.len(), 16);
    assert!(numbers(&lease).contains(&1_000) && numbers(&lease).contains(&1_001));
}

#[tokio::test]
async fn depths_count_what_is_leased_and_forget_what_is_acknowledged() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    queue.publish(job("activity", 1)).await.unwrap();
    queue.publish(job("auth", 2)).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let lease = consumer.lease(10).await.unwrap();
    let jobs = |depths: Vec<Depth>| depths.iter().map(|depth| (depth.jobs, depth.oldest.is_some())).collect::<Vec<_>>();
    assert_eq!(jobs(queue.depths().await.unwrap()), [(1, true), (0, false), (1, true), (0, false)]);
    lease.ack().await.unwrap();
    assert_eq!(jobs(queue.depths().await.unwrap()), [(0, false); 4]);
}

#[tokio::test]
async fn an_unreadable_job_stays_on_the_disk_and_hinders_no_other() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    queue.publish(job("activity", 1)).await.unwrap();
    queue.publish(job("activity", 2)).await.unwrap();
    let spoil = |connection: &mut Connection| {
        connection.execute("UPDATE queue_job SET delivery = '{}' WHERE id = 1", []).unwrap();
        Ok::<(), Unwritten>(())
    };
    queue.embedded.writer.write(spoil).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    assert_eq!(numbers(&consumer.lease(10).await.unwrap()), [2]);
    assert_eq!(queue.depths().await.unwrap().iter().map(|depth| depth.jobs).sum::<u64>(), 2);
}

#[tokio::test]
async fn a_full_disk_refuses_jobs_and_accepts_them_again_later() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    let limit = |pages: u32| {
        move |connection: &mut Connection| {
            connection.pragma_update(None, "max_page_count", pages).map_err(|error| Unwritten::from(&error))
        }
    };
    queue.embedded.writer.write(limit(1)).await.unwrap();
    let large = || job_of("activity", 1, Bytes::from(vec![0; 1_000_000]));
    assert_eq!(queue.publish(large()).await, Err(PublishError::Disk));
    queue.embedded.writer.write(limit(1_000_000)).await.unwrap();
    queue.publish(large()).await.unwrap();
}

#[tokio::test]
async fn after_closing_nothing_is_taken_and_waiting_ends() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    let mut consumer = queue.consume().await.unwrap();
    let (lease, ()) = tokio::join!(consumer.lease(1), queue.close(Duration::from_secs(5)));
    assert!(lease.is_err());
    assert_eq!(queue.publish(job("activity", 1)).await, Err(PublishError::Unavailable));
    assert!(queue.ping().await.is_err());
}

/// Prints what this machine does with 3 kB jobs; says nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_are_printed() {
    const CALLERS: usize = 64;
    const EACH: usize = if cfg!(debug_assertions) { 100 } else { 3_000 };
    let scratch = Scratch::new();
    let queue = open(&scratch);
    let body =
        Bytes::from((0..3_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<u8>>());
    let started = Instant::now();
    let publish = |caller: usize| {
        let (queue, body) = (&queue, body.clone());
        async move {
            let mut waits = Vec::with_capacity(EACH);
            for index in 0..EACH {
                let begun = Instant::now();
                queue.publish(job_of("activity", (caller * EACH + index) as u128, body.clone())).await.unwrap();
                waits.push(begun.elapsed());
            }
            waits
        }
    };
    let mut waits: Vec<Duration> = join_all((0..CALLERS).map(publish)).await.into_iter().flatten().collect();
    let published = started.elapsed();
    waits.sort();
    let mut consumer = queue.consume().await.unwrap();
    let mut left = CALLERS * EACH;
    let started = Instant::now();
    while left > 0 {
        let lease = consumer.lease(256).await.unwrap();
        left -= lease.jobs.len();
        lease.ack().await.unwrap();
    }
    let per_second = |elapsed: Duration| (CALLERS * EACH) as f64 / elapsed.as_secs_f64();
    println!(
        "{:.0} publishes/s, p50 {:?}, p99 {:?}, max {:?}; {:.0} leased and acknowledged/s",
        per_second(published),
        waits[waits.len() / 2],
        waits[waits.len() * 99 / 100],
        waits[waits.len() - 1],
        per_second(started.elapsed())
    );
}

/// Whoever publishes may go away at any moment: what was not written takes no room.
#[tokio::test]
async fn a_publish_that_is_dropped_gives_its_room_back() {
    let scratch = Scratch::new();
    let queue = open(&scratch);
    for number in 0..50 {
        queue.publish(job("activity", number)).now_or_never();
    }
    queue.publish(job("activity", 50)).await.unwrap();
    let depths = queue.depths().await.unwrap();
    let live = depths.iter().find(|depth| depth.lane == Lane::Live).unwrap();
    queue.publish(job("activity", 51)).await.unwrap();
    let depths = queue.depths().await.unwrap();
    let one_more = depths.iter().find(|depth| depth.lane == Lane::Live).unwrap();
    let size = one_more.bytes.unwrap() - live.bytes.unwrap();
    assert_eq!(live.bytes.unwrap(), live.jobs * size, "{} jobs of {size} bytes", live.jobs);
}
