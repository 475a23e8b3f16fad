//! A fake status endpoint of a gorouter on a real socket, with configurable failures.

use std::sync::{Arc, Mutex};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Debug)]
pub(in crate::discovery) enum Behaviour {
    /// Sends these bytes and closes the connection.
    Answer(String),
    /// `{}` for these basic credentials, otherwise 401.
    Guarded(String),
    /// Never responds.
    Hang,
    /// Status 200 with an endless body.
    Endless,
}

/// Listens until it is dropped.
pub(in crate::discovery) struct TestRouter {
    port: u16,
    behaviour: Arc<Mutex<Behaviour>>,
    listening: tokio::task::JoinHandle<()>,
}

/// A complete response with its length.
pub(in crate::discovery) fn http(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

impl TestRouter {
    pub(in crate::discovery) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let current = Arc::clone(&behaviour);
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let behaviour = current.lock().unwrap().clone();
                tokio::spawn(serve(stream, behaviour));
            }
        });
        Self { port, behaviour, listening }
    }

    pub(in crate::discovery) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/routes", self.port)
    }

    pub(in crate::discovery) fn now_does(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    pub(in crate::discovery) fn now_says(&self, body: &str) {
        self.now_does(Behaviour::Answer(http(200, "", body)));
    }
}

impl Drop for TestRouter {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).ok()?;
    assert!(request.starts_with("GET /routes HTTP/1.1\r\n"), "{request}");
    assert!(!request.to_ascii_lowercase().contains("content-length"), "{request}");
    match behaviour {
        Behaviour::Answer(bytes) => stream.write_all(bytes.as_bytes()).await.ok()?,
        Behaviour::Guarded(credentials) => {
            let is_known = request.contains(&format!("Basic {credentials}\r\n"));
            let answer = if is_known { http(200, "", "{}") } else { http(401, "", "no") };
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Endless => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.ok()?;
            let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
            loop {
                stream.write_all(chunk.as_bytes()).await.ok()?;
            }
        }
    }
    Some(())
}
