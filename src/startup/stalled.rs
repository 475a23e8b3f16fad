//! Kept connections on which a request begins and does not go on.
//!
//! The framework bounds the time for the head of a connection's first request
//! only: later the timer for idle connections stops with the first byte, and a
//! client could send a byte a second for ever. Nobody but us knows that no
//! request runs, so we end such connections, by a second handle of the socket.

use crate::telemetry::running::Use;
use actix_web::rt::net::TcpStream;
use std::{
    net::{self, Shutdown},
    os::fd::AsFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every open connection of a listener; clones see the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Vec<Watched>>>);

#[derive(Debug)]
struct Watched {
    in_use: Use,
    socket: Weak<net::TcpStream>,
}

impl Connections {
    /// Watches a connection that was just opened; both belong to its data, and the socket is forgotten
    /// with that. None when there is no file descriptor left: then it is served without.
    pub(super) fn watch(&self, stream: &TcpStream) -> Option<(Use, Arc<net::TcpStream>)> {
        let socket = stream.as_fd().try_clone_to_owned().ok()?;
        let socket = Arc::new(net::TcpStream::from(socket));
        let in_use = Use::default();
        self.watched().push(Watched { in_use: in_use.clone(), socket: Arc::downgrade(&socket) });
        Some((in_use, socket))
    }

    /// Ends connections on which nothing has run for `limit`, until `shutdown`.
    pub(super) async fn end_stalled(self, limit: Duration, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY.min(limit));
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.watched().retain(|Watched { in_use, socket }| {
                let Some(socket) = socket.upgrade() else { return false };
                if in_use.unused_for().is_some_and(|unused| unused >= limit) {
                    // It may be closed by now; then there is nothing to end.
                    let _ = socket.shutdown(Shutdown::Both);
                    return false;
                }
                true
            });
        }
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// Both ends of a connection, the first one watched.
    async fn connection(
        connections: &Connections,
    ) -> (TcpStream, TcpStream, Option<(Use, Arc<net::TcpStream>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let watch = connections.watch(&server);
        (server, client, watch)
    }

    #[actix_web::test]
    async fn a_connection_ends_when_nothing_runs_on_it_for_too_long() {
        let connections = Connections::default();
        let shutdown = CancellationToken::new();
        let limit = Duration::from_millis(50);
        let (_stalled, mut client, stalled) = connection(&connections).await;
        let (mut busy, mut busy_client, used) = connection(&connections).await;
        let (gone, _, watch) = connection(&connections).await;
        drop((gone, watch));
        let running = used.as_ref().map(|(in_use, _)| in_use.begin());
        actix_web::rt::spawn(connections.clone().end_stalled(limit, shutdown.clone()));

        client.write_all(b"G").await.unwrap();
        assert_eq!(client.read_buf(&mut Vec::new()).await.unwrap(), 0, "it was ended");
        busy.write_all(b"a long answer").await.unwrap();
        let mut answer = [0; 13];
        busy_client.read_exact(&mut answer).await.unwrap();
        assert_eq!(connections.watched().len(), 1, "those that ended are forgotten");

        drop(running);
        assert_eq!(busy_client.read_buf(&mut Vec::new()).await.unwrap(), 0, "it was ended");
        drop(stalled);
        shutdown.cancel();
    }
}
