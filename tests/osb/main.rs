//! The Open Service Broker API through real sockets, on real databases.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bindings;
#[path = "../support/databases.rs"]
mod databases;
mod fake_provisioner;
mod helpers;
mod input;
mod instances;
mod korifi;
mod migration;
mod outage;
mod preconditions;
mod prometheus;
mod races;
mod rejections;
mod replay;
mod tokens;
