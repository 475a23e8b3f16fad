//! HTTP/1.1 connections of our clients, to instances, routers, Tsuru and Prometheus.
//!
//! awc does not know interim answers, answers without a length, and connections
//! that end within a body. [`Answers`] is a layer between awc and the socket that
//! hides the first two from it and reports the third as an error.
//!
//! TLS lies below that layer, so URLs for awc are always `http://`; see [`unsecured`].

mod answers;
mod dial;
mod head;
mod outgoing;
mod stream;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use answers::Answers;
pub use dial::{Dial, connector, unsecured};
pub use head::AnswerError;
pub use outgoing::{OpenConnection, Outgoing, OutgoingMetrics, Permit};
pub use stream::MaybeTlsStream;

use actix_http::error::ParseError;
use awc::{
    Client, ClientRequest, Connector, SendClientRequest, body,
    error::{ConnectError, PayloadError, SendRequestError},
};
use std::io;

/// A client without redirects and without timeouts other than those of `connector`.
pub fn client(connector: Connector<Dial>) -> Client {
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

/// Sends a request that has no body, without `Content-Length`.
///
/// `ClientRequest::send` adds `Content-Length: 0` to a GET.
pub fn send(request: ClientRequest) -> SendClientRequest {
    request.send_body(body::None::new())
}

/// Why there is no answer, without the names of awc's layers.
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

/// Why a body is not whole.
pub fn body_reason(error: &PayloadError) -> String {
    match error {
        PayloadError::Incomplete(Some(error)) | PayloadError::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// What [`Answers`] found wrong with the answer, if that is what `error` reports.
pub fn answer_error(error: &SendRequestError) -> Option<AnswerError> {
    match error {
        SendRequestError::Response(ParseError::Io(error)) => of_io(error),
        _ => None,
    }
}

fn of_io(error: &io::Error) -> Option<AnswerError> {
    error.get_ref()?.downcast_ref().copied()
}
