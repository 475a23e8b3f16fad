//! The bus on which a platform tells its routers who exists.
//!
//! Each instance is registered by itself, and again every few seconds, so
//! nearly all of what comes in says nothing new. It is read and judged right
//! where it arrives ([`heard`]); the writer is told of changes only, gathered
//! for a moment, and four times a second at most.
//!
//! We listen, and say nothing: whoever publishes `router.start` is taken for a
//! router, and makes all emitters answer at once. Where no router runs somebody
//! has to, so it can be switched on.

mod connection;
mod heard;
mod message;

pub use connection::{Nats, NatsTls};
pub use message::{MessageError, Registration, parse as parse_message};

use super::{
    drop_log::{DropLog, Dropped},
    error::SourceError,
    sources::{Changes, Report, Standing},
    writer::Reporter,
};
use async_nats::Message;
use connection::Bus;
use futures_util::StreamExt;
use heard::{Heard, Thresholds};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

/// How long changes are gathered before they are published.
const GATHER: Duration = Duration::from_millis(250);
/// Pause between two looks for what has grown too old, and between two reports
/// that there is nothing new.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Route-emitter repeats itself within this time: who has listened for so long
/// has heard of everything.
const ROUND: Duration = Duration::from_secs(20);
/// Pause before a client that gave up is replaced.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long what is heard counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// An endpoint whose messages do not tell, and is not repeated.
    pub(super) stale_after: Duration,
    /// Everything, while the bus is away.
    pub(super) keep: Duration,
}

impl Ages {
    /// For how long to listen before what was heard is taken for everything.
    fn round(self) -> Duration {
        ROUND.min(self.stale_after / 4)
    }
}

/// Listens until `shutdown`, and reports.
pub(super) async fn listen(
    nats: Nats,
    ages: Ages,
    reporter: Reporter,
    shutdown: CancellationToken,
) {
    let mut listener = Listener::new(nats, ages, reporter);
    let listening = async {
        loop {
            match Bus::join(&listener.nats, ages).await {
                Ok(mut bus) => listener.follow(&mut bus).await,
                Err(cause) => listener.away(&cause, Instant::now()),
            }
            // Its connection ended for good, which only a bug of it does.
            sleep(RETRY_AFTER).await;
        }
    };
    shutdown.run_until_cancelled(listening).await;
}

/// What is known of the bus.
#[derive(Clone, Copy, Debug)]
enum Link {
    /// Nobody can be heard, since then; and whether that was reported.
    Away { since: Instant, is_reported: bool },
    /// Messages come in, since then.
    Here { since: Instant },
}

struct Listener {
    nats: Nats,
    ages: Ages,
    reporter: Reporter,
    heard: Heard,
    link: Link,
    /// The cause that was reported last.
    cause: Option<Arc<str>>,
    /// Has listened for a round once.
    has_answered: bool,
    drop_log: DropLog,
    looked: Instant,
    reported: Instant,
}

impl Listener {
    fn new(nats: Nats, ages: Ages, reporter: Reporter) -> Self {
        let now = Instant::now();
        let thresholds = Thresholds { stale_after: ages.stale_after, longest: ages.keep };
        Self {
            drop_log: DropLog::new(nats.name().into()),
            nats,
            ages,
            reporter,
            heard: Heard::new(thresholds),
            link: Link::Away { since: now, is_reported: false },
            cause: None,
            has_answered: false,
            looked: now,
            reported: now,
        }
    }

