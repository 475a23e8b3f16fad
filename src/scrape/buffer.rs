//! A growing body whose capacity never exceeds its allocation in the memory budget.

use super::memory_budget::{Allocation, Reservation};
use std::fmt;

pub(super) struct BodyBuffer {
    bytes: Vec<u8>,
    allocation: Allocation,
    /// Maximum length with the current allocation.
    limit: usize,
}

impl BodyBuffer {
    /// An empty buffer without an allocation.
    pub(super) fn new(reservation: &Reservation) -> Self {
        Self::expecting(reservation, 0)
    }

    /// An empty buffer for a body with an announced length.
    ///
    /// The capacity is reserved at once, because one allocation of the right size avoids the heap
    /// fragmentation of a growing one. It is not taken from the budget yet, because pages that are
    /// never written use no memory.
    pub(super) fn expecting(reservation: &Reservation, length: usize) -> Self {
        Self { bytes: Vec::with_capacity(length), allocation: reservation.allocation(), limit: 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Number of bytes that can be added with the current allocation.
    pub(super) fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }

    /// Waits until `room` bytes can be added.
    pub(super) async fn make_room(&mut self, room: usize) {
        if let Some(more) = room.checked_sub(self.room()) {
            self.allocation.acquire(more as u64).await;
            self.limit += more;
            self.bytes.reserve_exact(room);
        }
    }

    /// Adds a chunk of a body that will have at most `capacity` bytes.
    pub(super) async fn push(&mut self, chunk: &[u8], capacity: usize) {
        if chunk.len() > self.room() {
            // Doubles the size, so that each byte is copied about once on average.
            let twice = self.len().min(capacity.saturating_sub(self.len()));
            self.make_room(chunk.len().max(twice)).await;
        }
        self.bytes.extend_from_slice(chunk);
    }

    /// Appends what `read` produces, which must be at most [`room`](Self::room) bytes.
    pub(super) fn append<T>(&mut self, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        read(&mut self.bytes)
    }

    /// Returns the bytes and their allocation without unused capacity.
    pub(super) fn finish(mut self) -> (Vec<u8>, Allocation) {
        // Bodies live until the response is written, so freeing a large unused part is worth a
        // copy.
        let unused = self.bytes.capacity() - self.len();
        if unused > self.len() / 8 {
            self.bytes.shrink_to_fit();
            self.allocation.shrink_to(self.bytes.capacity() as u64);
        }
        (self.bytes, self.allocation)
    }
}

impl fmt::Debug for BodyBuffer {
    /// Omits the bytes, because bodies do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyBuffer").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::memory_budget::{MemoryBudget, MemoryBudgetMetrics},
        *,
    };
    use futures_util::FutureExt;

    #[test]
    fn a_buffer_never_exceeds_its_allocation() {
        let budget = MemoryBudget::new(1000, MemoryBudgetMetrics::default());
        let reservation = budget.reserve(1);
        let pushed = || async {
            let mut buffer = BodyBuffer::new(&reservation);
            for _ in 0..90 {
                buffer.push(b"0123456789", 900).await;
                assert!(buffer.bytes.len() as u64 <= budget.allocated());
                assert!(budget.allocated() <= 900);
            }
            let mut other = BodyBuffer::new(&reservation);
            other.make_room(64).await;
            other.push(b"x", 64).await;
            let (bytes, allocation) = other.finish();
            assert_eq!((bytes.capacity(), allocation.keep()), (1, 1));
            buffer.finish().1.keep()
        };
        let latest = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let kept = runtime.block_on(async { reservation.run(latest, pushed).now_or_never() });
        assert_eq!(kept, Some(Ok(900)));
        assert_eq!(budget.allocated(), 901);
        drop(reservation);
        assert_eq!(budget.allocated(), 0);
    }
}
