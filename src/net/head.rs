//! Rewrites the head of an HTTP/1 response so that awc reads the body as RFC 9112 (section 6.3,
//! "Message Body Length") requires.

use httparse::{Header, ParserConfig, Status};
use std::io::Write;

/// The same limit as in awc.
const MAX_HEADERS: usize = 96;

/// Maximum length of a field name, bytes. awc panics at longer ones.
const MAX_NAME: usize = u16::MAX as usize;

/// Why a response cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    /// Not HTTP/1.0 or HTTP/1.1.
    #[error("the response is not HTTP")]
    NotHttp,
    /// Too many bytes or header fields, including interim responses.
    #[error("the response head is too long")]
    TooLong,
    /// Status 101, which no request asks for.
    #[error("the response switches to another protocol")]
    Switching,
    /// A coding other than `chunked`, or `chunked` twice.
    #[error("the Transfer-Encoding of the response is not supported")]
    TransferEncoding,
    /// Not a number, or several different lengths.
    #[error("the Content-Length of the response is not a number")]
    ContentLength,
}

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Status 1xx: another head follows.
    Interim,
    /// The response's own head, rewritten for awc.
    Final { bytes: Vec<u8>, ends_with_connection: bool },
}

/// What determines the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    Connection,
}

/// End of the first head in `bytes`, if it is complete. Lines that end before `searched` are
/// skipped.
pub(super) fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    // A line end and the blank line after it may begin up to three bytes before.
    let from = searched.saturating_sub(3);
    let rest = bytes.get(from..).unwrap_or_default();
    memchr::memchr_iter(b'\n', rest).find_map(|at| {
        let after = rest.get(at + 1..).unwrap_or_default();
        let blank = if after.starts_with(b"\r\n") { 2 } else { 1 };
        (blank == 2 || after.starts_with(b"\n")).then_some(from + at + 1 + blank)
    })
}

/// Parses a complete head.
pub(super) fn read(bytes: &[u8]) -> Result<Head, ResponseError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    // awc allows them too.
    config.allow_spaces_after_header_name_in_responses(true);
    match config.parse_response(&mut response, bytes) {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooLong),
        Ok(Status::Partial) | Err(_) => return Err(ResponseError::NotHttp),
    }
    if response.headers.iter().any(|header| header.name.len() > MAX_NAME) {
        return Err(ResponseError::TooLong);
    }
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err(ResponseError::NotHttp);
    };
    match status {
        101 => Err(ResponseError::Switching),
        100..=199 => Ok(Head::Interim),
        200.. => {
            let framing = framing(status, version, response.headers)?;
            Ok(rewritten(status, version, response.headers, framing))
        }
        _ => Err(ResponseError::NotHttp),
    }
}

