//! Signals that stop the program.

use futures_util::{Stream, stream};
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// A signal to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM or SIGINT. A second one, more than one second after the first, forces the stop.
    Graceful,
    /// SIGUSR1, from a drain script. In addition, the health listener responds with 503. Repeated
    /// signals are ignored.
    Drain,
}

/// All stop signals that arrive after this call, even before the stream is polled.
pub(crate) fn stops() -> io::Result<impl Stream<Item = Stop>> {
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
