//! What only a broker can do to us.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use adapters::clock::Clock;
use adapters::queue::rabbitmq::{
    Problem, RabbitSettings, TopologyObject, apply_topology, describe_topology, topology_differences,
};
use adapters::queue::{Job, LANE_BYTES_MAX, PublishError, Queue};
use domain::delivery::Lane;
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::BasicProperties;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};

use super::jobs::{event, ids, job, take};
use super::on_rabbitmq::Rig;
use crate::harness::eventually;
use crate::harness::proxy::Proxy;
use crate::harness::servers::Addresses;

async fn publish_all(queue: &dyn Queue, jobs: &[Job]) -> Vec<Result<(), PublishError>> {
    join_all(jobs.iter().map(|job| queue.publish(job.clone()))).await
}

fn jobs(lane: Lane, count: usize) -> Vec<Job> {
    (0..count).map(|_| job(lane)).collect()
}

/// The broker behind a proxy, and its URL through it.
async fn proxied(open: bool) -> (Proxy, String) {
    let url = url::Url::parse(Addresses::shared().get("LANDFALL_TEST_AMQP_URL")).unwrap();
    let target: SocketAddr = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
    let proxy = Proxy::start(target, open).await;
    let mut through = url;
    through.set_port(Some(proxy.addr.port())).unwrap();
    (proxy, through.into())
}

