//! An HTTP/1.1 client with a connection that is kept alive.

use std::{
    error::Error,
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

/// A response whose body was not read yet.
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) replica: Option<String>,
    length: BodyLength,
}

#[derive(Clone, Copy)]
enum BodyLength {
    Known(u64),
    Chunked,
}

/// The body of a successful response to one request.
pub(crate) fn get(
    address: SocketAddr,
    target: &str,
    headers: &str,
) -> Result<String, Box<dyn Error>> {
    let mut connection = Connection::open(address)?;
    let head = connection.send(target, headers)?;
    let body = String::from_utf8(connection.read_body(&head)?)?;
    if head.status == 200 {
        Ok(body)
    } else {
        Err(format!("{target}: status {}: {body}", head.status).into())
    }
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { address, stream: BufReader::with_capacity(1 << 16, stream) })
    }

    /// Sends a request and reads the head of the response.
    pub(crate) fn send(&mut self, target: &str, headers: &str) -> io::Result<ResponseHead> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let line = self.read_line()?;
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or_else(|| invalid(&line))?;
        let mut head = ResponseHead { status, replica: None, length: BodyLength::Known(0) };
        loop {
            let line = self.read_line()?;
            let Some((name, value)) = line.split_once(": ") else { return Ok(head) };
            match &*name.to_ascii_lowercase() {
                "content-length" => {
                    let length = value.parse().map_err(|_| invalid(&line))?;
                    head.length = BodyLength::Known(length);
                }
                "transfer-encoding" => head.length = BodyLength::Chunked,
                "x-scrapebroker-replica" => head.replica = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    /// Reads the whole body. The connection can be used again.
    pub(crate) fn read_body(&mut self, head: &ResponseHead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.copy_body(head, &mut body)?;
        Ok(body)
    }

    /// Like [`Connection::read_body`], for long bodies. Returns the length.
    pub(crate) fn copy_body(
        &mut self,
        head: &ResponseHead,
        out: &mut impl Write,
    ) -> io::Result<u64> {
        if let BodyLength::Known(length) = head.length {
            return self.copy(length, out);
        }
        let mut sum = 0;
        loop {
            let line = self.read_line()?;
            let length = u64::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
            sum += self.copy(length, out)?;
            self.read_line()?;
            if length == 0 {
                return Ok(sum);
            }
        }
    }

    /// The bytes of the body as they are transferred.
    pub(crate) fn raw_body(&mut self) -> &mut impl BufRead {
        &mut self.stream
    }

    fn copy(&mut self, length: u64, out: &mut impl Write) -> io::Result<u64> {
        match io::copy(&mut (&mut self.stream).take(length), out)? {
            copied if copied == length => Ok(length),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// A line without its end.
    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not expected: {line}"))
}
