//! Graceful shutdown of the listeners for users.
//!
//! ```text
//! signal ── drain_wait ──► no new connections ── shutdown_grace ──► running requests are aborted
//!   └ not ready; each response closes its connection
//! ```
//!
//! During `drain_wait`, new connections are still served, because load balancers may not have
//! noticed the readiness change.

use crate::{app::signals::Stop, http::lifecycle::Lifecycle, telemetry::running::Running};
use actix_web::{dev::ServerHandle, rt::task::JoinHandle};
use futures_util::{Stream, StreamExt, future::join_all};
use std::{io, pin::Pin, time::Duration};
use tokio::time::Instant;

/// Time from Cloud Foundry's SIGTERM to its SIGKILL.
const CLOUD_FOUNDRY_KILL: Duration = Duration::from_secs(10);

/// Added to actix's shutdown timeout, so that the drain ends first and logs the aborted requests.
pub(super) const ACTIX_MARGIN: Duration = Duration::from_secs(2);

/// A second SIGTERM or SIGINT within this time is ignored. Supervisors may send the signal to the
/// process and to its process group.
const DUPLICATE_SIGNAL_WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Drain {
    pub(super) drain_wait: Duration,
    pub(super) grace: Duration,
    pub(super) lifecycle: Lifecycle,
    pub(super) running: Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrainOutcome {
    /// Every request was answered.
    Complete,
    /// Some requests were aborted after `shutdown_grace`.
    TimedOut,
    /// A second signal forced the stop.
    Forced,
}

impl Drain {
    /// Drains after the signal `stop`. Stops immediately if another signal of `stops` forces it.
    pub(super) async fn run(
        &self,
        stop: Stop,
        stops: Pin<&mut impl Stream<Item = Stop>>,
        servers: &[ServerHandle],
        serving: JoinHandle<io::Result<()>>,
    ) -> io::Result<DrainOutcome> {
        self.lifecycle.drain();
        if stop == Stop::Drain {
            self.lifecycle.end();
        }
        let running = self.running.count();
        tracing::info!(?stop, running, "stopping");
        tokio::select! {
            outcome = self.in_order(servers, serving) => outcome,
            () = self.forced(stop, stops) => {
                tracing::warn!("second signal; stopping at once");
                self.running.log_aborted();
                // The calls notify the workers. The results are not needed.
                servers.iter().for_each(|server| drop(server.stop(false)));
                Ok(DrainOutcome::Forced)
            }
        }
    }

    async fn in_order(
        &self,
        servers: &[ServerHandle],
        serving: JoinHandle<io::Result<()>>,
    ) -> io::Result<DrainOutcome> {
        tokio::time::sleep(self.drain_wait).await;
        let finished = async {
            join_all(servers.iter().map(|server| server.stop(true))).await;
            serving.await.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        match tokio::time::timeout(self.grace, finished).await {
            Ok(served) => served.map(|()| DrainOutcome::Complete),
            Err(_) => {
                self.running.log_aborted();
                Ok(DrainOutcome::TimedOut)
            }
        }
    }

    /// Resolves when a signal after `first` forces the stop. `first` has just arrived.
    async fn forced(&self, first: Stop, mut stops: Pin<&mut impl Stream<Item = Stop>>) {
        let graceful = (first == Stop::Graceful).then(Instant::now);
        loop {
            match stops.next().await {
                Some(Stop::Graceful)
                    if graceful.is_some_and(|first| first.elapsed() < DUPLICATE_SIGNAL_WINDOW) =>
                {
                    tracing::debug!("duplicate signal ignored");
                }
                Some(Stop::Graceful) => return,
                Some(Stop::Drain) => self.lifecycle.end(),
                None => std::future::pending().await,
            }
        }
    }

    /// Warns if Cloud Foundry would kill the process before the drain ends.
    pub(super) fn check_cloud_foundry(&self) {
        let total = self.drain_wait + self.grace;
        if total >= CLOUD_FOUNDRY_KILL {
            tracing::warn!(
                "drain_wait and shutdown_grace are {} s together, and Cloud Foundry kills {} s after it \
                 asked for a stop",
                total.as_secs_f64(),
                CLOUD_FOUNDRY_KILL.as_secs()
            );
        }
    }
}
