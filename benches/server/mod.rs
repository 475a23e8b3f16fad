//! HTTP servers that run in the benchmark, with a thread per connection.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Starts a server on a free port. `respond` gets the target of each request, and writes the
/// response.
pub(crate) fn start(
    respond: impl Fn(&str, &mut dyn Write) -> io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let respond = Arc::new(respond);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let respond = Arc::clone(&respond);
            // A client may disconnect at any time.
            thread::spawn(move || serve(stream, &*respond).ok());
        }
    });
    address
}

/// A complete response.
pub(crate) fn response(content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn serve(
    mut stream: TcpStream,
    respond: &dyn Fn(&str, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        request.extend_from_slice(&chunk[..n]);
        if request.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request).into_owned();
            respond(head.split(' ').nth(1).unwrap_or_default(), &mut stream)?;
            request.clear();
        }
    }
}
