//! Failures of targets, and of whole scrapes.

use crate::tls::HandshakeError;
use std::{fmt, io};

/// Reason of a failure: the value of the `error` label of `promfetcher_scrape_error`.
///
/// The set is closed, so the cardinality of the label is bounded. [`ScrapeFailure::detail`] has the
/// details for logs and error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureReason {
    /// No complete response before the deadline.
    Timeout,
    /// The connection failed.
    Connect,
    /// TLS failed: a certificate, on either side, or the handshake.
    Tls,
    /// The address now belongs to another instance: the certificate has another name.
    StaleEndpoint,
    /// Status 4xx.
    Status4xx,
    /// Status 5xx.
    Status5xx,
    /// Redirect to another host, or too many redirects.
    Redirect,
    /// The body is larger than `scrape.max_instance_body`.
    TooLarge,
    /// More samples, families or labels, or longer lines, than allowed.
    Limit,
    /// The body is not an exposition, or not in the format of its Content-Type.
    NotExposition,
    /// The connection ended before the end of the body.
    Truncated,
    /// Not scraped: none of `backends.max_connections` was free before the deadline.
    NoConnection,
}

impl FailureReason {
    /// All reasons, to create counters with value 0.
    pub const ALL: [Self; 12] = [
        Self::Timeout,
        Self::Connect,
        Self::Tls,
        Self::StaleEndpoint,
        Self::Status4xx,
        Self::Status5xx,
        Self::Redirect,
        Self::TooLarge,
        Self::Limit,
        Self::NotExposition,
        Self::Truncated,
        Self::NoConnection,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::StaleEndpoint => "stale_endpoint",
            Self::Status4xx => "status_4xx",
            Self::Status5xx => "status_5xx",
            Self::Redirect => "redirect",
            Self::TooLarge => "too_large",
            Self::Limit => "limit",
            Self::NotExposition => "not_exposition",
            Self::Truncated => "truncated",
            Self::NoConnection => "no_connection",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct ScrapeFailure {
    pub reason: FailureReason,
    /// Status of the response, if the failure is its status.
    pub status: Option<u16>,
    /// Details for humans. Never quotes a body.
    pub detail: String,
}

impl ScrapeFailure {
    pub(super) fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, status: None, detail: detail.into() }
    }

    /// The failure with at most `max` bytes of its detail.
    pub(super) fn shortened(&self, max: usize) -> Self {
        let mut short = self.clone();
        if short.detail.len() > max {
            short.detail.truncate(short.detail.floor_char_boundary(max));
            short.detail.push('…');
        }
        short
    }
}

/// Why a scrape was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// Other requests held the memory until the deadline.
    #[error(
        "Not enough memory became free in time for this scrape: other requests hold the {limit} bytes that scrape.max_memory allows for the bodies of all requests."
    )]
    TooLate {
        /// Value of `scrape.max_memory`, bytes.
        limit: u64,
    },
    /// The bodies need more than the whole budget.
    #[error(
        "The bodies of the instances and their indexes are larger than the {limit} bytes that scrape.max_memory allows for all requests."
    )]
    TooLarge {
        /// Value of `scrape.max_memory`, bytes.
        limit: u64,
    },
    /// No target returned metrics, and no connection was free for some of them.
    #[error(
        "No connection became free in time for this scrape: other requests use the {limit} that backends.max_connections allows, of which one app gets at most half."
    )]
    NoConnection {
        /// Value of `backends.max_connections`.
        limit: usize,
    },
    #[error("The metrics could not be inspected in time, because other apps are inspected.")]
    NotInspected,
}

/// Failure of a target without a complete response at the deadline.
pub(super) fn timed_out(tls_handshake_started: bool) -> ScrapeFailure {
    let detail = match tls_handshake_started {
        true => "the TLS handshake did not end in time",
        false => "no complete response in time",
    };
    ScrapeFailure::new(FailureReason::Timeout, detail)
}

/// Failure of a target to which no connection was opened.
pub(super) fn connect_failure(error: &io::Error) -> ScrapeFailure {
    let handshake = error.get_ref().and_then(|inner| inner.downcast_ref::<HandshakeError>());
    let reason = match handshake {
        // The address was reassigned; the app has not failed.
        Some(handshake) if handshake.is_name_mismatch => FailureReason::StaleEndpoint,
        Some(_) => FailureReason::Tls,
        None => FailureReason::Connect,
    };
    ScrapeFailure::new(reason, error.to_string())
}
