//! Leaving in order: readiness first, then the listeners, then the loops.

use std::{future::Future, io, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// How long a load balancer gets to see that we are no longer ready, after
/// SIGUSR1.
const NOTICE: Duration = Duration::from_secs(5);

/// Why we leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT: finish what is running.
    Graceful,
    /// SIGUSR1: turn unready first, and keep serving for a while, so that load
    /// balancers take us out before a connection is refused.
    AfterNotice,
}

impl Stop {
    /// How long to go on serving while unready.
    pub fn notice(self) -> Duration {
        match self {
            Self::Graceful => Duration::ZERO,
            Self::AfterNotice => NOTICE,
        }
    }
}

/// Waits for a signal to stop. Listens from the call on, not from the first
/// poll.
///
/// # Errors
/// When the platform does not let us listen to signals.
pub fn requested() -> io::Result<impl Future<Output = Stop>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut user = signal(SignalKind::user_defined1())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Stop::Graceful,
            _ = interrupt.recv() => Stop::Graceful,
            _ = user.recv() => Stop::AfterNotice,
        }
    })
}
