//! Where in a body something is, in half of what a slice takes.

/// A part of a body; bodies have less than 4 GiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// Where `part`, which is a slice of `body`, stands in it.
    pub(super) fn within(body: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(body.as_ptr().addr());
        Self { start: start as u32, length: part.len() as u32 }
    }

    pub(super) fn of(self, body: &[u8]) -> &[u8] {
        let start = self.start as usize;
        body.get(start..start + self.length as usize).unwrap_or_default()
    }

    /// The span of what stands in another body as much further on as is said here.
    pub(super) fn moved(self, distance: u32) -> Self {
        Self { start: self.start.wrapping_add(distance), ..self }
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.length == 0
    }
}
