//! The Tsuru service API over HTTP, on SQLite and PostgreSQL, with requests in the form of Tsuru.

mod binds;
mod bodies;
mod client;
mod instances;
mod manifests;
mod own_calls;
mod preconditions;
mod prometheus;
mod races;
mod replay;
mod tokens;
