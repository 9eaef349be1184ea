//! Keeps one connection to the broker open: connects, watches, connects again, in a cluster to the next node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::super::{PublishError, QueueError};
use super::settings::address_of;
use super::{RabbitSettings, topology};

const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause without its jitter, which adds up to as much again: at most 1 s.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A connection that lived this long was a good one: the next pause is short again.
const GOOD_AFTER: Duration = Duration::from_secs(1);

/// For the handshake and the first look at the topology.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// For giving up a channel that does not answer.
const FORGET_DEADLINE: Duration = Duration::from_millis(100);

/// In case an event of lapin's got lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One open connection.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Arc<Connection>,
    condemned: CancellationToken,
    /// When the broker last confirmed something on it.
    confirmed_at: Arc<Mutex<Instant>>,
}

impl Live {
    /// The broker confirmed something: this connection is well.
    pub(super) fn confirmed(&self) {
        *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Something that was begun at `begun` missed its deadline. If nothing else was confirmed meanwhile either, nothing
    /// more may be tried on this connection, and its supervisor replaces it. Otherwise it is one queue that does not
    /// answer, and the others must not suffer for it.
    pub(super) fn condemn_unless_confirmed_since(&self, begun: Instant) {
        if *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner) < begun {
            self.condemned.cancel();
        }
    }

    fn is_usable(&self) -> bool {
        let status = self.connection.status();
        // lapin writes nothing while the broker blocks us, and sends it all later: nothing may be added.
        status.connected() && !status.blocked() && !self.condemned.is_cancelled()
    }
}

/// The way to the connection, as it is now.
#[derive(Clone)]
pub(super) struct Link(watch::Receiver<Option<Live>>);

impl Link {
    pub(super) fn open(
        settings: &RabbitSettings,
        purpose: &'static str,
        tasks: &TaskTracker,
        end: &CancellationToken,
    ) -> (Link, JoinHandle<()>) {
        let (sender, receiver) = watch::channel(None);
        let supervising = supervise(settings.clone(), purpose, sender, end.clone());
        (Link(receiver), tasks.spawn(supervising))
    }

    /// The connection, if it can be used right now.
    pub(super) fn live(&self) -> Result<Live, PublishError> {
        let live = self.0.borrow().clone().filter(Live::is_usable);
        live.ok_or(PublishError::Unavailable)
    }

    /// The connection, once it is there.
    pub(super) async fn wait(&self, deadline: Duration) -> Result<Live, QueueError> {
        let mut states = self.0.clone();
        let is_usable = |state: &Option<Live>| state.as_ref().is_some_and(Live::is_usable);
        let live = match timeout(deadline, states.wait_for(is_usable)).await {
            Ok(Ok(state)) => state.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        live.ok_or_else(|| QueueError::Unavailable("there is no connection to the broker".into()))
    }
}

async fn supervise(
    settings: RabbitSettings,
    purpose: &'static str,
    state: watch::Sender<Option<Live>>,
    end: CancellationToken,
) {
    let mut nodes = settings.nodes.iter().cycle();
    let pauses = || {
        let builder = ExponentialBuilder::default().with_min_delay(BACKOFF_MIN).with_max_delay(BACKOFF_MAX);
        builder.with_jitter().without_max_times().build()
    };
    let mut pause = pauses();
    // Said once per outage, not once per try.
    let mut is_away = false;
    while !end.is_cancelled() {
        let Some(node) = nodes.next() else { return };
        let address = address_of(node);
        match connect(node, &settings, purpose).await {
            Ok(live) => {
                if is_away {
                    info!("connected to the broker at {address} again ({purpose})");
                }
                let since = Instant::now();
                state.send_replace(Some(live.clone()));
                let reason = until_over(&live, &end).await;
                state.send_replace(None);
                close(&live).await;
                if end.is_cancelled() {
                    return;
                }
                error!("lost the connection to the broker at {address} ({purpose}): {reason}");
                is_away = true;
                if since.elapsed() >= GOOD_AFTER {
                    pause = pauses();
                }
            }
            Err(reason) if !is_away => {
                error!("the broker at {address} is not reachable ({purpose}): {reason}");
                is_away = true;
            }
            Err(_) => {}
        }
        let pause = pause.next().unwrap_or(BACKOFF_MAX);
        tokio::select! {
            () = sleep(pause) => {}
            () = end.cancelled() => return,
        }
    }
}

async fn connect(node: &AMQPUri, settings: &RabbitSettings, purpose: &'static str) -> Result<Live, String> {
    let connecting = async {
        let name = format!("landfall {purpose}");
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connect_uri(node.clone(), properties).await?;
        let missing = topology::missing(&connection, settings).await;
        Ok::<_, lapin::Error>((connection, missing))
    };
    let (connection, missing) = match timeout(CONNECT_DEADLINE, connecting).await {
        Ok(result) => result.map_err(|error| error.to_string())?,
        Err(_) => return Err("it did not answer in time".into()),
    };
    // Not declared here: a queue made at the wrong moment, with other arguments, hides what went wrong.
    if let Some(name) = missing.map_err(|error| error.to_string())?.first() {
        error!("{name} is missing on the broker: run `landfall topology apply`");
    }
    Ok(Live {
        connection: Arc::new(connection),
        condemned: CancellationToken::new(),
        confirmed_at: Arc::new(Mutex::new(Instant::now())),
    })
}

/// Waits until the connection must be replaced, and says why.
async fn until_over(live: &Live, end: &CancellationToken) -> String {
    let status = live.connection.status();
    let mut events = live.connection.events_listener();
    let mut look_again = interval(LOOK_AGAIN);
    loop {
        tokio::select! {
            () = end.cancelled() => return "we are stopping".into(),
            () = live.condemned.cancelled(), if !status.blocked() => return "it missed a deadline".into(),
            event = events.next() => match event {
                // What ends one channel is no matter of the connection's.
                Some(Event::Error(error)) if !error.is_amqp_soft_error() => return error.to_string(),
                Some(Event::ConnectionBlocked(reason)) => warn!("the broker blocks publishers: {reason}"),
                Some(Event::ConnectionUnblocked) => info!("the broker takes messages again"),
                Some(Event::Connected | Event::SendFlow(_) | Event::Error(_)) | Some(_) => {}
                None => return "it ended".into(),
            },
            _ = look_again.tick() => if !status.connected() {
                return "it ended".into();
            },
        }
        // A blocked connection stays, even when condemned: closing it would have to be written too, and one that is
        // thrown away keeps what it could not write. Its successor would be blocked as well, and so on.
    }
}

async fn close(live: &Live) {
    let closing = live.connection.close(200, "OK".into());
    // A dead peer does not answer; lapin's thread ends when heartbeats are missed.
    let _ = timeout(CLOSE_DEADLINE, closing).await;
}

/// Gives up a channel of which something did not answer in time.
///
/// The broker may still answer, and lapin then keeps the channel, though it was dropped, and every job that comes on it.
/// Closing is written at once; nobody waits for its answer.
pub(super) async fn forget(channel: &Channel) {
    let _ = timeout(FORGET_DEADLINE, channel.close(200, "OK".into())).await;
}
