//! App instances: HTTP servers whose responses the test selects.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// How an instance responds to a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Responds with status 200 and metrics.
    Metrics(String),
    /// Responds with a status, headers and a body.
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Writes these bytes and closes the connection.
    Raw(Vec<u8>),
    /// Never responds.
    Hang,
    /// Closes the connection without a response.
    Close,
    /// Responds after a delay.
    Late(Duration, Box<Reply>),
}

impl Reply {
    pub fn metrics(text: &str) -> Self {
        Self::Metrics(text.to_owned())
    }
}

/// A request that an instance received.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    /// The position of the request on its connection, starting at 1.
    pub nth: usize,
    /// The body, if the request has a `Content-Length`.
    pub body: String,
}

/// An app instance on a free port. It stops when it is dropped.
pub struct Instance {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<ReceivedRequest>>>,
    open: Arc<AtomicUsize>,
    task: actix_web::rt::task::JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Instance {
    pub async fn start(reply: impl Fn(&ReceivedRequest) -> Reply + 'static) -> Self {
        Self::start_on("127.0.0.1:0", reply).await
    }

    pub async fn start_on(
        address: &str,
        reply: impl Fn(&ReceivedRequest) -> Reply + 'static,
    ) -> Self {
        Self::start_secured(address, None, reply).await
    }

    /// Uses TLS if `acceptor` is given.
    pub async fn start_secured(
        address: &str,
        acceptor: Option<TlsAcceptor>,
        reply: impl Fn(&ReceivedRequest) -> Reply + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<ReceivedRequest>>>::default();
        let open = Arc::<AtomicUsize>::default();
        let (log, count) = (Arc::clone(&seen), Arc::clone(&open));
        let reply = std::rc::Rc::new(reply);
        let task = actix_web::rt::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, count, reply) = (Arc::clone(&log), Arc::clone(&count), reply.clone());
                let acceptor = acceptor.clone();
                connections.spawn_local(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    match acceptor {
                        None => serve(stream, &log, &*reply).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &log, &*reply).await;
                            }
                        }
                    }
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen, open, task }
    }

    /// An instance that always returns the same metrics.
    pub async fn with_metrics(text: &str) -> Self {
        let text = text.to_owned();
        Self::start(move |_| Reply::Metrics(text.clone())).await
    }

    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.seen.lock().unwrap().clone()
    }

    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    log: &Mutex<Vec<ReceivedRequest>>,
    reply: &dyn Fn(&ReceivedRequest) -> Reply,
) {
    let mut buffer = Vec::new();
    for nth in 1.. {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
        buffer.drain(..end + 4);
        let mut lines = head.lines();
        let line = lines.next().unwrap().to_owned();
        let headers: BTreeMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        while buffer.len() < length {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = String::from_utf8_lossy(&buffer[..length]).into_owned();
        buffer.drain(..length);
        let seen = ReceivedRequest { line, headers, nth, body };
        log.lock().unwrap().push(seen.clone());
        let mut what = reply(&seen);
        while let Reply::Late(time, then) = what {
            tokio::time::sleep(time).await;
            what = *then;
        }
        let (status, headers, body) = match what {
            Reply::Metrics(text) => {
                let text_type = ("Content-Type", "text/plain; version=0.0.4".to_owned());
                (200, vec![text_type], text.into_bytes())
            }
            Reply::Http(status, headers, body) => (status, headers, body),
            Reply::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Hang => {
                // Returns when the peer closes the connection.
                let _ = stream.read_buf(&mut buffer).await;
                return;
            }
            Reply::Close | Reply::Late(..) => return,
        };
        let mut answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        answer.push_str("\r\n");
        let mut answer = answer.into_bytes();
        answer.extend_from_slice(&body);
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}
