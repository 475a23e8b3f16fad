//! Fuzz check: [`Http1Stream`] treats every response correctly, however it is split into reads.

use super::Http1Stream;
use actix_http::{
    ResponseHead, ServiceConfig,
    h1::{ClientCodec, MessageType},
};
use bytes::BytesMut;
use std::{
    collections::HashSet,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Builder,
    task::LocalSet,
};
use tokio_util::codec::Decoder;

/// Limit of a head, bytes, and the maximum that is read beyond it.
const MAX_HEAD: usize = 128 << 10;
const MAX_EXCESS: usize = 4 << 10;
/// Maximum size of a response, bytes.
const MAX_RESPONSE: usize = 256 << 10;
/// Marks a repetition: the next two bytes are the repeated byte and the number of KiB.
const REPEATED: u8 = 0xff;

thread_local! {
    /// Creating it needs a runtime for its clock, which awc does not use here.
    static CONFIG: ServiceConfig = {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async { ServiceConfig::default() })
    };
}

/// Checks a response; the first input byte determines the length of the pieces in which it arrives.
pub fn check_response(input: &[u8]) {
    let Some((choice, response)) = input.split_first() else { return };
    let response = expanded(response);
    let whole = read(&response, MAX_RESPONSE, MAX_RESPONSE);
    let piece = usize::from(*choice) * 16 + 1;
    let short = [(1, 1000), (piece, 7), (piece, MAX_RESPONSE)];
    // Reading long responses byte by byte would be slow.
    let long = [(61, MAX_RESPONSE)];
    for (piece, buffer) in if response.len() < 8 << 10 { &short[..] } else { &long } {
        let (piece, buffer) = (*piece, *buffer);
        let pieces = read(&response, piece, buffer);
        assert_eq!(pieces.error, whole.error, "pieces of {piece} bytes make no difference");
        assert!(pieces.bytes == whole.bytes, "pieces of {piece} bytes make no difference");
        check_limit(&pieces);
    }
    check_limit(&whole);
    if whole.bytes.is_empty() {
        assert_eq!(whole.error.is_none(), response.is_empty(), "only no response is no error");
    } else {
        check_outcome(&response, &whole);
    }
}

/// Expands short inputs into long responses.
fn expanded(input: &[u8]) -> Vec<u8> {
    let mut response = Vec::new();
    let mut bytes = input.iter();
    while let Some(byte) = bytes.next() {
        match (*byte, bytes.as_slice()) {
            (REPEATED, [repeated, kibibytes, rest @ ..]) => {
                let length = response.len() + (usize::from(*kibibytes) << 10);
                response.resize(length.min(MAX_RESPONSE), *repeated);
                bytes = rest.iter();
            }
            (byte, _) => response.push(byte),
        }
    }
    response
}

#[derive(Debug, Default)]
struct Outcome {
    bytes: Vec<u8>,
    error: Option<String>,
    /// Number of bytes that were read.
    taken: usize,
}

/// Reads a response that arrives in pieces of one length into buffers of one length.
fn read(response: &[u8], piece: usize, buffer: usize) -> Outcome {
    let cx = &mut Context::from_waker(Waker::noop());
    let mut peer = Peer { response, taken: 0, piece, is_ready: false };
    let mut outcome = Outcome::default();
    let mut stream = pin!(Http1Stream::new(&mut peer));
    assert!(stream.as_mut().poll_write(cx, b"GET / HTTP/1.1\r\n\r\n").is_ready());
    let mut buffer = vec![0; buffer];
    loop {
        let mut buffer = ReadBuf::new(&mut buffer);
        match stream.as_mut().poll_read(cx, &mut buffer) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => break,
            Poll::Ready(Ok(())) => outcome.bytes.extend_from_slice(buffer.filled()),
            Poll::Ready(Err(error)) => {
                outcome.error = Some(error.to_string());
                break;
            }
        }
    }
    outcome.taken = peer.taken;
    outcome
}

/// The other end of a connection. It returns `Pending` before each piece.
struct Peer<'a> {
    response: &'a [u8],
    taken: usize,
    piece: usize,
    is_ready: bool,
}

impl AsyncRead for Peer<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            return Poll::Pending;
        }
        let left = &self.response[self.taken..];
        let length = left.len().min(self.piece).min(buffer.remaining());
        buffer.put_slice(&left[..length]);
        self.taken += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn check_limit(outcome: &Outcome) {
    let is_limited = !outcome.bytes.is_empty() || outcome.taken <= MAX_HEAD + MAX_EXCESS;
    assert!(is_limited, "{} bytes were read without a head", outcome.taken);
}

/// What determines the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Length(u64),
    Chunked,
    Connection,
}

/// The parts of a response head that affect the body.
struct RawHead<'a> {
    status: u16,
    end: End,
    fields: Vec<(String, &'a [u8])>,
}

