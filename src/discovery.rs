//! Discovery.
mod claims;
mod document;
mod endpoint;
mod error;
mod index;
mod intern;
mod lookup;
mod merge;
mod route_key;
mod route_table;
mod sources;
mod wire;
pub use document::{Document, DocumentError, parse};
pub use endpoint::Endpoint;
pub use lookup::Match;
pub use route_table::{RouteTable, Snapshot, SourceStatus};
