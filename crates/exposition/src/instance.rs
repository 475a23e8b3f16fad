use std::fmt;

use super::{format::Format, protobuf, stats::Stats, text};

/// The exposition of one instance: a body that was checked whole, and its index.
pub struct Instance {
    pub(super) body: Body,
    /// What became of it on its way into the form of the answer.
    pub(super) stats: Stats,
    /// The format of the body as it came.
    pub(super) format: Format,
}

/// A body in the form that the answer has.
pub(super) enum Body {
    Text(text::Instance),
    Protobuf(protobuf::Instance),
}

impl Instance {
    /// The same, but with samples that are kept where another instance has them too.
    #[must_use]
    pub fn preferred(mut self) -> Self {
        match &mut self.body {
            Body::Text(instance) => instance.is_preferred = true,
            Body::Protobuf(instance) => instance.is_preferred = true,
        }
        self
    }

    /// The format of its body as it came.
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many samples it has, without its duplicates.
    pub fn samples(&self) -> usize {
        match &self.body {
            Body::Text(instance) => instance.samples(),
            Body::Protobuf(instance) => instance.samples(),
        }
    }
}

impl fmt::Debug for Instance {
    /// Without the body, which does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("samples", &self.samples()).finish_non_exhaustive()
    }
}
