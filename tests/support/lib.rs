//! What the tests run against: programs of the system, peers made for a test, and stand-ins for
//! platforms that cannot be installed. Nothing here uses the program under test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub mod balancer;
pub mod certificates;
mod client;
pub mod databases;
mod instance;
pub mod nats;
pub mod programs;
pub mod protobuf;
mod routes;
pub mod tsuru;

pub use client::{Answer, basic, parse_answer, send};
pub use instance::{Instance, Reply, Seen};
pub use routes::{RouteFile, endpoint, labels};

use std::{net::SocketAddr, time::Duration};

/// A host that cannot be resolved. Names that begin with `-` reach no name server, so it makes no
/// difference how the one of this machine answers.
pub const UNKNOWN_HOST: &str = "-no-such-host.invalid";

/// An address where nobody listens. No test can get this port while another expects it closed.
pub fn closed_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// Tries until `done` says so, or fails after half a minute: machines are busy.
pub async fn eventually<T>(mut done: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = done().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not happen within half a minute");
}
