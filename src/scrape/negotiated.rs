//! Which format a scraper gets, and which ones the instances are asked for.

use exposition::{self, Format, OutputFormat};
use std::borrow::Cow;

/// What one request came to: the formats on both sides.
#[derive(Clone, Debug)]
pub struct Negotiated {
    /// What the scraper takes, in the order in which it prefers them.
    accepted: Vec<OutputFormat>,
    target: OutputFormat,
    /// The format that instances are asked for first.
    asked: Format,
    /// The `Accept` that instances get.
    accept: String,
}

impl Negotiated {
    /// For a scraper with this `Accept`; the answer is text, if that is accepted, until
    /// [`follow`](Self::follow) says which formats the instances have.
    ///
    /// What the instances are asked for depends on the scraper alone, not on the format of the
    /// answer: so they answer as they would answer the scraper, and the formats do not change
    /// from scrape to scrape. `text_only` asks them for text format 0.0.4 alone.
    pub fn new(accept: Option<&str>, text_only: bool) -> Self {
        let accepted = exposition::accepted_formats(accept);
        let preferred = accepted.first().copied().unwrap_or_default();
        Self {
            target: exposition::choose_format(&accepted, &[]),
            asked: if text_only { Format::Text004 } else { preferred.format() },
            accept: exposition::scrape_accept_header(preferred, text_only, true),
            accepted,
        }
    }

    /// Answers in a format of instances that have these.
    #[must_use]
    pub fn follow(self, spoken: &[Format]) -> Self {
        Self { target: exposition::choose_format(&self.accepted, spoken), ..self }
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(&self) -> Cow<'static, str> {
        self.target.content_type()
    }

    pub(super) fn target(&self) -> OutputFormat {
        self.target
    }

    pub(super) fn asked(&self) -> Format {
        self.asked
    }

    pub(super) fn accept(&self) -> &str {
        &self.accept
    }
}
