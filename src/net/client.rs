//! Requests with awc: clients, errors as text, and bodies of limited size.

use super::{connector::Connector, head::ResponseError};
use actix_http::error::ParseError;
use awc::{
    Client, ClientRequest, ClientResponse, SendClientRequest, body,
    error::{ConnectError, PayloadError, SendRequestError},
    http::header::CONTENT_LENGTH,
};
use futures_util::StreamExt;
use std::io;

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadBodyError {
    #[error("the response is larger than {0} bytes")]
    TooLarge(u64),
    /// The connection ended before the body was complete.
    #[error("{0}")]
    Truncated(String),
}

/// A client that follows no redirects and has no timeouts other than those of `connector`.
pub fn client(connector: awc::Connector<Connector>) -> Client {
    Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

/// Sends a request without a body and without `Content-Length`.
///
/// `ClientRequest::send` would add `Content-Length: 0` to a GET.
pub fn send(request: ClientRequest) -> SendClientRequest {
    request.send_body(body::None::new())
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

/// The error that [`Http1Stream`](super::Http1Stream) found in the response, if `error` contains one.
pub fn response_error(error: &SendRequestError) -> Option<ResponseError> {
    match error {
        SendRequestError::Response(ParseError::Io(error)) => from_io(error),
        _ => None,
    }
}

fn from_io(error: &io::Error) -> Option<ResponseError> {
    error.get_ref()?.downcast_ref().copied()
}

/// Reads the body of a response, which may have at most `limit` bytes.
///
/// # Errors
/// The body is larger, or it is incomplete.
pub async fn read_body(
    response: &mut ClientResponse,
    limit: u64,
) -> Result<Vec<u8>, ReadBodyError> {
    let announced = response.headers().get(CONTENT_LENGTH);
    let announced: Option<u64> = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ReadBodyError::TooLarge(limit));
    }
    let capacity = announced.and_then(|length| length.try_into().ok());
    let mut body = Vec::with_capacity(capacity.unwrap_or(0));
    while let Some(chunk) = response.next().await {
        let chunk = chunk.map_err(|error| ReadBodyError::Truncated(body_reason(&error)))?;
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(ReadBodyError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
