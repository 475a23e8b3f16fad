//! A part of a body in 8 bytes, half the size of a slice.

/// A part of a body. Bodies are smaller than 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// The position of `part`, which is a slice of `body`.
    pub(super) fn within(body: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
        Self { start: start as u32, length: part.len() as u32 }
    }

    pub(super) fn of(self, body: &[u8]) -> &[u8] {
        let start = self.start as usize;
        body.get(start..start + self.length as usize).unwrap_or_default()
    }

    /// The span at `distance` bytes further on.
    pub(super) fn shifted(self, distance: u32) -> Self {
        Self { start: self.start.wrapping_add(distance), ..self }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }
}
