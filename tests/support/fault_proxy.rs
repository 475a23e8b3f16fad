//! A TCP proxy that delays or cuts HTTP responses. It passes on the FIN and the RST of both sides.

use futures_util::future::try_join;
use std::{
    cell::Cell,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::Notify,
};

/// Size of the kernel's buffer for data from the server. With a large one the server could send
/// most responses completely, however slowly the proxy forwards them.
const RECEIVE_BUFFER: u32 = 8 << 10;
/// Pause between two parts of a throttled response.
const PAUSE: Duration = Duration::from_millis(20);

/// What happens to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Pass,
    /// After this many bytes nothing is forwarded until the client disconnects.
    StallAfter(usize),
    /// After this many bytes both connections are reset.
    CutAfter(usize),
    /// This many bytes are forwarded per second, in at least one part.
    Throttle(usize),
}

/// A running proxy. It listens until it is dropped.
pub struct FaultProxy {
    pub address: SocketAddr,
    responses: Rc<Cell<usize>>,
    task: actix_web::rt::task::JoinHandle<()>,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultProxy {
    /// Forwards to `server`. `fault` selects what happens to each response; they are numbered from 1
    /// in the order of their requests.
    pub async fn start(server: SocketAddr, fault: impl Fn(usize) -> Fault + 'static) -> Self {
        Self::start_with(server, false, fault).await
    }

    /// Like [`FaultProxy::start`], but the connection to the server stays open when the client
    /// disconnects, as with proxies that have a pool of connections.
    pub async fn start_pooling(
        server: SocketAddr,
        fault: impl Fn(usize) -> Fault + 'static,
    ) -> Self {
        Self::start_with(server, true, fault).await
    }

    async fn start_with(
        server: SocketAddr,
        keeps_server: bool,
        fault: impl Fn(usize) -> Fault + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let responses = Rc::<Cell<usize>>::default();
        let (count, fault) = (Rc::clone(&responses), Rc::new(fault));
        let task = actix_web::rt::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (count, fault) = (Rc::clone(&count), Rc::clone(&fault));
                connections.spawn_local(async move {
                    let next = || {
                        count.set(count.get() + 1);
                        fault(count.get())
                    };
                    if let Ok(server) = connect(server).await {
                        forward(client, server, keeps_server, &next).await;
                    }
                });
            }
        });
        Self { address, responses, task }
    }

    /// The number of requests that were forwarded.
    pub fn requests(&self) -> usize {
        self.responses.get()
    }
}

async fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(server).await
}

/// Forwards in both directions until both sides have closed. An error of one side resets both.
async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    keeps_server: bool,
    next: &dyn Fn() -> Fault,
) {
    let exchange = Exchange {
        keeps_server,
        fault: Cell::new(Fault::Pass),
        is_response: Cell::new(true),
        client_left: Notify::new(),
    };
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let requests = exchange.requests(from_client, to_server, next);
    let responses = exchange.responses(from_server, to_client);
    if try_join(requests, responses).await.is_err() {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// The state of a connection that both directions share.
struct Exchange {
    /// Whether the server does not notice that the client disconnects.
    keeps_server: bool,
    fault: Cell<Fault>,
    /// Whether a part of the response to the last request was forwarded.
    is_response: Cell<bool>,
    client_left: Notify,
}

impl Exchange {
    async fn requests(
        &self,
        mut client: ReadHalf<'_>,
        mut server: WriteHalf<'_>,
        next: &dyn Fn() -> Fault,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = match client.read(&mut buffer).await {
                Err(_) if self.keeps_server => 0,
                read => read?,
            };
            if read == 0 {
                self.client_left.notify_one();
                if self.keeps_server {
                    return Ok(());
                }
                return server.shutdown().await;
            }
            if self.is_response.replace(false) {
                self.fault.set(next());
            }
            server.write_all(&buffer[..read]).await?;
        }
    }

    async fn responses(
        &self,
        mut server: ReadHalf<'_>,
        mut client: WriteHalf<'_>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        let mut forwarded = 0;
        loop {
            let read = server.read(&mut buffer).await?;
            if read == 0 {
                return client.shutdown().await;
            }
            if !self.is_response.replace(true) {
                forwarded = 0;
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let (part, later) = rest.split_at(self.room(forwarded).min(rest.len()));
                if part.is_empty() {
                    return self.end(server).await;
                }
                client.write_all(part).await?;
                forwarded += part.len();
                rest = later;
                if let Fault::Throttle(_) = self.fault.get() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The number of bytes that may be forwarded at once.
    fn room(&self, forwarded: usize) -> usize {
        match self.fault.get() {
            Fault::Pass => usize::MAX,
            Fault::StallAfter(bytes) | Fault::CutAfter(bytes) => bytes.saturating_sub(forwarded),
            Fault::Throttle(rate) => {
                let parts = 1000 / usize::try_from(PAUSE.as_millis()).unwrap();
                (rate / parts).max(1)
            }
        }
    }

    /// Ends a response that is not forwarded completely.
    async fn end(&self, mut server: ReadHalf<'_>) -> io::Result<()> {
        if let Fault::CutAfter(_) = self.fault.get() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.client_left.notified().await;
        tokio::io::copy(&mut server, &mut tokio::io::sink()).await.map(drop)
    }
}
