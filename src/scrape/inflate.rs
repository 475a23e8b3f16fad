//! gzip from instances, with our own limit: a megabyte may inflate to a
//! gigabyte.

use super::failure::{Failure, Reason};
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// How every member begins (RFC 1952, section 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The content of `compressed`, at most `max` bytes of it.
pub(super) fn inflate(compressed: &[u8], max: u64) -> Result<Vec<u8>, Failure> {
    let not_gzip = || Failure::new(Reason::NotExposition, "the body is not gzip, as it claims");
    if !compressed.starts_with(&MAGIC) {
        return Err(not_gzip());
    }
    let mut body = Vec::with_capacity(compressed.len().saturating_mul(4).min(1 << 20));
    let mut decoder = MultiGzDecoder::new(compressed).take(max.saturating_add(1));
    match decoder.read_to_end(&mut body) {
        Ok(_) if body.len() as u64 > max => Err(Failure::new(
            Reason::TooLarge,
            format!("the body is larger than {max} bytes after decompression"),
        )),
        Ok(_) => Ok(body),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Failure::new(Reason::Cut, "the compressed body ends too early"))
        }
        Err(_) => Err(not_gzip()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Gap 19 of promfetcher: no limit on compressed bodies.
    #[test]
    fn gap_19_the_limit_holds_for_what_comes_out() {
        let bomb = gzip(&vec![b'x'; 1 << 20]);
        assert!(bomb.len() < 1 << 14);
        assert_eq!(inflate(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(inflate(&bomb, (1 << 20) - 1).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn members_are_joined_and_broken_ones_are_told_apart() {
        let two = [gzip(b"a 1\n"), gzip(b"b 2\n")].concat();
        assert_eq!(inflate(&two, 100).unwrap(), b"a 1\nb 2\n");
        let half = &two[..two.len() - 6];
        assert_eq!(inflate(half, 100).unwrap_err().reason, Reason::Cut);
        assert_eq!(inflate(b"a 1\n not gzip", 100).unwrap_err().reason, Reason::NotExposition);
    }
}
