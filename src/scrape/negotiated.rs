//! Which format a scraper gets, and which ones the instances are asked for.

use crate::exposition::{self, Target};
use std::borrow::Cow;

/// What one request came to: the formats on both sides.
#[derive(Clone, Debug)]
pub struct Negotiated {
    target: Target,
    /// The `Accept` that instances get.
    accept: String,
}

impl Negotiated {
    /// For a scraper with this `Accept`.
    ///
    /// `text_only` asks instances for text format 0.0.4 alone, which leaves the answer's
    /// format to the scraper all the same.
    pub fn new(accept: Option<&str>, text_only: bool) -> Self {
        let target = exposition::negotiate(accept);
        Self { target, accept: exposition::accept_for_instances(target, text_only, true) }
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(&self) -> Cow<'static, str> {
        self.target.content_type()
    }

    pub(super) fn target(&self) -> Target {
        self.target
    }

    pub(super) fn accept(&self) -> &str {
        &self.accept
    }
}
