//! A body as it grows, never larger than what it holds of the budget.

use super::budget::{Held, Share};
use std::fmt;

/// A body and its part of the budget.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    held: Held,
    /// How many bytes it may have with what it holds.
    most: usize,
}

impl Buffer {
    /// Without bytes, and without room for any.
    pub(super) fn new(share: &Share) -> Self {
        Self::expecting(share, 0)
    }

    /// The same for a body of which this length is announced.
    ///
    /// The length is no reason to hold so much, since what is never written costs nothing; but
    /// one allocation that fits leaves no holes behind, as one that grows does.
    pub(super) fn expecting(share: &Share, length: usize) -> Self {
        Self { bytes: Vec::with_capacity(length), held: share.hold(), most: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many bytes may be added as it is.
    pub(super) fn room(&self) -> usize {
        self.most - self.bytes.len()
    }

    /// Waits until there is room for `room` bytes.
    pub(super) async fn make_room(&mut self, room: usize) {
        if let Some(more) = room.checked_sub(self.room()) {
            self.held.grow(more as u64).await;
            self.most += more;
            self.bytes.reserve_exact(room);
        }
    }

    /// Adds a chunk of a body that will have `most` bytes at most.
    pub(super) async fn push(&mut self, chunk: &[u8], most: usize) {
        if chunk.len() > self.room() {
            // Twice as much each time, so that bytes are moved but once on average.
            let twice = self.len().min(most.saturating_sub(self.len()));
            self.make_room(chunk.len().max(twice)).await;
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// Adds what `read` appends, which is at most what there is [room](Self::room) for.
    pub(super) fn append<T>(&mut self, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        read(&mut self.bytes)
    }

    /// Takes it apart, without the room that it did not need.
    pub(super) fn finish(mut self) -> (Vec<u8>, Held) {
        // Bodies live until the answer is written, so a good part is worth moving them.
        let unused = self.bytes.capacity() - self.len();
        if unused > self.len() / 8 {
            self.bytes.shrink_to_fit();
            self.held.shrink_to(self.bytes.capacity() as u64);
        }
        (self.bytes, self.held)
    }
}

impl fmt::Debug for Buffer {
    /// Without the bytes, which do not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::budget::{Budget, BudgetMetrics},
        *,
    };
    use futures_util::FutureExt;

    /// What a buffer may take is what it has.
    #[test]
    fn a_buffer_takes_no_more_than_it_holds() {
        let budget = Budget::new(1000, BudgetMetrics::default());
        let share = budget.enter(1);
        let pushed = || async {
            let mut buffer = Buffer::new(&share);
            for _ in 0..90 {
                buffer.push(b"0123456789", 900).await;
                assert!(buffer.bytes.len() as u64 <= budget.held());
                assert!(budget.held() <= 900);
            }
            let mut other = Buffer::new(&share);
            other.make_room(64).await;
            other.push(b"x", 64).await;
            let (bytes, held) = other.finish();
            assert_eq!((bytes.capacity(), held.keep()), (1, 1));
            buffer.finish().1.keep()
        };
        let latest = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let kept = runtime.block_on(async { share.run(latest, pushed).now_or_never() });
        assert_eq!(kept, Some(Ok(900)));
        assert_eq!(budget.held(), 901);
        drop(share);
        assert_eq!(budget.held(), 0);
    }
}
