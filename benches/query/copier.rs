//! A proxy that copies bytes and does not parse them: no proxy is faster.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

/// Starts the copier on a free port. Each connection of a client has a connection to the server.
pub(crate) fn start(server: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // The client reports that its connection was closed.
            let _ = connect(client, server);
        }
    });
    Ok(address)
}

/// Copies in both directions, with a thread for each: without HTTP the end of a response is unknown.
fn connect(client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (client_reader, server_writer) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || copy(&client_reader, &server_writer));
    thread::spawn(move || copy(&server, &client));
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // Both connections end when one of them does.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}
