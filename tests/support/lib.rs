//! Test support: installed programs, peers that a test starts, and fakes of platforms that cannot
//! be installed. This crate does not use the program under test.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

pub mod balancer;
pub mod browser;
pub mod certificates;
mod client;
pub mod databases;
pub mod events;
pub mod fault_proxy;
mod instance;
pub mod nats;
pub mod programs;
pub mod protobuf;
mod routes;
mod scraper;
pub mod tsuru;

pub use client::{Response, basic, parse_response, read_response, send};
pub use instance::{Instance, ReceivedRequest, Reply};
pub use routes::{RouteFile, endpoint, labels};
pub use scraper::TestScraper;

use std::{net::SocketAddr, time::Duration};

/// A host name that cannot be resolved. Names that begin with `-` are not sent to a name server, so
/// the result does not depend on the machine.
pub const UNKNOWN_HOST: &str = "-no-such-host.invalid";

/// An address that refuses connections. No test can allocate this port while another test expects
/// it to be closed.
pub fn closed_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// Polls until `done` returns a value. Panics after 30 seconds, a timeout for slow machines.
pub async fn eventually<T>(mut done: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = done().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the condition was not met within 30 seconds");
}
