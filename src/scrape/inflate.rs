//! gzip from instances, with our own limit: a megabyte may inflate to a
//! gigabyte.

use super::{
    budget::{Held, Share},
    buffer::Buffer,
    failure::{Failure, Reason},
};
use flate2::bufread::MultiGzDecoder;
use std::io::{Cursor, Read};

/// How every member begins (RFC 1952, section 2.3.1).
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A body seldom inflates to more than this many times its size; one that says
/// so gets the room bit by bit.
const LIKELY_RATIO: usize = 32;

/// A compressed body on its way to its content.
///
/// Inflating is work for a core and waiting for room is not, so they take
/// turns: [`make_room`](Self::make_room), [`step`](Self::step), until the latter
/// says that it is whole.
pub(super) struct Inflation {
    decoder: MultiGzDecoder<Cursor<Vec<u8>>>,
    body: Buffer,
    /// What the content may take, and one byte to see that it is more.
    most: usize,
    /// Room for the first step.
    likely: usize,
    _compressed: Held,
}

impl Inflation {
    /// The content is to have `max` bytes at most.
    pub(super) fn new(compressed: Buffer, share: &Share, max: u64) -> Result<Self, Failure> {
        if !compressed.bytes().starts_with(&MAGIC) {
            return Err(not_gzip());
        }
        let most = usize::try_from(max).unwrap_or(usize::MAX).saturating_add(1);
        let likely = announced(compressed.bytes())
            .min(compressed.len().saturating_mul(LIKELY_RATIO))
            .saturating_add(1)
            .min(most);
        let (compressed, held) = compressed.finish();
        let decoder = MultiGzDecoder::new(Cursor::new(compressed));
        Ok(Self { decoder, body: Buffer::new(share), most, likely, _compressed: held })
    }

    /// Waits until there is room for the next step.
    pub(super) async fn make_room(&mut self) {
        let more = self.body.len().max(self.likely).min(self.most - self.body.len());
        self.body.make_room(more).await;
    }

    /// Inflates as much as there is room for; whether that was all.
    pub(super) fn step(&mut self) -> Result<bool, Failure> {
        let room = self.body.room();
        let mut part = self.decoder.by_ref().take(room as u64);
        match self.body.append(|body| part.read_to_end(body)) {
            Ok(_) if self.body.len() >= self.most => Err(Failure::new(
                Reason::TooLarge,
                format!("the body is larger than {} bytes after decompression", self.most - 1),
            )),
            Ok(read) => Ok(read < room),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(Failure::new(Reason::Cut, "the compressed body ends too early"))
            }
            Err(_) => Err(not_gzip()),
        }
    }

    pub(super) fn into_body(self) -> Buffer {
        self.body
    }
}

fn not_gzip() -> Failure {
    Failure::new(Reason::NotExposition, "the body is not gzip, as it claims")
}

/// The size of the content of the last member, which mostly is the only one, as
/// its end says (RFC 1952, section 2.3.1); nothing to rely on.
fn announced(compressed: &[u8]) -> usize {
    compressed.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
}

#[cfg(test)]
mod tests {
    use super::{
        super::budget::{Budget, BudgetMetrics, Refused},
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

    /// The content, and how much of the budget was held for it at most.
    fn inflate_within(
        budget: u64,
        compressed: &[u8],
        max: u64,
    ) -> Result<(Result<Vec<u8>, Failure>, u64), Refused> {
        let budget = Budget::new(budget, BudgetMetrics::default());
        let share = budget.enter(1);
        let inflated = || async {
            let mut body = Buffer::new(&share);
            body.push(compressed, usize::MAX).await;
            let mut inflation = match Inflation::new(body, &share, max) {
                Ok(inflation) => inflation,
                Err(failure) => return (Err(failure), 0),
            };
            loop {
                inflation.make_room().await;
                let done = inflation.step();
                let held = budget.held();
                let capacity = inflation.body.room() + inflation.body.len();
                assert_eq!(
                    held,
                    (capacity + inflation.decoder.get_ref().get_ref().capacity()) as u64
                );
                match done {
                    Ok(true) => return (Ok(inflation.into_body().finish().0), held),
                    Ok(false) => {}
                    Err(failure) => return (Err(failure), held),
                }
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let latest = Instant::now() + Duration::from_secs(60);
        runtime.block_on(share.run(latest, inflated))
    }

    fn inflate(compressed: &[u8], max: u64) -> Result<Vec<u8>, Failure> {
        inflate_within(u64::MAX, compressed, max).unwrap().0
    }

    /// promfetcher, gap 19: the size of a body is limited, counted after decompression.
    #[test]
    fn gap_19_the_limit_holds_for_what_comes_out() {
        let bomb = gzip(&vec![b'x'; 1 << 20]);
        assert!(bomb.len() < 1 << 14);
        assert_eq!(inflate(&bomb, 1 << 20).unwrap().len(), 1 << 20);
        assert_eq!(inflate(&bomb, (1 << 20) - 1).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn a_bomb_takes_no_more_than_the_limit_and_the_budget() {
        let bomb = gzip(&vec![b'x'; 8 << 20]);
        assert!(bomb.len() < 1 << 17);
        let (inflated, held) = inflate_within(u64::MAX, &bomb, 1 << 20).unwrap();
        assert_eq!(inflated.unwrap_err().reason, Reason::TooLarge);
        assert!(held <= (1 << 20) + 1 + bomb.len() as u64, "{held}");
        let refused = inflate_within(1 << 20, &bomb, 1 << 23).unwrap_err();
        assert_eq!(refused, Refused::TooLarge { limit: 1 << 20 });
    }

    #[test]
    fn what_a_body_says_of_its_size_is_not_believed() {
        let content = b"abcdefg 1\n".repeat(1000);
        for lie in [[0; 4], [0xff; 4], 77_u32.to_le_bytes()] {
            let mut body = gzip(&content);
            let end = body.len() - 4;
            body[end..].copy_from_slice(&lie);
            let (inflated, held) = inflate_within(u64::MAX, &body, 1 << 30).unwrap();
            assert_eq!(inflated.unwrap_err().reason, Reason::NotExposition, "{lie:?}");
            assert!(held <= 4 * content.len() as u64, "{held}");
        }
        let two = [gzip(&content), gzip(b"x 1\n")].concat();
        assert_eq!(inflate(&two, 1 << 20).unwrap(), [&content[..], b"x 1\n"].concat());
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
