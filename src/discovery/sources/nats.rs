//! Subscribes to route registrations on NATS.
//!
//! Route emitters register each instance separately and repeat this every few seconds, so almost
//! all messages contain nothing new. [`registry`] processes them immediately. The writer receives
//! only changes, in batches, at most four times per second.
//!
//! By default the subscriber publishes nothing: a client that publishes `router.start` counts as a
//! router, and all emitters respond at once. Where no router runs, `announce` enables it.

mod connection;
mod message;
mod registry;

pub use connection::{Nats, NatsSettings};
pub use message::{MessageError, Registration, parse as parse_message};

use crate::discovery::{
    Reporting, RouteSource, Settings, SourceContext, SourceKind,
    drop_log::{DropLog, Dropped},
    error::SourceError,
    report::{Changes, Report, Reporter, SyncState},
};
use async_nats::Message;
use connection::NatsConnection;
use futures_util::{StreamExt, future::LocalBoxFuture};
use registry::{Registry, Thresholds};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

pub(in crate::discovery) const KIND: SourceKind = SourceKind {
    key: "routes.nats",
    is_list: false,
    is_configured: true,
    is_tsuru: false,
    reporting: Reporting::Changes,
};

/// Interval at which changes are sent to the writer.
const BATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Interval of the search for expired endpoints, and of reports without changes.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(1);
/// route-emitter repeats all registrations within this time. After it, a subscriber knows all
/// routes.
const EMITTER_PERIOD: Duration = Duration::from_secs(20);
/// Delay before a failed client is replaced.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lifetime of registrations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    /// For endpoints whose messages contain no threshold.
    pub(super) stale_after: Duration,
    /// For all endpoints while NATS is disconnected.
    pub(super) keep: Duration,
}

impl Expiry {
    /// How long to listen until all routes are known.
    fn sync_period(self) -> Duration {
        EMITTER_PERIOD.min(self.stale_after / 4)
    }
}

impl RouteSource for Nats {
    fn name(&self) -> String {
        let host = |server: &String| {
            let (_, rest) = server.split_once("://").unwrap_or(("", server));
            rest.trim_end_matches('/').to_owned()
        };
        format!("nats {}", self.settings.servers.iter().map(host).collect::<Vec<_>>().join(", "))
    }

    fn kind(&self) -> SourceKind {
        KIND
    }

    fn run(self: Box<Self>, context: SourceContext) -> LocalBoxFuture<'static, ()> {
        Box::pin(listen(*self, context))
    }
}

/// Connects, and reports registrations.
async fn listen(nats: Nats, context: SourceContext) {
    let Settings { stale_after, keep, .. } = context.settings;
    let expiry = Expiry { stale_after, keep };
    let mut listener = Listener::new(nats, expiry, context.reporter);
    loop {
        match NatsConnection::connect(&listener.nats, expiry).await {
            Ok(mut connection) => listener.process_messages(&mut connection).await,
            Err(cause) => listener.disconnected(&cause, Instant::now()),
        }
        // The client reconnects by itself, so only a bug ends it.
        sleep(RETRY_AFTER).await;
    }
}

/// State of the connection.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// Disconnected since this time, and whether that was reported.
    Down { since: Instant, is_reported: bool },
    /// Connected since this time.
    Up { since: Instant },
}

struct Listener {
    nats: Nats,
    expiry: Expiry,
    reporter: Reporter,
    registry: Registry,
    link: Link,
    /// The last reported cause.
    cause: Option<Arc<str>>,
    /// Has listened for a full period once.
    is_synced: bool,
    drop_log: DropLog,
    expired_at: Instant,
    reported: Instant,
}

impl Listener {
    fn new(nats: Nats, expiry: Expiry, reporter: Reporter) -> Self {
        let now = Instant::now();
        let thresholds = Thresholds { stale_after: expiry.stale_after, max: expiry.keep };
        Self {
            drop_log: DropLog::new(nats.name().into()),
            nats,
            expiry,
            reporter,
            registry: Registry::new(thresholds),
            link: Link::Down { since: now, is_reported: false },
            cause: None,
            is_synced: false,
            expired_at: now,
            reported: now,
        }
    }

