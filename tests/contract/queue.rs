//! What every queue promises. A case takes the port and knows nothing of what is behind it.

mod cases;
mod jobs;
mod on_embedded;
#[cfg(feature = "services")]
mod on_rabbitmq;
#[cfg(feature = "services")]
mod rabbitmq;

use cases::*;

macro_rules! contract {
    (queue on [$($engine:ident),+]: $cases:tt) => {
        $(contract!(@ $engine $cases);)+
    };
    (@ embedded $cases:tt) => {
        mod embedded {
            contract!(@cases on_embedded $cases);
        }
    };
    (@ rabbitmq $cases:tt) => {
        #[cfg(feature = "services")]
        mod on_the_broker {
            contract!(@cases on_rabbitmq $cases);
        }
    };
    (@cases $rig:ident [$($case:ident),+ $(,)?]) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let mut rig = super::$rig::Rig::new().await;
                super::$case(&*rig.queue()).await;
                rig.end().await;
            }
        )+

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn a_full_lane_refuses_until_it_is_worked_off() {
            let mut rig = super::$rig::Rig::bounded(super::FULL_AT).await;
            let stored = super::fill(&*rig.queue()).await;
            rig.reopen().await;
            super::refuses_until_it_is_worked_off(&*rig.queue(), stored).await;
            rig.end().await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn what_was_published_survives_a_reopen() {
            let mut rig = super::$rig::Rig::new().await;
            let sent = super::publish_some(&*rig.queue()).await;
            rig.reopen().await;
            super::all_come_out(&*rig.queue(), sent).await;
            rig.end().await;
        }
    };
}

contract!(queue on [embedded, rabbitmq]: [
    a_published_job_comes_out_whole,
    a_leased_job_is_hidden_from_other_consumers,
    a_dropped_lease_comes_back,
    a_dropped_consumer_gives_its_jobs_back,
    what_was_held_before_is_a_suspect,
    an_acknowledged_job_is_gone,
    a_lease_takes_no_more_than_asked,
    a_backlog_in_one_lane_delays_no_other,
    a_thousand_concurrent_publishes_all_arrive,
    a_cancelled_publish_harms_nobody,
    depths_count_what_waits_and_what_is_leased,
    events_are_taken,
    a_ready_queue_answers,
    after_close_nothing_is_taken,
]);
