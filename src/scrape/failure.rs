//! Why an instance gave no metrics.

use std::fmt;

/// The value of the `error` label of `promfetcher_scrape_error`.
///
/// A closed set, so the label's cardinality is bounded; what exactly happened
/// stands in [`Failure::detail`], which goes to the log and into error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No whole answer before the deadline.
    Timeout,
    /// No connection.
    Connect,
    /// No secured connection: a certificate, on either side, or the handshake.
    Tls,
    /// Another instance has the address now: its certificate is of another name.
    StaleEndpoint,
    /// The app answered with a client error.
    Status4xx,
    /// The app answered with a server error.
    Status5xx,
    /// Redirected to another host, or too often.
    Redirect,
    /// The body is larger than `scrape.max_instance_body`.
    TooLarge,
    /// More samples, families, labels, or longer lines than allowed.
    Limit,
    /// What came back is not an exposition, or not of the format that it claims.
    NotExposition,
    /// The connection ended before the body did.
    Cut,
    /// Not asked: none of `backends.max_connections` was free before the deadline.
    NoConnection,
}

impl Reason {
    /// All of them, for counters that exist before they count.
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
        Self::Cut,
        Self::NoConnection,
    ];

    /// The label value.
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
            Self::Cut => "cut",
            Self::NoConnection => "no_connection",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One instance's failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Failure {
    /// The class of it.
    pub reason: Reason,
    /// What happened, for a person. Never quotes a body.
    pub detail: String,
}

impl Failure {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

/// There was no answer at the deadline, since the instance was still `greeting`
/// us or for any other reason.
pub(super) fn late(greeting: bool) -> Failure {
    let detail = match greeting {
        true => "the TLS handshake did not end in time",
        false => "no whole answer in time",
    };
    Failure::new(Reason::Timeout, detail)
}
