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

mod body;
mod connection_limiter;
mod connector;
mod events;
mod head;
mod http1_stream;
mod resolver;
mod server_stream;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use body::{BodyError, read_body};
pub use connection_limiter::{ConnectionLimiter, ConnectionLimiterMetrics, OpenConnection, Permit};
pub use connector::{Connector, PeerAddr, PeerTls, connector, plain_http_url};
pub use events::{ConnectionEvents, RequestEvents};
pub use head::ResponseError;
pub use http1_stream::Http1Stream;
pub use resolver::{LookupError, Resolver};
pub use server_stream::ServerStream;
pub use stream::MaybeTlsStream;

use actix_http::error::ParseError;
use awc::{
    Client, ClientRequest, SendClientRequest,
    error::{ConnectError, PayloadError, SendRequestError},
};
use std::io;

/// A client that follows no redirects and has no timeouts other than those of `connector`.
pub fn client(connector: awc::Connector<Connector>) -> Client {
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

/// Sends a request without a body and without `Content-Length`.
///
/// `ClientRequest::send` would add `Content-Length: 0` to a GET.
pub fn send(request: ClientRequest) -> SendClientRequest {
    request.send_body(awc::body::None::new())
}

/// Text of a send error, without the names of awc's layers.
pub fn reason(error: &SendRequestError) -> String {
    match error {
        SendRequestError::Connect(ConnectError::Io(error))
        | SendRequestError::Send(error)
        | SendRequestError::Response(ParseError::Io(error)) => error.to_string(),
        SendRequestError::Connect(ConnectError::Disconnected) => {
            "the connection was closed before an answer".to_owned()
        }
        SendRequestError::Connect(ConnectError::Timeout) => {
            "no connection, or no TLS handshake, in time".to_owned()
        }
        SendRequestError::Connect(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Text of an error while reading a body.
pub fn body_reason(error: &PayloadError) -> String {
    match error {
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// The error that [`Http1Stream`] found in the response, if `error` contains one.
pub fn response_error(error: &SendRequestError) -> Option<ResponseError> {
    match error {
        SendRequestError::Response(ParseError::Io(error)) => from_io(error),
        _ => None,
    }
}

fn from_io(error: &io::Error) -> Option<ResponseError> {
    error.get_ref()?.downcast_ref().copied()
}
