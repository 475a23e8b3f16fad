//! The Tsuru service API through real sockets, on real databases, called as Tsuru calls it.

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