    /// Processes messages until the client ends.
    async fn process_messages(&mut self, connection: &mut NatsConnection) {
        let mut ticks = interval(BATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Reports are sent on time even if many messages arrive.
                biased;
                _ = ticks.tick() => self.tick(connection, Instant::now()).await,
                message = connection.messages.next() => match message {
                    Some(message) => self.handle_message(connection, &message).await,
                    None => return self.disconnected("the client ended the connection", Instant::now()),
                }
            }
        }
    }

    async fn handle_message(&mut self, connection: &NatsConnection, message: &Message) {
        let read = |payload| message::parse(payload);
        let outcome = match &*message.subject {
            "router.register" => {
                let now = Instant::now();
                read(&message.payload)
                    .and_then(|registration| self.registry.register(&registration, now))
            }
            "router.unregister" => {
                read(&message.payload).map(|registration| self.registry.unregister(&registration))
            }
            "router.greet" if self.nats.settings.announce => {
                connection.answer_greeting(message.reply.as_ref(), &self.nats, self.expiry).await;
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = outcome {
            self.registry.refuse(1);
            self.log_dropped(&message.payload, error, Instant::now());
        }
    }

    fn log_dropped(&mut self, payload: &[u8], error: MessageError, now: Instant) {
        if !self.drop_log.has_room(now) {
            return self.drop_log.suppress();
        }
        let (app, route) = message::subject(payload);
        self.drop_log.log(Dropped::new(&app, &route, format_args!("the message {error}")), now);
    }

    async fn tick(&mut self, connection: &mut NatsConnection, now: Instant) {
        self.registry.refuse(connection.dropped_messages());
        if let Some(cause) = connection.close_on_endless_message().await {
            self.disconnected(&cause, now);
        }
        if connection.has_reconnected() {
            if let Link::Up { .. } = self.link {
                // It was disconnected for less than a tick.
                self.disconnected("the connection was lost", now);
            }
            // Endpoints do not expire while NATS is disconnected.
            self.registry.refresh_all(now);
            self.link = Link::Up { since: now };
            self.cause = None;
            if self.nats.settings.announce {
                connection.announce(&self.nats, self.expiry).await;
            }
        }
        match self.link {
            Link::Up { since } if connection.is_up() => self.report_if_due(since, now),
            Link::Up { .. } => self.disconnected("the connection was lost", now),
            Link::Down { since, is_reported } => {
                self.tick_disconnected(connection, since, is_reported, now)
            }
        }
    }

    /// Reports changes. Without changes, confirms the state once per interval.
    fn report_if_due(&mut self, since: Instant, now: Instant) {
        if now.duration_since(self.expired_at) >= EXPIRE_INTERVAL {
            self.registry.expire(now);
            self.expired_at = now;
        }
        self.is_synced |= now.duration_since(since) >= self.expiry.sync_period();
        let sync_state = if self.is_synced { SyncState::Synced } else { SyncState::Syncing };
        let is_due = now.duration_since(self.reported) >= EXPIRE_INTERVAL;
        if is_due || self.registry.has_changes() {
            self.report_changes(sync_state, now);
        }
    }

    /// Housekeeping while disconnected.
    fn tick_disconnected(
        &mut self,
        connection: &NatsConnection,
        since: Instant,
        is_reported: bool,
        now: Instant,
    ) {
        let waited = now.duration_since(since);
        let cause = connection.cause();
        match cause {
            Some(cause) if self.cause.as_ref() != Some(&cause) || !is_reported => {
                self.disconnected(&format!("cannot be reached: {cause}"), now);
                self.cause = Some(cause);
            }
            None if !is_reported && waited >= connection::TIMEOUT => {
                let seconds = connection::TIMEOUT.as_secs();
                self.disconnected(
                    &format!("cannot be reached: no response within {seconds} s"),
                    now,
                );
            }
            _ => {}
        }
        if waited >= self.expiry.keep {
            self.registry.clear();
        }
        if self.registry.has_changes() {
            self.report_changes(SyncState::Disconnected, now);
        }
    }

    fn report_changes(&mut self, sync_state: SyncState, now: Instant) {
        // Changes accumulate while the writer is busy.
        let Some(permit) = self.reporter.try_reserve() else { return };
        self.reported = now;
        permit.report(Report::Changes(Changes {
            changes: self.registry.take_changes(),
            sync_state,
            failed: 0,
            skipped: self.registry.refused(),
            without_app: self.registry.without_app(),
        }));
    }

    /// Records and reports that the connection is down.
    fn disconnected(&mut self, cause: &str, now: Instant) {
        let (since, was_reported) = match self.link {
            Link::Down { since, is_reported } => (since, is_reported),
            Link::Up { .. } => (now, false),
        };
        self.link = Link::Down { since, is_reported: was_reported };
        // Earlier changes still count, and a failure is counted once.
        if self.registry.has_changes() {
            self.report_changes(SyncState::Disconnected, now);
        }
        let Some(permit) = self.reporter.try_reserve() else { return };
        let error = SourceError::Nats(cause.to_owned());
        let report = if was_reported { Report::StillUnavailable } else { Report::Failure };
        permit.report(report(error));
        self.link = Link::Down { since, is_reported: true };
    }
}

#[cfg(test)]
mod tests;
