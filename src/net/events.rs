//! Events on connections that awc does not report.
//!
//! awc does not report whether a request used an idle connection. A GET may be retried only when an
//! idle connection turned out to be closed. All polling happens in the caller's task, so comparing
//! [`ConnectionEvents`] before and after a poll shows the [`RequestEvents`] of that request.

use crate::tls::AlertDescription;
use awc::error::{ConnectError, SendRequestError};
use std::cell::Cell;

/// Number of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct EventCounts {
    tls_handshakes: u64,
    opened: u64,
    closed: u64,
    received: u64,
    alerts: u64,
    last_alert: Option<AlertDescription>,
}

/// Counts the events on the connections of one [`Connector`](super::Connector).
#[derive(Debug, Default)]
pub struct ConnectionEvents(Cell<EventCounts>);

impl ConnectionEvents {
    fn add(&self, change: impl FnOnce(&mut EventCounts)) {
        let mut counts = self.0.get();
        change(&mut counts);
        self.0.set(counts);
    }

    /// A TLS handshake started.
    pub(super) fn tls_handshake_started(&self) {
        self.add(|counts| counts.tls_handshakes += 1);
    }

    pub(super) fn opened(&self) {
        self.add(|counts| counts.opened += 1);
    }

    /// The peer closed or reset a connection.
    pub(super) fn closed(&self) {
        self.add(|counts| counts.closed += 1);
    }

    /// A read returned bytes.
    pub(super) fn received(&self) {
        self.add(|counts| counts.received += 1);
    }

    /// The peer ended a connection with a TLS alert.
    pub(super) fn alert_received(&self, alert: AlertDescription) {
        self.add(|counts| {
            counts.alerts += 1;
            counts.last_alert = Some(alert);
        });
    }

    pub fn has_tls_handshake_started(&self) -> bool {
        self.0.get().tls_handshakes > 0
    }

    pub fn last_alert(&self) -> Option<AlertDescription> {
        self.0.get().last_alert
    }
}

/// Events on the connection of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEvents {
    /// Its TLS handshake has started.
    pub tls_handshake_started: bool,
    /// The connection was opened for this request.
    pub opened: bool,
    pub closed: bool,
    /// At least one byte of the response was received.
    pub received: bool,
    /// The TLS alert with which the peer rejected the connection.
    pub alert: Option<AlertDescription>,
}

impl RequestEvents {
    /// Polls once and records the events of this poll.
    pub fn poll<T>(&mut self, events: &ConnectionEvents, poll: impl FnOnce() -> T) -> T {
        let before = events.0.get();
        let result = poll();
        let after = events.0.get();
        if before.opened != after.opened {
            // Earlier events belong to an idle connection that was closed.
            *self = Self { opened: true, ..Self::default() };
        } else {
            self.tls_handshake_started |= before.tls_handshakes != after.tls_handshakes;
            self.closed |= before.closed != after.closed;
            self.received |= before.received != after.received;
        }
        if before.alerts != after.alerts {
            self.alert = after.last_alert;
        }
        result
    }

    /// Whether the request failed with `error` because an idle connection was closed before the first
    /// byte of the response. A request that changes nothing may then be sent again.
    pub fn closed_while_idle(&self, error: &SendRequestError) -> bool {
        let refused = matches!(error, SendRequestError::Connect(ConnectError::Io(_)));
        !refused && !self.opened && self.closed && !self.received
    }
}
