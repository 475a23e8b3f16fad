//! Discovery.
mod document;
mod endpoint;
mod intern;
mod route_key;
mod wire;
pub use document::{Document, DocumentError, parse};
pub use endpoint::Endpoint;
