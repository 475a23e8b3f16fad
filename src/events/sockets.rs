//! The TCP sockets of this process's network namespace, from `/proc/net`.
//!
//! They show whether a client has acknowledged all data and whether it has closed its side. A write
//! that succeeded shows neither: the kernel accepts data for a client that has disconnected.

use crate::telemetry::running::ConnectionEnds;
use procfs::{ProcError, ProcResult, net::TcpNetEntry};
use std::{collections::HashMap, io, net::SocketAddr};

pub use procfs::net::TcpState;

/// All sockets at one moment, by their addresses.
#[derive(Clone, Debug, Default)]
pub struct SocketTable(HashMap<ConnectionEnds, Socket>);

/// The state of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub state: TcpState,
    /// Bytes that were written and that the peer's kernel has not acknowledged.
    pub unacknowledged: u32,
}

impl SocketTable {
    /// Reads the sockets on another thread, because the kernel lists all of them.
    ///
    /// # Errors
    /// The kernel provides no list, or in an unknown format.
    pub async fn load() -> io::Result<Self> {
        tokio::task::spawn_blocking(Self::read).await?
    }

    fn read() -> io::Result<Self> {
        let ipv4 = if_present(procfs::net::tcp())?;
        let ipv6 = if_present(procfs::net::tcp6())?;
        Ok(ipv4.into_iter().chain(ipv6).map(entry).collect())
    }

    /// The socket of a connection. `None` if the kernel has forgotten it, for example after an RST.
    pub fn find(&self, ends: ConnectionEnds) -> Option<&Socket> {
        self.0.get(&canonical(ends))
    }
}

impl FromIterator<(ConnectionEnds, Socket)> for SocketTable {
    fn from_iter<I: IntoIterator<Item = (ConnectionEnds, Socket)>>(sockets: I) -> Self {
        Self(sockets.into_iter().map(|(ends, socket)| (canonical(ends), socket)).collect())
    }
}

fn entry(entry: TcpNetEntry) -> (ConnectionEnds, Socket) {
    let ends = ConnectionEnds { local: entry.local_address, peer: entry.remote_address };
    (ends, Socket { state: entry.state, unacknowledged: entry.tx_queue })
}

/// A kernel without IPv6 has no list of IPv6 sockets.
fn if_present(read: ProcResult<Vec<TcpNetEntry>>) -> io::Result<Vec<TcpNetEntry>> {
    match read {
        Err(ProcError::NotFound(_)) => Ok(Vec::new()),
        read => read.map_err(io::Error::other),
    }
}

/// IPv4 addresses without their IPv6 form, and IPv6 addresses without their zone, which the list of
/// the kernel does not contain.
fn canonical(ends: ConnectionEnds) -> ConnectionEnds {
    let address = |it: SocketAddr| SocketAddr::new(it.ip().to_canonical(), it.port());
    ConnectionEnds { local: address(ends.local), peer: address(ends.peer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockRef;
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpListener, TcpStream},
        time::Duration,
    };
    use support::eventually;

    /// A connection on loopback: the server's side, its addresses, and the client's side.
    fn connection(listen: &str, connect: &str) -> (TcpStream, ConnectionEnds, TcpStream) {
        let listener = TcpListener::bind((listen, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((connect, port)).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let ends = ConnectionEnds { local: server.local_addr().unwrap(), peer };
        (server, ends, client)
    }

    fn loopback() -> (TcpStream, ConnectionEnds, TcpStream) {
        connection("127.0.0.1", "127.0.0.1")
    }

    async fn reaches(ends: ConnectionEnds, expected: Option<TcpState>) {
        eventually(async || {
            let table = SocketTable::load().await.unwrap();
            (table.find(ends).map(|socket| socket.state.clone()) == expected).then_some(())
        })
        .await;
    }

    async fn unacknowledged(ends: ConnectionEnds) -> u32 {
        SocketTable::load().await.unwrap().find(ends).unwrap().unacknowledged
    }

    #[tokio::test]
    async fn sockets_are_found_by_ipv4_ipv6_and_mapped_addresses() {
        for (listen, connect) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")] {
            let (_server, ends, _client) = connection(listen, connect);
            reaches(ends, Some(TcpState::Established)).await;
        }
    }

    #[tokio::test]
    async fn unread_data_is_acknowledged_as_long_as_the_client_has_room() {
        let (mut server, ends, _client) = loopback();
        server.write_all(b"small").unwrap();
        eventually(async || (unacknowledged(ends).await == 0).then_some(())).await;
        server.set_nonblocking(true).unwrap();
        while server.write(&[0; 64 << 10]).is_ok() {}
        assert!(unacknowledged(ends).await > 0);
    }

    #[tokio::test]
    async fn a_fin_and_an_rst_of_the_client_are_visible() {
        let (_server, ends, client) = loopback();
        client.shutdown(Shutdown::Write).unwrap();
        reaches(ends, Some(TcpState::CloseWait)).await;

        let (_server, ends, client) = loopback();
        SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        reaches(ends, None).await;
    }

    #[tokio::test]
    async fn after_our_close_the_state_shows_whether_the_client_read_everything() {
        let (mut server, ends, mut client) = loopback();
        server.write_all(b"response").unwrap();
        drop(server);
        reaches(ends, Some(TcpState::FinWait2)).await;
        client.read_to_end(&mut Vec::new()).unwrap();
        drop(client);
        reaches(ends, Some(TcpState::TimeWait)).await;

        let (mut server, ends, client) = loopback();
        server.write_all(b"response").unwrap();
        drop(server);
        reaches(ends, Some(TcpState::FinWait2)).await;
        drop(client);
        reaches(ends, None).await;
    }
}