/// lapin hands a returned message to the wrong confirm when several are in flight: not one may pass for stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_binding_every_publish_is_unroutable() {
    let mut rig = Rig::new().await;
    let (queue, exchange) = (rig.name("deliveries.live"), rig.name("deliveries"));
    rig.channel()
        .await
        .queue_unbind(queue.into(), exchange.into(), "live".into(), FieldTable::default())
        .await
        .unwrap();
    let (lost, kept) = (jobs(Lane::Live, 2_000), jobs(Lane::Bulk, 2_000));
    let queue = rig.queue();
    let (unroutable, stored) = tokio::join!(publish_all(&*queue, &lost), publish_all(&*queue, &kept));
    assert!(unroutable.iter().all(|result| *result == Err(PublishError::Unroutable)));
    assert!(stored.iter().all(Result::is_ok));
    for job in &lost[..200] {
        assert_eq!(queue.publish(job.clone()).await, Err(PublishError::Unroutable));
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_exchange_every_publish_is_unroutable_until_it_is_back() {
    let mut rig = Rig::new().await;
    let exchange = rig.name("deliveries");
    let options = ExchangeDeleteOptions::default();
    rig.channel().await.exchange_delete(exchange.into(), options).await.unwrap();
    let results = publish_all(&*rig.queue(), &jobs(Lane::Live, 300)).await;
    assert!(results.iter().all(|result| *result == Err(PublishError::Unroutable)));
    assert!(rig.queue().ping().await.is_err());
    apply_topology(&rig.settings).await.unwrap();
    rig.queue().publish(job(Lane::Live)).await.unwrap();
    rig.queue().ping().await.unwrap();
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses() {
    let mut rig = Rig::new().await;
    let (queue, exchange) = (rig.name("deliveries.live"), rig.name("deliveries"));
    let channel = rig.channel().await;
    let name = || queue.as_str().into();
    channel.queue_delete(name(), QueueDeleteOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(10));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name(), options, arguments).await.unwrap();
    let binding = QueueBindOptions::default();
    channel.queue_bind(name(), exchange.as_str().into(), "live".into(), binding, FieldTable::default()).await.unwrap();

    let mut stored = Vec::new();
    let mut refused = 0;
    for job in jobs(Lane::Live, 60) {
        match rig.queue().publish(job.clone()).await {
            Ok(()) => stored.push(job),
            Err(error) => {
                assert_eq!(error, PublishError::Refused);
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && !stored.is_empty(), "{refused} refused");
    rig.queue().publish(job(Lane::Auth)).await.unwrap();
    let mut consumer = rig.queue().consume().await.unwrap();
    let taken = take(&mut consumer, stored.len() + 1).await;
    let taken: BTreeSet<_> = ids(&taken).into_iter().collect();
    assert!(ids(&stored).iter().all(|id| taken.contains(id)));
    rig.end().await;
}

/// Also while it is gone: each try to consume would otherwise leave subscriptions behind, to which messages are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_whose_queue_is_gone_keeps_no_other_from_being_worked() {
    let mut rig = Rig::new().await;
    let channel = rig.channel().await;
    let bulk = rig.name("deliveries.bulk");
    channel.queue_delete(bulk.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    for _ in 0..5 {
        drop(rig.queue().consume().await.unwrap());
    }
    let mut consumer = rig.queue().consume().await.unwrap();
    let live = jobs(Lane::Live, 20);
    assert!(publish_all(&*rig.queue(), &live).await.iter().all(Result::is_ok));
    let taken = take(&mut consumer, live.len()).await;
    assert_eq!(ids(&taken).into_iter().collect::<BTreeSet<_>>(), ids(&live).into_iter().collect());
    assert_eq!(rig.queue().publish(job(Lane::Bulk)).await, Err(PublishError::Unroutable));
    apply_topology(&rig.settings).await.unwrap();
    let back = job(Lane::Bulk);
    rig.queue().publish(back.clone()).await.unwrap();
    assert_eq!(ids(&take(&mut consumer, 1).await), [back.delivery.id], "it is consumed once it is there again");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_under_load_lose_nothing_that_was_confirmed() {
    let (proxy, url) = proxied(true).await;
    let mut rig = Rig::through(&url).await;
    rig.is_ready().await;
    let queue = rig.queue();
    let confirmed = Mutex::new(Vec::new());
    let until = Instant::now() + Duration::from_secs(4);
    let sender = async |lane: Lane| {
        while Instant::now() < until {
            let job = job(lane);
            match queue.publish(job.clone()).await {
                Ok(()) => confirmed.lock().unwrap().push(job),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let cutting = async {
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(400)).await;
            proxy.close();
            tokio::time::sleep(Duration::from_millis(100)).await;
            proxy.open();
        }
    };
    let senders = join_all(Lane::ALL.into_iter().cycle().take(40).map(sender));
    tokio::join!(senders, cutting);

    let confirmed = confirmed.into_inner().unwrap();
    assert!(confirmed.len() > 100, "{} confirmed", confirmed.len());
    rig.is_ready().await;
    let mut wanted: BTreeSet<_> = ids(&confirmed).into_iter().collect();
    eventually("a consumer opens", || async { queue.consume().await.is_ok() }).await;
    let mut consumer = queue.consume().await.unwrap();
    while !wanted.is_empty() {
        for id in ids(&take(&mut consumer, 1).await) {
            wanted.remove(&id);
        }
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_refuses_at_once_and_is_used_once_it_is_there() {
    let (proxy, url) = proxied(false).await;
    let mut rig = Rig::through(&url).await;
    let queue = rig.queue();
    let started = Instant::now();
    assert_eq!(queue.publish(job(Lane::Live)).await, Err(PublishError::Unavailable));
    assert!(started.elapsed() < Duration::from_millis(100));
    assert!(queue.ping().await.is_err());
    proxy.open();
    eventually("a publish succeeds", || async { queue.publish(job(Lane::Live)).await.is_ok() }).await;
    rig.end().await;
}

/// One that keeps its connections and says nothing: what was handed to it waits for its time, and what is more does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_broker_costs_a_budget_and_what_is_beyond_is_refused_within_100_ms() {
    const PUBLISHED: usize = 500;
    const BUDGET_BYTES: u32 = 256 * 1_024;
    let (proxy, url) = proxied(true).await;
    let mut rig = Rig::through(&url).await;
    rig.is_ready().await;
    rig.settings.waiting_bytes_max = BUDGET_BYTES;
    rig.settings.publish_timeout = Duration::from_secs(1);
    rig.reopen().await;
    let queue = rig.queue();
    queue.publish(job(Lane::Live)).await.unwrap();
    proxy.freeze();
    let all = jobs(Lane::Live, PUBLISHED);
    let begun = Instant::now();
    let answers = join_all(all.iter().map(async |job| (queue.publish(job.clone()).await, begun.elapsed()))).await;
    let (at_once, waited): (Vec<_>, Vec<_>) =
        answers.iter().partition(|(_, after)| *after < Duration::from_millis(100));
    assert!(at_once.iter().all(|(answer, _)| *answer == Err(PublishError::Busy)), "{at_once:?}");
    // Each takes a kilobyte beside its bytes.
    assert!((100..=256).contains(&waited.len()), "{} of {PUBLISHED} waited", waited.len());
    let told = |(answer, after): &&(Result<(), PublishError>, Duration)| {
        answer.is_err() && *after < Duration::from_millis(2_500)
    };
    assert!(waited.iter().all(told), "{waited:?}");
    // Connection and channels are thrown away, and the budget is whole again.
    proxy.open();
    let more = jobs(Lane::Live, 200);
    eventually("it answers again", || async { queue.publish(job(Lane::Live)).await.is_ok() }).await;
    assert!(publish_all(&*queue, &more).await.iter().all(Result::is_ok));
    let mut consumer = queue.consume().await.unwrap();
    let mut taken = BTreeSet::new();
    while !ids(&more).iter().all(|id| taken.contains(id)) {
        taken.extend(ids(&take(&mut consumer, 1).await));
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_nodes_one_that_is_there_is_used() {
    let ((first, one), (second, other)) = (proxied(false).await, proxied(true).await);
    let mut rig = Rig::through(&format!("{one},{other}")).await;
    rig.is_ready().await;
    let queue = rig.queue();
    queue.publish(job(Lane::Live)).await.unwrap();
    second.close();
    first.open();
    eventually("a publish succeeds", || async { queue.publish(job(Lane::Live)).await.is_ok() }).await;
    assert_eq!(topology_differences(&rig.settings).await.unwrap(), []);
    let mut consumer = queue.consume().await.unwrap();
    take(&mut consumer, 2).await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_connection_is_cut_says_so_and_the_next_one_works() {
    let (proxy, url) = proxied(true).await;
    let mut rig = Rig::through(&url).await;
    rig.is_ready().await;
    let sent = job(Lane::Live);
    rig.queue().publish(sent.clone()).await.unwrap();
    let mut consumer = rig.queue().consume().await.unwrap();
    let held = consumer.lease(1).await.unwrap();
    proxy.close();
    assert!(consumer.lease(1).await.is_err());
    assert!(held.ack().await.is_err());
    proxy.open();
    rig.is_ready().await;
    let mut consumer = rig.queue().consume().await.unwrap();
    assert_eq!(take(&mut consumer, 1).await, [sent]);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_not_ours_is_set_aside() {
    let mut rig = Rig::new().await;
    let channel = rig.channel().await;
    let ours = BasicProperties::default().with_content_type("application/vnd.landfall.deliveries.v1".into());
    for properties in [BasicProperties::default(), ours] {
        let key = rig.name("deliveries.live").into();
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), key, options, b"\0\0\0\x02{}", properties).await.unwrap();
    }
    let sent = job(Lane::Live);
    rig.queue().publish(sent.clone()).await.unwrap();
    let mut consumer = rig.queue().consume().await.unwrap();
    assert_eq!(take(&mut consumer, 1).await, [sent]);
    dead(&rig, 2).await;
    rig.end().await;
}

/// Messages in the dead queue, once there are as many.
async fn dead(rig: &Rig, count: u32) {
    let (channel, name) = (rig.channel().await, rig.name("dead"));
    eventually("the dead queue is as full as it should be", || async {
        let options = QueueDeclareOptions::durable().passive();
        let asking = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
        asking.await.unwrap().message_count() == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_set_aside_is_leased_and_what_is_foreign_stays() {
    let mut rig = Rig::new().await;
    let channel = rig.channel().await;
    let key = rig.name("dead").into();
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), key, options, b"who knows", BasicProperties::default()).await.unwrap();
    let sent = jobs(Lane::Live, 2);
    for job in &sent {
        rig.queue().publish(job.clone()).await.unwrap();
        // What comes back too often takes the same way.
        let live = rig.name("deliveries.live");
        let got = channel.basic_get(live.into(), BasicGetOptions::default()).await.unwrap().unwrap();
        got.acker.nack(BasicNackOptions { requeue: false, ..Default::default() }).await.unwrap();
    }
    dead(&rig, 3).await;
    let found = rig.queue().lease_set_aside(10).await.unwrap();
    let lease = found.lease.unwrap();
    assert_eq!((lease.jobs.clone(), found.foreign), (sent.clone(), 1));
    assert_eq!(lease.suspects, sent.iter().map(|job| job.delivery.id).collect());
    drop(lease);
    dead(&rig, 3).await;
    let one = rig.queue().lease_set_aside(1).await.unwrap().lease.unwrap();
    assert_eq!(one.jobs.len(), 1);
    one.ack().await.unwrap();
    let rest = rig.queue().lease_set_aside(10).await.unwrap();
    assert_eq!(rest.lease.unwrap().jobs.len(), 1);
    assert_eq!(rest.foreign, 1);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_reach_those_who_bind_to_them() {
    let mut rig = Rig::new().await;
    let channel = rig.channel().await;
    let options = QueueDeclareOptions::exclusive();
    let mine = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    let exchange = rig.name("events").into();
    let binding = QueueBindOptions::default();
    channel
        .queue_bind(mine.name().clone(), exchange, "activity.*.garmin".into(), binding, FieldTable::default())
        .await
        .unwrap();
    let events: Vec<_> = (1..=300).map(event).collect();
    rig.queue().publish_events(&events).await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut consumer =
        channel.basic_consume(mine.name().clone(), "".into(), options, FieldTable::default()).await.unwrap();
    for event in events {
        let delivery = consumer.next().await.unwrap().unwrap();
        assert_eq!(delivery.data, event.data.to_string().as_bytes());
        let id = delivery.properties.message_id().as_ref().unwrap();
        assert_eq!(id.as_str(), event.id.to_string());
    }
    rig.end().await;
}

/// As a version before left it, or another setting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_made_with_another_bound_or_none_serves_as_it_is() {
    let mut rig = Rig::new().await;
    let channel = rig.channel().await;
    let name = rig.name("deliveries.live");
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let mut arguments = FieldTable::default();
    let lane = describe_topology(&rig.settings).into_iter().find_map(|object| match object {
        TopologyObject::Queue { name: found, arguments } if found == name => Some(arguments),
        TopologyObject::Exchange { .. } | TopologyObject::Queue { .. } | TopologyObject::Binding { .. } => None,
    });
    for (key, value) in lane.unwrap().into_iter().filter(|(key, _)| *key != "x-max-length-bytes") {
        let number = value.parse().map(AMQPValue::LongLongInt);
        arguments.insert(key.into(), number.unwrap_or_else(|_| AMQPValue::LongString(value.into())));
    }
    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name.as_str().into(), options, arguments).await.unwrap();
    let found = async |settings: &RabbitSettings| {
        apply_topology(settings).await.unwrap();
        let differences = topology_differences(settings).await.unwrap();
        differences.into_iter().map(|one| (one.object.to_string(), one.problem)).collect::<Vec<_>>()
    };
    let without = (format!("queue {name}"), Problem::Bound { bytes_max: None });
    assert_eq!(found(&rig.settings).await, std::slice::from_ref(&without));
    rig.queue().publish(job(Lane::Live)).await.unwrap();

    let mut larger = rig.settings.clone();
    larger.lane_bytes_max *= 2;
    let differing = found(&larger).await;
    assert_eq!(differing.len(), Lane::ALL.len());
    let before = Problem::Bound { bytes_max: Some(LANE_BYTES_MAX) };
    assert!(differing.iter().all(|one| *one == without || one.1 == before), "{differing:?}");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_is_compared_and_never_changed_silently() {
    let mut rig = Rig::new().await;
    assert_eq!(topology_differences(&rig.settings).await.unwrap(), []);
    apply_topology(&rig.settings).await.unwrap();

    let channel = rig.channel().await;
    let name = rig.name("dead");
    let options = QueueDeleteOptions::default();
    channel.queue_delete(name.as_str().into(), options).await.unwrap();
    let missing = topology_differences(&rig.settings).await.unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].problem, Problem::Missing);
    assert!(rig.queue().ping().await.is_err());

    let options = QueueDeclareOptions::durable();
    channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
    let differing = topology_differences(&rig.settings).await.unwrap();
    assert!(matches!(&differing[..], [one] if matches!(one.problem, Problem::Differs(_))));
    assert!(apply_topology(&rig.settings).await.is_err());

    let url = Addresses::shared().get("LANDFALL_TEST_AMQP_URL").to_owned();
    let fresh = RabbitSettings::new(&url, &rig.name("fresh")).unwrap();
    let objects = describe_topology(&fresh).len();
    // Bindings cannot be looked at.
    assert_eq!(topology_differences(&fresh).await.unwrap().len(), objects - Lane::ALL.len());
    rig.end().await;
}

/// The broker does not tell the age of what waits; the oldest is in the hands of a consumer, which knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_job_in_hand_says_how_long_jobs_wait() {
    let mut rig = Rig::new().await;
    let queue = rig.queue();
    let mut old = job(Lane::Live);
    let ten_minutes = jiff::SignedDuration::from_mins(10);
    old.delivery.received_at = Clock::system().now().checked_sub(ten_minutes).unwrap();
    queue.publish(old).await.unwrap();
    let oldest = || async {
        let depths = queue.depths().await.unwrap();
        depths.into_iter().find(|depth| depth.lane == Lane::Live).unwrap().oldest
    };
    assert_eq!(oldest().await, None, "nobody consumes");
    let mut consumer = queue.consume().await.unwrap();
    let lease = consumer.lease(10).await.unwrap();
    let age = oldest().await.unwrap();
    assert!(age >= Duration::from_secs(600) && age < Duration::from_secs(660), "{age:?}");
    lease.ack().await.unwrap();
    eventually("nothing waits any more", || async { oldest().await.is_none() }).await;
    drop(consumer);
    rig.end().await;
}