/// Checks that awc parses the outcome as the original response.
fn check_outcome(response: &[u8], outcome: &Outcome) {
    let (head, body) = raw_head(response);
    assert!(response.len() - body.len() <= MAX_HEAD, "a head beyond the limit");
    let mut left = BytesMut::from(&*outcome.bytes);
    let mut codec = ClientCodec::new(CONFIG.with(ServiceConfig::clone));
    let read = match codec.decode(&mut left) {
        Ok(Some(read)) => read,
        // awc rejects several Host headers.
        Err(_) => {
            return assert!(head.fields.iter().filter(|(name, _)| name == "host").count() > 1);
        }
        Ok(None) => panic!("awc waits for more of {:?}", outcome.bytes.escape_ascii().to_string()),
    };
    assert_eq!(left, body, "the body follows the head");
    assert_eq!(read.status.as_u16(), head.status);
    check_fields(&head, &read);
    assert_eq!(outcome.error.is_none(), head.end == End::Connection, "{:?}", outcome.error);
    if matches!(codec.message_type(), MessageType::None) {
        return assert_eq!(head.end, End::Length(0));
    }
    let mut codec = codec.into_payload_codec();
    let (mut payload, mut is_whole) = (Vec::new(), false);
    while let Ok(Some(item)) = codec.decode(&mut left) {
        match item {
            Some(chunk) => payload.extend_from_slice(&chunk),
            None => {
                is_whole = true;
                break;
            }
        }
    }
    match head.end {
        End::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            assert_eq!(payload, body[..length.min(body.len())]);
            assert_eq!(is_whole, body.len() >= length);
        }
        End::Connection => assert_eq!(payload, body),
        End::Chunked => assert!(payload.len() <= body.len()),
    }
}

/// Checks that awc gets all header fields except those of the connection.
fn check_fields(head: &RawHead<'_>, read: &ResponseHead) {
    const REPLACED: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];
    let names: HashSet<_> = head.fields.iter().map(|(name, _)| name.as_str()).collect();
    for name in names.iter().filter(|name| !REPLACED.contains(name)) {
        let sent = head.fields.iter().filter(|(sent, _)| sent == name).map(|(_, value)| *value);
        let found = read.headers().get_all(*name).map(|value| value.as_bytes());
        assert!(sent.eq(found), "{name}");
    }
    let replaced = read.headers().keys().all(|name| {
        let name = name.as_str();
        names.contains(name) || REPLACED.contains(&name)
    });
    assert!(replaced, "a field that was not sent");
}

/// The first head that is not of an interim response. The response must be valid.
fn raw_head(mut response: &[u8]) -> (RawHead<'_>, &[u8]) {
    loop {
        let (lines, rest) = raw_lines(response);
        let (status_line, fields) = lines.split_first().expect("a status line");
        let status =
            str::from_utf8(&status_line[9..12]).expect("a status").parse().expect("a status");
        if (100..200).contains(&status) {
            response = rest;
            continue;
        }
        let field = |line: &&'_ [u8]| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
            let name = str::from_utf8(line[..colon].trim_ascii_end()).expect("a name");
            (name.to_ascii_lowercase(), colon)
        };
        let fields = fields.iter().map(|line| {
            let (name, colon) = field(line);
            (name, line[colon + 1..].trim_ascii())
        });
        let fields: Vec<_> = fields.collect();
        let end = end_of_body(status, status_line[7] == b'0', &fields);
        return (RawHead { status, end, fields }, rest);
    }
}

/// The lines of a head, and the bytes after it.
fn raw_lines(mut bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut lines = Vec::new();
    loop {
        let end = bytes.iter().position(|byte| *byte == b'\n').expect("a head that ends");
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        bytes = &bytes[end + 1..];
        match (line.is_empty(), lines.is_empty()) {
            // Blank lines before a response are skipped.
            (true, true) => {}
            (true, false) => return (lines, bytes),
            (false, _) => lines.push(line),
        }
    }
}

/// RFC 9112, section 6.3, "Message Body Length", for a response to a GET.
fn end_of_body(status: u16, is_http10: bool, fields: &[(String, &[u8])]) -> End {
    let items = |name: &'static str| {
        let of_name = fields.iter().filter(move |(found, _)| found == name);
        of_name.flat_map(|(_, value)| value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii))
    };
    if status == 204 || status == 304 {
        return End::Length(0);
    }
    let mut codings = items("transfer-encoding")
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    if let Some(coding) = codings.next().filter(|_| !is_http10) {
        assert!(coding.eq_ignore_ascii_case(b"chunked"), "a coding that nothing decodes");
        assert_eq!(codings.next(), None, "a coding that nothing decodes");
        return End::Chunked;
    }
    let length = |item| -> u64 {
        str::from_utf8(item).ok().and_then(|it| it.parse().ok()).expect("a length")
    };
    let lengths: HashSet<_> = items("content-length").map(length).collect();
    assert!(lengths.len() < 2, "lengths that differ");
    lengths.into_iter().next().map_or(End::Connection, End::Length)
}

#[test]
fn seeds_of_the_fuzz_target() {
    exposition::testing::replay("fuzz/seeds/answers", check_response);
}