    /// Takes what comes in until the client gives up.
    async fn follow(&mut self, bus: &mut Bus) {
        let mut ticks = interval(GATHER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // However much comes in, it is told in time.
                biased;
                _ = ticks.tick() => self.tick(bus, Instant::now()).await,
                message = bus.messages.next() => match message {
                    Some(message) => self.take(bus, &message).await,
                    None => return self.away("the connection was given up", Instant::now()),
                }
            }
        }
    }

    async fn take(&mut self, bus: &Bus, message: &Message) {
        let read = |payload| message::parse(payload);
        let taken = match &*message.subject {
            "router.register" => {
                let now = Instant::now();
                read(&message.payload).and_then(|said| self.heard.register(&said, now))
            }
            "router.unregister" => read(&message.payload).map(|said| self.heard.unregister(&said)),
            "router.greet" if self.nats.announce => {
                bus.answer_greeting(message.reply.as_ref(), &self.nats, self.ages).await;
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(error) = taken {
            self.heard.refuse(1);
            self.log_dropped(&message.payload, error, Instant::now());
        }
    }

    fn log_dropped(&mut self, payload: &[u8], error: MessageError, now: Instant) {
        if !self.drop_log.has_room(now) {
            return self.drop_log.suppress();
        }
        let (app, route) = message::subject(payload);
        self.drop_log.note(Dropped::new(&app, &route, format_args!("the message {error}")), now);
    }

    async fn tick(&mut self, bus: &mut Bus, now: Instant) {
        self.heard.refuse(bus.missed());
        if let Some(cause) = bus.cut_endless_message().await {
            self.away(&cause, now);
        }
        if bus.has_joined_again() {
            if let Link::Here { .. } = self.link {
                // It was away for less than a tick.
                self.away("the connection was lost", now);
            }
            // Nobody could be heard, so nothing has grown older.
            self.heard.freshen(now);
            self.link = Link::Here { since: now };
            self.cause = None;
            if self.nats.announce {
                bus.announce(&self.nats, self.ages).await;
            }
        }
        match self.link {
            Link::Here { since } if bus.is_here() => self.tell(since, now),
            Link::Here { .. } => self.away("the connection was lost", now),
            Link::Away { since, is_reported } => self.wait(bus, since, is_reported, now),
        }
    }

    /// Reports what has changed, or at least that there is nothing new.
    fn tell(&mut self, since: Instant, now: Instant) {
        if now.duration_since(self.looked) >= LOOK_EVERY {
            self.heard.expire(now);
            self.looked = now;
        }
        self.has_answered |= now.duration_since(since) >= self.ages.round();
        let standing = if self.has_answered { Standing::Current } else { Standing::Filling };
        let is_due = now.duration_since(self.reported) >= LOOK_EVERY;
        if is_due || self.heard.has_changes() {
            self.report_changes(standing, now);
        }
    }

    /// Does what there is to do while nobody can be heard.
    fn wait(&mut self, bus: &Bus, since: Instant, is_reported: bool, now: Instant) {
        let waited = now.duration_since(since);
        let cause = bus.cause();
        match cause {
            Some(cause) if self.cause.as_ref() != Some(&cause) || !is_reported => {
                self.away(&format!("cannot be reached: {cause}"), now);
                self.cause = Some(cause);
            }
            None if !is_reported && waited >= connection::TIMEOUT => {
                let seconds = connection::TIMEOUT.as_secs();
                self.away(&format!("cannot be reached: no answer within {seconds} s"), now);
            }
            _ => {}
        }
        if waited >= self.ages.keep {
            self.heard.clear();
        }
        if self.heard.has_changes() {
            self.report_changes(Standing::Away, now);
        }
    }

    fn report_changes(&mut self, standing: Standing, now: Instant) {
        // While the writer is busy the changes go on gathering.
        let Some(turn) = self.reporter.when_free() else { return };
        self.reported = now;
        turn.report(Report::Changes(Changes {
            changes: self.heard.take_changes(),
            standing,
            failed: 0,
            skipped: self.heard.refused(),
            without_app: self.heard.without_app(),
        }));
    }

    /// Notes, and reports, that nobody can be heard.
    fn away(&mut self, cause: &str, now: Instant) {
        let (since, was_reported) = match self.link {
            Link::Away { since, is_reported } => (since, is_reported),
            Link::Here { .. } => (now, false),
        };
        self.link = Link::Away { since, is_reported: was_reported };
        // What was heard before counts, and a failure is counted once.
        if self.heard.has_changes() {
            self.report_changes(Standing::Away, now);
        }
        let Some(turn) = self.reporter.when_free() else { return };
        let error = SourceError::Bus(cause.to_owned());
        let report = if was_reported { Report::StillAway } else { Report::Failure };
        turn.report(report(error));
        self.link = Link::Away { since, is_reported: true };
    }
}

#[cfg(test)]
mod test_server;
#[cfg(test)]
mod tests;
