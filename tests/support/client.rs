//! An HTTP client that sends one request per connection and does not modify the response.

use serde_json::Value;
use std::collections::BTreeMap;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A complete HTTP response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The reason phrase of the status line.
    pub reason: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The lines that begin with `name`, for example `up{` or `up `.
    pub fn lines(&self, name: &str) -> Vec<String> {
        self.text().lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }
}

pub fn basic(user: &str, password: &str) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// Sends one request on a new connection.
pub async fn send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> Response {
    let mut stream = request(method, url, headers, body).await;
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    parse_response(&raw)
}

/// Sends one request on a new connection, and returns the connection.
pub(crate) async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<String>,
) -> TcpStream {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_at(rest.find('/').unwrap());
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.unwrap_or_default();
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream
}

/// Reads a response with a `Content-Length` from a connection that is kept. `received` has data that
/// was read before, and keeps what follows the response. `None` if the connection ends before.
pub async fn read_response(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Option<Response> {
    let (head, end) = read_head(stream, received).await?;
    let length: usize = head.headers["content-length"].parse().unwrap();
    while received.len() < end + length {
        if stream.read_buf(received).await.unwrap_or(0) == 0 {
            return None;
        }
    }
    Some(parse_response(&received.drain(..end + length).collect::<Vec<_>>()))
}

/// Reads the head of a response, and keeps it in `received`. Also returns its length.
pub(crate) async fn read_head(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut Vec<u8>,
) -> Option<(Response, usize)> {
    loop {
        if let Some(end) = end_of_head(received) {
            return Some((parse_response(&received[..end]), end));
        }
        if stream.read_buf(received).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn end_of_head(raw: &[u8]) -> Option<usize> {
    raw.windows(4).position(|window| window == b"\r\n\r\n").map(|start| start + 4)
}

/// Parses a response that ended when the connection was closed.
pub fn parse_response(raw: &[u8]) -> Response {
    let end = end_of_head(raw).unwrap();
    let head = std::str::from_utf8(&raw[..end]).unwrap();
    let mut lines = head.lines();
    let mut status_line = lines.next().unwrap().splitn(3, ' ').skip(1);
    let status = status_line.next().unwrap().parse().unwrap();
    let reason = status_line.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = raw[end..].to_vec();
    let is_chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    // The response to a HEAD request has no body.
    if is_chunked && !body.is_empty() {
        body = unchunk(&body);
    }
    Response { status, reason, headers, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = std::str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
