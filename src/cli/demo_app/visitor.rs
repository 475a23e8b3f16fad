//! A simulated client, which visits the pages of an instance. Without it, an app that has no traffic
//! would show neither requests nor their traces.

use super::metrics::HANDLERS;
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// Pause between two visits.
const PAUSE: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);

/// A path that is not found. Every tenth visit has it.
const MISSING: &str = "/missing";

/// Visits the pages one after the other. The responses do not matter.
pub(super) async fn visit(listen: SocketAddr) -> Infallible {
    let client = awc::Client::builder().timeout(TIMEOUT).finish();
    let address = reachable(listen);
    loop {
        let path = match fastrand::u8(..10) {
            0 => MISSING,
            _ => HANDLERS[fastrand::usize(..HANDLERS.len())],
        };
        let request = client.get(format!("http://{address}{path}"));
        let sent = request.insert_header(("traceparent", traceparent())).send().await;
        if let Ok(mut response) = sent {
            // The connection can be used again only after the whole body was read.
            let _ = response.body().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The address of a listener for clients on the same machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// A new trace that is sampled (W3C Trace Context).
fn traceparent() -> String {
    format!("00-{:032x}-{:016x}-01", fastrand::u128(1..), fastrand::u64(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_all_addresses_is_visited_on_this_machine() {
        for (listen, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        }
    }
}