fn framing(status: u16, version: u8, headers: &[Header<'_>]) -> Result<Framing, ResponseError> {
    if matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    // HTTP/1.0 has no transfer codings.
    if version > 0 && is_chunked(headers)? {
        return Ok(Framing::Chunked);
    }
    Ok(content_length(headers)?.map_or(Framing::Connection, Framing::Length))
}

/// `identity` is not a coding: it means that there is none.
fn is_chunked(headers: &[Header<'_>]) -> Result<bool, ResponseError> {
    let mut codings = items(headers, "transfer-encoding")
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(ResponseError::TransferEncoding),
    }
}

/// Repeated equal lengths are allowed.
fn content_length(headers: &[Header<'_>]) -> Result<Option<u64>, ResponseError> {
    let mut length = None;
    for item in items(headers, "content-length") {
        let is_number = !item.is_empty() && item.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(item).ok().filter(|_| is_number);
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or(ResponseError::ContentLength)?;
        if length.replace(number).is_some_and(|before| before != number) {
            return Err(ResponseError::ContentLength);
        }
    }
    Ok(length)
}

/// The items of all header fields with this name.
fn items<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let of_name = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    of_name.flat_map(|header| header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
}

/// awc reads a body up to the end of the connection only in HTTP/1.0. In HTTP/1.0 it does not
/// support `content-length: 0`, and it reuses connections that will be closed.
fn rewritten(status: u16, version: u8, headers: &[Header<'_>], framing: Framing) -> Head {
    let ends_with_connection = framing == Framing::Connection;
    let minor = u8::from(!ends_with_connection);
    let is_closed = ends_with_connection || version == 0;
    let mut bytes = Vec::with_capacity(1024);
    bytes.extend_from_slice(format!("HTTP/1.{minor} {status} \r\n").as_bytes());
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let is_replaced = is("content-length")
            || is("transfer-encoding")
            || is("upgrade")
            || (is_closed && is("connection"));
        if !is_replaced {
            bytes.extend_from_slice(header.name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(header.value);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    // Writing to a Vec cannot fail.
    let _ = match framing {
        Framing::Length(length) => write!(bytes, "content-length: {length}\r\n"),
        Framing::Chunked => write!(bytes, "transfer-encoding: chunked\r\n"),
        Framing::Connection => Ok(()),
    };
    if is_closed {
        bytes.extend_from_slice(b"connection: close\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Head::Final { bytes, ends_with_connection }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing_of(head: &str) -> Result<String, ResponseError> {
        match read(format!("{head}\r\n").as_bytes())? {
            Head::Interim => Ok("interim".to_owned()),
            Head::Final { bytes, ends_with_connection } => {
                let text = String::from_utf8(bytes).unwrap();
                assert_eq!(text.starts_with("HTTP/1.0"), ends_with_connection, "{text}");
                let (_, fields) = text.split_once("\r\n").unwrap();
                Ok(fields.replace("\r\n", ";"))
            }
        }
    }

    #[test]
    fn each_rewritten_head_determines_the_end_of_its_body() {
        use ResponseError::*;
        let close = "connection: close;;";
        let chunked = "transfer-encoding: chunked;;";
        let cases: &[(&str, &str, Result<&str, ResponseError>)] = &[
            ("HTTP/1.1 200 OK", "", Ok(close)),
            ("HTTP/1.1 200", "", Ok(close)),
            ("HTTP/1.1 200 OK", "Connection: keep-alive\r\n", Ok(close)),
            ("HTTP/1.1 500 X", "A: b\r\n", Ok("A: b;connection: close;;")),
            ("HTTP/1.1 200 OK", "Content-Length: 5\r\n", Ok("content-length: 5;;")),
            ("HTTP/1.1 200 OK", "content-LENGTH : 5 \r\n", Ok("content-length: 5;;")),
            ("HTTP/1.1 200 OK", "Content-Length: 5, 5\r\n", Ok("content-length: 5;;")),
            (
                "HTTP/1.1 200 OK",
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Ok("content-length: 5;;"),
            ),
            ("HTTP/1.1 200 OK", "Content-Length: 5\r\nContent-Length: 6\r\n", Err(ContentLength)),
            ("HTTP/1.1 200 OK", "Content-Length: 5, 6\r\n", Err(ContentLength)),
            ("HTTP/1.1 200 OK", "Content-Length: +5\r\n", Err(ContentLength)),
            ("HTTP/1.1 200 OK", "Content-Length: -5\r\n", Err(ContentLength)),
            ("HTTP/1.1 200 OK", "Content-Length: 0x5\r\n", Err(ContentLength)),
            ("HTTP/1.1 200 OK", "Content-Length:\r\n", Err(ContentLength)),
            ("HTTP/1.1 200 OK", "Content-Length: 99999999999999999999\r\n", Err(ContentLength)),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked\r\n", Ok(chunked)),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: identity\r\n", Ok(close)),
            ("HTTP/1.1 200 OK", "Transfer-Encoding:\r\n", Ok(close)),
            (
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
                Ok("content-length: 5;;"),
            ),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, identity\r\n", Ok(chunked)),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: identity, chunked\r\n", Ok(chunked)),
            (
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
                Ok(chunked),
            ),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: gzip\r\n", Err(TransferEncoding)),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked\r\n", Err(TransferEncoding)),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked, gzip\r\n", Err(TransferEncoding)),
            ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked;q=1\r\n", Err(TransferEncoding)),
            (
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(TransferEncoding),
            ),
            // RFC 9112: Transfer-Encoding overrides Content-Length.
            ("HTTP/1.1 200 OK", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Ok(chunked)),
            ("HTTP/1.0 200 OK", "", Ok(close)),
            ("HTTP/1.0 200 OK", "Connection: keep-alive\r\n", Ok(close)),
            (
                "HTTP/1.0 200 OK",
                "Content-Length: 0\r\n",
                Ok("content-length: 0;connection: close;;"),
            ),
            ("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n", Ok(close)),
            ("HTTP/1.1 204 X", "Content-Length: 5\r\n", Ok("content-length: 0;;")),
            ("HTTP/1.1 304 X", "Transfer-Encoding: chunked\r\n", Ok("content-length: 0;;")),
            ("HTTP/1.1 200 OK", "Upgrade: websocket\r\n", Ok(close)),
            ("HTTP/1.1 100 Continue", "", Ok("interim")),
            ("HTTP/1.1 103 Early Hints", "Content-Length: 5\r\n", Ok("interim")),
            ("HTTP/1.1 199 X", "", Ok("interim")),
            ("HTTP/1.1 101 X", "Upgrade: x\r\n", Err(Switching)),
            ("HTTP/1.1 099 X", "", Err(NotHttp)),
            ("HTTP/2.0 200 OK", "", Err(NotHttp)),
            ("SSH-2.0", "", Err(NotHttp)),
            ("", "", Err(NotHttp)),
            ("HTTP/1.1 200 OK", "A: b\r\n folded\r\n", Err(NotHttp)),
        ];
        for (status, fields, expected) in cases {
            let found = framing_of(&format!("{status}\r\n{fields}"));
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{status} {fields}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(framing_of(&many), Err(TooLong));
        let name = "a".repeat(MAX_NAME);
        let longest = format!("HTTP/1.1 200 OK\r\n{name}: b\r\n");
        assert_eq!(framing_of(&longest), Ok(format!("{name}: b;{close}")));
        assert_eq!(framing_of(&format!("HTTP/1.1 200 OK\r\na{name}: b\r\n")), Err(TooLong));
    }

    #[test]
    fn the_end_of_a_head_is_found_however_it_is_split() {
        for (bytes, expected) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nx"[..], Some(19)),
            (b"HTTP/1.1 200 OK\n\nx", Some(17)),
            (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", Some(25)),
            (b"HTTP/1.1 200 OK\r\n\r", None),
            (b"HTTP/1.1 200 OK\r\nA", None),
            (b"", None),
        ] {
            for searched in 0..=bytes.len().min(expected.unwrap_or(usize::MAX) - 1) {
                assert_eq!(end(bytes, searched), expected, "{bytes:?} {searched}");
            }
        }
    }
}
