//! An HTTP/1.1 client with a connection that is kept alive.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longer than any response may take.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { address, stream: BufReader::new(stream) })
    }

    /// Sends a request, and returns the body of a successful response.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> io::Result<String> {
        let (address, length) = (self.address, body.len());
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.read_line()?;
        let mut length = 0;
        loop {
            let line = self.read_line()?.to_ascii_lowercase();
            let Some((name, value)) = line.split_once(": ") else { break };
            if name == "content-length" {
                length = value.parse().map_err(io::Error::other)?;
            }
        }
        let mut body = String::new();
        (&mut self.stream).take(length).read_to_string(&mut body)?;
        match status.split(' ').nth(1) {
            Some("200" | "201") => Ok(body),
            _ => Err(io::Error::other(format!("{target}: {status}: {body}"))),
        }
    }

    /// Sends a scrape as Prometheus does.
    pub(crate) fn scrape(&mut self, target: &str) -> io::Result<String> {
        self.send("GET", target, "X-Prometheus-Scrape-Timeout-Seconds: 0.9\r\n", "")
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
