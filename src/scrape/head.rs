//! A response's head, made so that awc reads the body behind it.
//!
//! A body without a length ends with the connection (RFC 9112, section 6.3).
//! awc knows that rule for HTTP/1.0 only, and takes an HTTP/1.1 answer of this
//! kind for an empty one. Said to be HTTP/1.0 it is read.

/// A head longer than this is left alone; awc refuses it anyway.
pub(super) const MAX: usize = 128 << 10;

/// Whether `bytes` hold a whole head.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    end(bytes).is_some()
}

/// Calls the answer HTTP/1.0 when its body ends with the connection.
pub(super) fn mark_body_until_close(bytes: &mut [u8]) {
    if has_body_until_close(bytes)
        && let Some(version) = bytes.get_mut(..VERSION.len())
    {
        version.copy_from_slice(b"HTTP/1.0");
    }
}

const VERSION: &[u8] = b"HTTP/1.1";

fn end(bytes: &[u8]) -> Option<usize> {
    let blank_line = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or_default();
        rest.starts_with(b"\n\r\n") || rest.starts_with(b"\n\n")
    };
    memchr::memchr_iter(b'\n', bytes).find(blank_line)
}

fn has_body_until_close(bytes: &[u8]) -> bool {
    let head = bytes.get(..end(bytes).unwrap_or(0)).unwrap_or_default();
    let mut lines = head.split(|byte| *byte == b'\n');
    let status_line = lines.next().unwrap_or_default();
    let Some(status) = status_line.strip_prefix(VERSION) else { return false };
    // 1xx, 204 and 304 have no body whatever they say.
    let status = status.trim_ascii_start();
    if status.starts_with(b"1") || status.starts_with(b"204") || status.starts_with(b"304") {
        return false;
    }
    let tells_length = |line: &[u8]| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"content-length")
            || name.eq_ignore_ascii_case(b"transfer-encoding")
    };
    !lines.any(tells_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_without_a_length_is_called_http_1_0() {
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\nx 1", "HTTP/1.0 200 OK\r\n\r\nx 1"),
            ("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", "HTTP/1.0 200 OK\r\nServer: x\r\n\r\n"),
            ("HTTP/1.1 200 OK\n\nContent-Length: 1", "HTTP/1.0 200 OK\n\nContent-Length: 1"),
            ("HTTP/1.1 500 X\r\nA: b\r\n\r\n", "HTTP/1.0 500 X\r\nA: b\r\n\r\n"),
        ];
        for (head, expected) in cases {
            let mut bytes = head.as_bytes().to_vec();
            mark_body_until_close(&mut bytes);
            assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
        let unchanged = [
            "HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "SSH-2.0\r\n\r\n",
            "",
        ];
        for head in unchanged {
            let mut bytes = head.as_bytes().to_vec();
            mark_body_until_close(&mut bytes);
            assert_eq!(bytes, head.as_bytes());
        }
    }
}
