//! The Open Service Broker API over HTTP, on SQLite and PostgreSQL.

mod bindings;
mod client;
mod fake_provisioner;
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
