//! A scraper on a raw socket. A test decides what it reads and how it disconnects.

use crate::{Response, client::read_head, read_response};
use std::net::{IpAddr, SocketAddr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// A scraper with one connection, which it keeps.
pub struct TestScraper {
    stream: TcpStream,
    host: SocketAddr,
    headers: Vec<(String, String)>,
    /// Data that was received and is not part of a returned response.
    received: Vec<u8>,
}

impl TestScraper {
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with_stream(TcpStream::connect(address).await.unwrap(), address)
    }

    /// Connects from this address, for example `127.0.0.2`: another scraper for the server.
    pub async fn connect_from(source: &str, address: SocketAddr) -> Self {
        let source: IpAddr = source.parse().unwrap();
        let socket = if source.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        Self::with_stream(socket.connect(address).await.unwrap(), address)
    }

    /// Prometheus also accepts gzip, which would make responses unreadable here.
    fn with_stream(stream: TcpStream, host: SocketAddr) -> Self {
        let scraper = Self { stream, host, headers: Vec::new(), received: Vec::new() };
        scraper
            .with_header("User-Agent", "Prometheus/2.42.0")
            .with_header("Accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
            .with_timeout("10")
    }

    /// Sends this header with each scrape, in place of one with the same name.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Announces a scrape timeout in seconds, for example `0.5`. It has no effect on the scraper.
    pub fn with_timeout(self, seconds: &str) -> Self {
        self.with_header("X-Prometheus-Scrape-Timeout-Seconds", seconds)
    }

    /// Sends a scrape and reads the whole response. `None` if the connection ends before.
    pub async fn scrape(&mut self, path: &str) -> Option<Response> {
        self.request(path).await;
        self.response().await
    }

    /// Sends a scrape without reading.
    pub async fn request(&mut self, path: &str) {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in &self.headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        // A closed connection is noticed when the response is read.
        let _ = self.stream.write_all(format!("{request}\r\n").as_bytes()).await;
    }

    /// Reads the rest of a response. `None` if the connection ends before.
    pub async fn response(&mut self) -> Option<Response> {
        read_response(&mut self.stream, &mut self.received).await
    }

    /// Reads the head of a response, without its body. [`Self::response`] returns it too.
    pub async fn head(&mut self) -> Option<Response> {
        read_head(&mut self.stream, &mut self.received).await.map(|(head, _)| head)
    }

    /// Reads at least this many bytes of a response. [`Self::response`] returns them too.
    pub async fn read_part(&mut self, bytes: usize) {
        while self.received.len() < bytes {
            assert!(self.stream.read_buf(&mut self.received).await.unwrap() > 0);
        }
    }

    /// Waits until the server closes the connection. Received data is discarded.
    pub async fn disconnected(&mut self) {
        while self.stream.read_buf(&mut self.received).await.is_ok_and(|read| read > 0) {}
    }

    /// Sends a FIN. The connection stays open in the other direction.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Disconnects with an RST.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}
