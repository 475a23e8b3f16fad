//! The head of an HTTP/1 answer, rewritten so that awc reads the body behind it
//! as RFC 9112 (section 6.3, "Message Body Length") says.

use httparse::{Header, ParserConfig, Status};
use std::io::Write;

/// As many as awc takes.
const MAX_HEADERS: usize = 96;

/// The longest name of a field, bytes. awc panics at longer ones.
const MAX_NAME: usize = u16::MAX as usize;

/// Why an answer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No head of HTTP/1.0 or HTTP/1.1.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// Too many bytes or header fields; interim answers count.
    #[error("the head of the answer is too long")]
    TooLong,
    /// Status 101, which no request of ours asks for.
    #[error("the answer switches to another protocol")]
    Switching,
    /// A coding other than `chunked`, or `chunked` twice.
    #[error("the Transfer-Encoding of the answer is not supported")]
    TransferEncoding,
    /// Several lengths that differ, or no number.
    #[error("the Content-Length of the answer is not a number")]
    ContentLength,
}

/// A whole head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Status 1xx: another head follows.
    Interim,
    /// The answer's own, as awc gets it.
    Final { bytes: Vec<u8>, ends_with_connection: bool },
}

/// What tells where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    Connection,
}

/// Where the first head in `bytes` ends, if all of it is there. Lines that end
/// before `searched` are not looked at again.
pub(super) fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    // A blank line has three bytes at most.
    let from = searched.saturating_sub(3);
    let rest = bytes.get(from..).unwrap_or_default();
    memchr::memchr_iter(b'\n', rest).find_map(|at| {
        let after = rest.get(at + 1..).unwrap_or_default();
        let blank = if after.starts_with(b"\r\n") { 2 } else { 1 };
        (blank == 2 || after.starts_with(b"\n")).then_some(from + at + 1 + blank)
    })
}

/// Reads a whole head.
pub(super) fn read(bytes: &[u8]) -> Result<Head, AnswerError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    // awc takes them, too.
    config.allow_spaces_after_header_name_in_responses(true);
    match config.parse_response(&mut answer, bytes) {
        Ok(Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(AnswerError::TooLong),
        Ok(Status::Partial) | Err(_) => return Err(AnswerError::NotHttp),
    }
    if answer.headers.iter().any(|header| header.name.len() > MAX_NAME) {
        return Err(AnswerError::TooLong);
    }
    let (Some(status), Some(version)) = (answer.code, answer.version) else {
        return Err(AnswerError::NotHttp);
    };
    match status {
        101 => Err(AnswerError::Switching),
        100..=199 => Ok(Head::Interim),
        200.. => {
            let framing = framing(status, version, answer.headers)?;
            Ok(rewritten(status, version, answer.headers, framing))
        }
        _ => Err(AnswerError::NotHttp),
    }
}

fn framing(status: u16, version: u8, headers: &[Header<'_>]) -> Result<Framing, AnswerError> {
    if matches!(status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    // HTTP/1.0 has no transfer codings.
    if version > 0 && is_chunked(headers)? {
        return Ok(Framing::Chunked);
    }
    Ok(content_length(headers)?.map_or(Framing::Connection, Framing::Length))
}

/// `identity` is no coding: it means that there is none.
fn is_chunked(headers: &[Header<'_>]) -> Result<bool, AnswerError> {
    let mut codings = items(headers, "transfer-encoding")
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(AnswerError::TransferEncoding),
    }
}

/// The same length may be there several times.
fn content_length(headers: &[Header<'_>]) -> Result<Option<u64>, AnswerError> {
    let mut length = None;
    for item in items(headers, "content-length") {
        let is_number = !item.is_empty() && item.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(item).ok().filter(|_| is_number);
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let number = number.ok_or(AnswerError::ContentLength)?;
        if length.replace(number).is_some_and(|before| before != number) {
            return Err(AnswerError::ContentLength);
        }
    }
    Ok(length)
}

/// The items of all lists of this name.
fn items<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let of_name = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    of_name.flat_map(|header| header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
}

/// awc reads a body up to the connection's end in HTTP/1.0 only. In HTTP/1.0 it
/// does not believe in an empty body, and keeps connections that will be closed.
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

    fn framing_of(head: &str) -> Result<String, AnswerError> {
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
    fn each_head_tells_awc_where_its_body_ends() {
        use AnswerError::*;
        let close = "connection: close;;";
        let chunked = "transfer-encoding: chunked;;";
        let cases: &[(&str, &str, Result<&str, AnswerError>)] = &[
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
            // The length is not the body's: RFC 9112 lets the coding win.
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
    fn the_end_of_a_head_is_found_however_it_comes() {
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
