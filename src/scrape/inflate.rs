//! Decompresses gzip bodies of instances with a size limit: a megabyte may decompress to a
//! gigabyte.

use super::{
    buffer::BodyBuffer,
    failure::{FailureReason, ScrapeFailure},
    memory_budget::{Allocation, Reservation},
};
use flate2::bufread::MultiGzDecoder;
use std::io::{Cursor, Read};

/// First bytes of every gzip member (RFC 1952, section 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Expected maximum compression ratio. Memory beyond it is allocated step by step.
const LIKELY_RATIO: usize = 32;

/// A body that is being decompressed.
///
/// Decompression is CPU-bound and waiting for memory is not, so they alternate:
/// [`make_room`](Self::make_room) and [`step`](Self::step), until `step` returns true.
pub(super) struct Inflation {
    decoder: MultiGzDecoder<Cursor<Vec<u8>>>,
    body: BodyBuffer,
    /// Maximum size of the content, plus one byte to detect a larger one.
    most: usize,
    /// Memory for the first step.
    likely: usize,
    _compressed: Allocation,
}

impl Inflation {
    /// Limits the content to `max` bytes.
    pub(super) fn new(
        compressed: BodyBuffer,
        reservation: &Reservation,
        max: u64,
    ) -> Result<Self, ScrapeFailure> {
        if !compressed.bytes().starts_with(&MAGIC) {
            return Err(not_gzip());
        }
        let most = usize::try_from(max).unwrap_or(usize::MAX).saturating_add(1);
        let likely = announced(compressed.bytes())
            .min(compressed.len().saturating_mul(LIKELY_RATIO))
            .saturating_add(1)
            .min(most);
        let (compressed, allocation) = compressed.finish();
        let decoder = MultiGzDecoder::new(Cursor::new(compressed));
        Ok(Self {
            decoder,
            body: BodyBuffer::new(reservation),
            most,
            likely,
            _compressed: allocation,
        })
    }

    /// Waits until memory for the next step is allocated.
    pub(super) async fn make_room(&mut self) {
        let more = self.body.len().max(self.likely).min(self.most - self.body.len());
        self.body.make_room(more).await;
    }

    /// Decompresses as much as fits into the allocated memory; true if the body is complete.
    pub(super) fn step(&mut self) -> Result<bool, ScrapeFailure> {
        let room = self.body.room();
        let mut part = self.decoder.by_ref().take(room as u64);
        match self.body.append(|body| part.read_to_end(body)) {
            Ok(_) if self.body.len() >= self.most => Err(ScrapeFailure::new(
                FailureReason::TooLarge,
                format!("the body is larger than {} bytes after decompression", self.most - 1),
            )),
            Ok(read) => Ok(read < room),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(
                ScrapeFailure::new(FailureReason::Truncated, "the compressed body is incomplete"),
            ),
            Err(_) => Err(not_gzip()),
        }
    }

    pub(super) fn into_body(self) -> BodyBuffer {
        self.body
    }
}

fn not_gzip() -> ScrapeFailure {
    ScrapeFailure::new(
        FailureReason::NotExposition,
        "the body is not gzip, although its Content-Encoding is",
    )
}

/// Size of the content according to the last member (RFC 1952, section 2.3.1). Only a hint, because
/// a body may have several members.
fn announced(compressed: &[u8]) -> usize {
    compressed.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            failure::ScrapeError,
            memory_budget::{MemoryBudget, MemoryBudgetMetrics},
        },
        *,
    };
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    use tokio::time::{Duration, Instant};

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// The content, and the maximum of the allocated memory.
    fn inflate_within(
        budget: u64,
        compressed: &[u8],
        max: u64,
    ) -> Result<(Result<Vec<u8>, ScrapeFailure>, u64), ScrapeError> {
        let budget = MemoryBudget::new(budget, MemoryBudgetMetrics::default());
        let reservation = budget.reserve(1);
        let inflated = || async {
            let mut body = BodyBuffer::new(&reservation);
            body.push(compressed, usize::MAX).await;
            let mut inflation = match Inflation::new(body, &reservation, max) {
                Ok(inflation) => inflation,
                Err(failure) => return (Err(failure), 0),
            };
            loop {
                inflation.make_room().await;
                let done = inflation.step();
                let allocation = budget.allocated();
                let capacity = inflation.body.room() + inflation.body.len();
                assert_eq!(
                    allocation,
                    (capacity + inflation.decoder.get_ref().get_ref().capacity()) as u64
                );
                match done {
                    Ok(true) => return (Ok(inflation.into_body().finish().0), allocation),
                    Ok(false) => {}
                    Err(failure) => return (Err(failure), allocation),
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let latest = Instant::now() + Duration::from_secs(60);
        runtime.block_on(reservation.run(latest, inflated))
    }

    fn inflate(compressed: &[u8], max: u64) -> Result<Vec<u8>, ScrapeFailure> {
        inflate_within(u64::MAX, compressed, max).unwrap().0
    }

    #[test]
    fn the_size_limit_applies_after_decompression() {
        let bomb = gzip(&vec![b'x'; 1 << 20]);
        assert!(bomb.len() < 1 << 14);
        assert_eq!(inflate(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(inflate(&bomb, (1 << 20) - 1).unwrap_err().reason, FailureReason::TooLarge);
    }

    #[test]
    fn a_bomb_takes_no_more_than_the_limit_and_the_budget() {
        let bomb = gzip(&vec![b'x'; 8 << 20]);
        assert!(bomb.len() < 1 << 17);
        let (inflated, allocation) = inflate_within(u64::MAX, &bomb, 1 << 20).unwrap();
        assert_eq!(inflated.unwrap_err().reason, FailureReason::TooLarge);
        assert!(allocation <= (1 << 20) + 1 + bomb.len() as u64, "{allocation}");
        let refused = inflate_within(1 << 20, &bomb, 1 << 23).unwrap_err();
        assert_eq!(refused, ScrapeError::TooLarge { limit: 1 << 20 });
    }

    #[test]
    fn a_wrong_size_in_the_trailer_is_harmless() {
        let content = b"abcdefg 1\n".repeat(1000);
        for lie in [[0; 4], [0xff; 4], 77_u32.to_le_bytes()] {
            let mut body = gzip(&content);
            let end = body.len() - 4;
            body[end..].copy_from_slice(&lie);
            let (inflated, allocation) = inflate_within(u64::MAX, &body, 1 << 30).unwrap();
            assert_eq!(inflated.unwrap_err().reason, FailureReason::NotExposition, "{lie:?}");
            assert!(allocation <= 4 * content.len() as u64, "{allocation}");
        }
        let two = [gzip(&content), gzip(b"x 1\n")].concat();
        assert_eq!(inflate(&two, 1 << 20).unwrap(), [&content[..], b"x 1\n"].concat());
    }

    #[test]
    fn members_are_concatenated_and_invalid_ones_are_classified() {
        let two = [gzip(b"a 1\n"), gzip(b"b 2\n")].concat();
        assert_eq!(inflate(&two, 100).unwrap(), b"a 1\nb 2\n");
        let half = &two[..two.len() - 6];
        assert_eq!(inflate(half, 100).unwrap_err().reason, FailureReason::Truncated);
        assert_eq!(
            inflate(b"a 1\n not gzip", 100).unwrap_err().reason,
            FailureReason::NotExposition
        );
    }
}
