//! Discovery.
mod document;
mod endpoint;
mod index;
mod intern;
mod lookup;
mod route_key;
mod route_table;
mod wire;
pub use document::{Document, DocumentError, parse};
pub use endpoint::Endpoint;
pub use lookup::Match;
pub use route_table::{RouteTable, Snapshot, SourceStatus};
