//! Black-box tests: the whole program over sockets, one module an API.

#![expect(clippy::unwrap_used, reason = "a test that cannot do its work has failed")]

mod apps;
mod broker;
mod budget;
mod connections;
mod crash;
mod faults;
mod formats;
mod helpers;
mod nats;
mod ops;
mod prometheus;
#[path = "../support/promtool.rs"]
mod promtool;
#[path = "../support/protobuf.rs"]
mod protobuf;
mod scaling;
