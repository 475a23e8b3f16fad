//! Leaving in order: readiness first, then the listeners, then the loops.
//!
//! This room only says what was asked for; `startup` does it.

use futures_util::{Stream, stream};
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// How we were asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT. Asked for again later than a second after the first, it means at once.
    Graceful,
    /// SIGUSR1, from a drain script: as before, and whoever asks for our health is told that it is
    /// over. Asked for again, it changes nothing.
    Drain,
}

/// Every signal to stop that arrives from the call on, not from the first poll.
///
/// # Errors
/// When the platform does not let us listen to signals.
pub fn requested() -> io::Result<impl Stream<Item = Stop>> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    let user = signal(SignalKind::user_defined1())?;
    let signals = (terminate, interrupt, user);
    Ok(stream::unfold(signals, |(mut terminate, mut interrupt, mut user)| async move {
        let stop = tokio::select! {
            _ = terminate.recv() => Stop::Graceful,
            _ = interrupt.recv() => Stop::Graceful,
            _ = user.recv() => Stop::Drain,
        };
        Some((stop, (terminate, interrupt, user)))
    }))
}
