//! The Tsuru service API through real sockets, on real databases, called as
//! Tsuru calls it (contract: tsuru.md 3.1 and 3.2).

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod binds;
mod bodies;
#[path = "../support/databases.rs"]
mod databases;
mod helpers;
mod instances;
mod manifests;
mod own_calls;
mod preconditions;
mod prometheus;
mod races;
mod replay;
mod tokens;
