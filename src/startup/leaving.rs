//! How the main listener leaves: seen, then closed, then finished or cut.
//!
//! ```text
//! asked ── drain_wait ──► no new connections ── shutdown_grace ──► what still runs is cut
//!   └ unready; every answer ends its connection
//! ```
//!
//! Connections that balancers opened before they saw that we are unready are
//! served like any other, so none of them is refused.

use crate::{http::lifecycle::Lifecycle, shutdown::Stop, telemetry::running::Running};
use actix_web::{dev::ServerHandle, rt::task::JoinHandle};
use futures_util::{Stream, StreamExt};
use std::{io, pin::Pin, time::Duration};
use tokio::time::Instant;

/// Cloud Foundry kills this long after it asked.
const CLOUD_FOUNDRY_KILLS: Duration = Duration::from_secs(10);

/// The framework's own patience ends after ours, so that we know what is cut.
pub(super) const LONGER: Duration = Duration::from_secs(2);

/// A second SIGTERM or SIGINT within this time of the first is the same request: supervisors
/// send one to the process and one to its group.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// What leaving takes.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) drain_wait: Duration,
    pub(super) grace: Duration,
    pub(super) lifecycle: Lifecycle,
    pub(super) running: Running,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Every request was answered.
    Whole,
    /// Some were not, after `shutdown_grace`.
    Cut,
    /// Nobody waited for anything: we were asked again.
    AtOnce,
}

impl Leaving {
    /// Leaves as `stop` asks, or at once when `stops` asks again.
    pub(super) async fn leave(
        &self,
        stop: Stop,
        stops: Pin<&mut impl Stream<Item = Stop>>,
        main: ServerHandle,
        serving: JoinHandle<io::Result<()>>,
    ) -> io::Result<Left> {
        self.lifecycle.drain();
        if stop == Stop::Drain {
            self.lifecycle.end();
        }
        let running = self.running.count();
        tracing::info!(?stop, running, "stopping");
        tokio::select! {
            left = self.in_order(&main, serving) => left,
            () = self.asked_again(stop, stops) => {
                tracing::warn!("asked to stop again: stopping at once");
                self.running.log_cut();
                // Said to the workers on the call; nobody waits for their answer.
                drop(main.stop(false));
                Ok(Left::AtOnce)
            }
        }
    }

    async fn in_order(
        &self,
        main: &ServerHandle,
        serving: JoinHandle<io::Result<()>>,
    ) -> io::Result<Left> {
        tokio::time::sleep(self.drain_wait).await;
        let finished = async {
            main.stop(true).await;
            serving.await.unwrap_or_else(|error| Err(io::Error::other(error)))
        };
        match tokio::time::timeout(self.grace, finished).await {
            Ok(served) => served.map(|()| Left::Whole),
            Err(_) => {
                self.running.log_cut();
                Ok(Left::Cut)
            }
        }
    }

    /// Resolves when a stop at once is asked for, `first` having been asked for now.
    async fn asked_again(&self, first: Stop, mut stops: Pin<&mut impl Stream<Item = Stop>>) {
        let graceful = (first == Stop::Graceful).then(Instant::now);
        loop {
            match stops.next().await {
                Some(Stop::Graceful)
                    if graceful.is_some_and(|first| first.elapsed() < SAME_REQUEST) =>
                {
                    tracing::debug!("the same request to stop again");
                }
                Some(Stop::Graceful) => return,
                Some(Stop::Drain) => self.lifecycle.end(),
                None => std::future::pending().await,
            }
        }
    }

    /// Warns when Cloud Foundry would kill us on the way.
    pub(super) fn check_cloud_foundry(&self) {
        let together = self.drain_wait + self.grace;
        if together >= CLOUD_FOUNDRY_KILLS {
            tracing::warn!(
                "drain_wait and shutdown_grace are {} s together, and Cloud Foundry kills {} s after it \
                 asked for a stop",
                together.as_secs_f64(),
                CLOUD_FOUNDRY_KILLS.as_secs()
            );
        }
    }
}
