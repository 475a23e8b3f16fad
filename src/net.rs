//! Outgoing HTTP/1.1 connections to instances, routers, Tsuru and Prometheus.
//!
//! ```text
//! awc ─► Connector ─► Http1Stream ─► ServerStream ─► MaybeTlsStream ─► TCP
//! ```
//!
//! awc does not support interim responses or responses without a length, and does not report every
//! connection that ends within a body. [`Http1Stream`] hides the first two from awc and reports the
//! third as an error. [`ServerStream`] counts [`ConnectionEvents`], which awc does not report.
//!
//! TLS is below these layers, so URLs for awc are always `http://`; see [`plain_http_url`].

mod client;
mod connection_limiter;
mod connector;
mod events;
mod head;
mod http1_stream;
mod idle_pool;
mod resolver;
mod server_stream;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use client::{ReadBodyError, body_reason, client, read_body, reason, response_error, send};
pub use connection_limiter::{ConnectionLimiter, ConnectionLimiterMetrics, OpenConnection, Permit};
pub use connector::{Connector, connector, plain_http_url};
pub use events::{ConnectionEvents, RequestEvents};
pub use head::ResponseError;
pub use http1_stream::Http1Stream;
pub use idle_pool::IdlePool;
pub use resolver::{LookupError, Resolver};
pub use server_stream::{PeerAddr, PeerTls, ServerStream};
pub use stream::MaybeTlsStream;
