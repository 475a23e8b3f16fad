//! TLS handshakes with clients. Failed ones are counted, and some of them are logged.

use super::client_stream::{ClientIo, ClientStream};
use crate::{
    telemetry::metrics::CounterByLabel,
    tls::{ClientHandshakeError, CurrentAcceptor},
};
use prometheus_client::registry::Registry;
use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};
use tracing::field;

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// Minimum time between two log lines about failed handshakes.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Answer to clients that do not use TLS.
const PLAIN_HTTP: &str = "Client sent an HTTP request to an HTTPS server.\n";
/// Time for the answer, and for the rest of the request.
const PLAIN_HTTP_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum number of bytes of the request that are read. Closing a socket with unread bytes would
/// discard the answer.
const PLAIN_HTTP_MAX: u64 = 64 << 10;

const TIMEOUT: &str = "timeout";
const PLAIN: &str = "plain_http";
const NOT_TLS: &str = "not_tls";

/// TLS of a listener.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) acceptor: CurrentAcceptor,
    pub(super) handshake_timeout: Duration,
    pub(super) failures: HandshakeFailures,
}

/// Counts and logs failures. Clones share both.
#[derive(Clone, Default)]
pub(super) struct HandshakeFailures {
    counter: CounterByLabel,
    last_logged: Arc<Mutex<LastLogged>>,
}

#[derive(Debug, Default)]
struct LastLogged {
    at: Option<Instant>,
    /// Failures since then.
    omitted: u64,
}

/// Why a handshake failed.
struct Failure {
    /// A label of the metric.
    reason: &'static str,
    text: String,
}

impl Tls {
    /// Performs the handshake. `None` if it failed.
    pub(super) async fn accept(&self, mut stream: ClientStream) -> Option<ClientIo> {
        let peer = stream.peer();
        let deadline = Instant::now() + self.handshake_timeout;
        let first = timeout_at(deadline, poll_fn(|cx| stream.poll_first_byte(cx))).await;
        let failure = match first {
            Ok(Ok(Some(HANDSHAKE))) => {
                let accepting = self.acceptor.current().accept(stream);
                match timeout_at(deadline, accepting).await {
                    Ok(Ok(secured)) => return Some(ClientIo::tls(secured)),
                    Ok(Err(error)) => {
                        let ClientHandshakeError { reason, text } = (&error).into();
                        Failure { reason, text }
                    }
                    Err(_) => self.timed_out(),
                }
            }
            Ok(Ok(Some(byte))) => {
                let is_http = byte.is_ascii_uppercase();
                if is_http {
                    let limit = deadline.min(Instant::now() + PLAIN_HTTP_TIMEOUT);
                    // The client is gone if it fails.
                    let _ = timeout_at(limit, answer_plain_http(stream)).await;
                }
                let reason = if is_http { PLAIN } else { NOT_TLS };
                Failure { reason, text: format!("the first byte is {byte}, not {HANDSHAKE}") }
            }
            // Checks of load balancers connect and send nothing.
            Ok(Ok(None)) | Ok(Err(_)) => return None,
            Err(_) => self.timed_out(),
        };
        self.failures.note(peer, failure);
        None
    }

    fn timed_out(&self) -> Failure {
        let limit = humantime::format_duration(self.handshake_timeout);
        Failure { reason: TIMEOUT, text: format!("it took longer than {limit}") }
    }
}

/// Responds in plain HTTP, so that users see what is wrong.
async fn answer_plain_http(mut stream: ClientStream) -> std::io::Result<()> {
    let response = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{PLAIN_HTTP}",
        PLAIN_HTTP.len()
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(PLAIN_HTTP_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

impl HandshakeFailures {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let reasons = [TIMEOUT, PLAIN, NOT_TLS].into_iter().chain(ClientHandshakeError::REASONS);
        let counter = CounterByLabel::register(
            registry,
            "scrapebroker_tls_handshakes_failed",
            "TLS handshakes of clients that failed, by reason",
            "reason",
            reasons,
        );
        Self { counter, last_logged: Arc::default() }
    }

    fn note(&self, peer: Option<SocketAddr>, Failure { reason, text }: Failure) {
        self.counter.count(reason);
        let Some(omitted) = self.take_log_permit() else { return };
        tracing::warn!(
            peer = peer.map(field::display),
            reason,
            error = text,
            omitted = (omitted > 0).then_some(omitted),
            "tls handshake with a client failed"
        );
    }

    /// The number of failures that were not logged before this one. `None` if it is not logged.
    fn take_log_permit(&self) -> Option<u64> {
        let mut last = self.last_logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last.at.is_some_and(|at| now < at + LOG_INTERVAL) {
            last.omitted += 1;
            return None;
        }
        let omitted = last.omitted;
        *last = LastLogged { at: Some(now), omitted: 0 };
        Some(omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_failure_per_interval_is_logged_with_the_number_of_others() {
        let failures = HandshakeFailures::default();
        assert_eq!(failures.take_log_permit(), Some(0));
        for _ in 0..7 {
            assert_eq!(failures.take_log_permit(), None);
        }
        tokio::time::advance(LOG_INTERVAL).await;
        assert_eq!(failures.take_log_permit(), Some(7));
        assert_eq!(failures.take_log_permit(), None);
    }
}
