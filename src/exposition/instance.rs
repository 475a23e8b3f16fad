use std::fmt;

use super::{protobuf, stats::Stats, text};

/// The exposition of one instance: a body that was checked whole, and its index.
pub struct Instance {
    pub(super) body: Body,
    /// What became of it on its way into the form of the answer.
    pub(super) stats: Stats,
}

/// A body in the form that the answer has.
pub(super) enum Body {
    Text(text::Instance),
    Protobuf(protobuf::Instance),
}

impl Instance {
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
