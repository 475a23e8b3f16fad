//! Several addresses of the main listener, from flags, variables and the file.

use crate::server_process::Server;
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};
use support::{Response, eventually, send};

/// A free port of all addresses.
fn shared_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn get(address: SocketAddr, path: &str) -> Response {
    send("GET", &format!("http://{address}{path}"), &[], None).await
}

fn start(folder: &Path, settings: &[(&str, &str)], flags: &[&str]) -> Server {
    Server::spawn_with_flags(folder, settings, flags).listening()
}

#[actix_web::test]
async fn every_address_serves_until_the_program_stops() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--web.listen-address=127.0.0.1:0", "--web.listen-address=[::1]:0"];
    let mut server = start(folder.path(), &[("LISTEN_ADDRESS", "nowhere")], &flags);
    let addresses = server.addresses();
    let [first, second] = addresses[..] else { panic!("{addresses:?}") };
    assert!(first == server.address && first.is_ipv4() && second.is_ipv6());
    for address in addresses {
        assert_eq!(get(address, "/-/healthy").await.text(), "healthy\n");
        assert_eq!(get(address, "/v1/apps/unknown/metrics").await.status, 404);
    }
    server.signal("TERM");
    assert_eq!(server.exit_code().await, Some(0));
    assert!(std::net::TcpStream::connect(second).is_err());
}

#[actix_web::test]
async fn ipv4_and_ipv6_wildcards_share_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let port = shared_port();
    let listen = format!("0.0.0.0:{port},[::]:{port}");
    let server = start(folder.path(), &[("SCRAPEBROKER__LISTEN", &listen)], &[]);
    assert_eq!(server.addresses().len(), 2);
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}").parse().unwrap();
        assert_eq!(get(address, "/-/healthy").await.status, 200, "{host}");
    }
}

#[actix_web::test]
async fn a_wildcard_ipv6_address_alone_serves_ipv4_too() {
    let folder = tempfile::tempdir().unwrap();
    for listen in ["[::]:0", ":0"] {
        let server = start(folder.path(), &[("SCRAPEBROKER__LISTEN", listen)], &[]);
        for host in ["127.0.0.1", "[::1]"] {
            let address = format!("{host}:{}", server.address.port()).parse().unwrap();
            assert_eq!(get(address, "/nothing").await.status, 404, "{host}");
        }
        // The log has the IPv4 address of an IPv4 client, not the IPv6 form of it.
        eventually(async || {
            let log = server.log_text();
            let has = |peer: &str| log.contains(&format!("\"peer\":\"{peer}:"));
            (has("127.0.0.1") && has("[::1]")).then_some(())
        })
        .await;
        assert!(!server.log_text().contains("ffff"), "{}", server.log_text());
    }
}

#[actix_web::test]
async fn an_address_in_use_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    let flags = ["--web.listen-address=127.0.0.1:0", &format!("--web.listen-address={taken}")];
    let (code, log) = Server::spawn_with_flags(folder.path(), &[], &flags).failed();
    assert_eq!(code, Some(69));
    assert!(log.contains(&format!("listen: cannot listen on {taken}")), "{log}");
}
