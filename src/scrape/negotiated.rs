//! Content negotiation with the scraper and with the instances.

use exposition::{self, Format, OutputFormat};
use std::borrow::Cow;

/// The negotiated formats of one request.
#[derive(Clone, Debug)]
pub struct NegotiatedFormats {
    /// Formats that the scraper accepts, in order of preference.
    accepted: Vec<OutputFormat>,
    target: OutputFormat,
    /// The first format of the Accept header for instances.
    requested: Format,
    /// The Accept header for instances.
    accept: String,
}

impl NegotiatedFormats {
    /// Negotiates with a scraper that sent this `Accept`. The response is text, if the scraper
    /// accepts text, until [`choose`](Self::choose) gets the formats of the instances.
    ///
    /// The Accept header for instances depends only on the scraper, not on the format of the
    /// response. So instances respond as they would to the scraper itself, and their formats do not
    /// change from scrape to scrape. With `text_only` it contains only text format 0.0.4.
    pub fn new(accept: Option<&str>, text_only: bool) -> Self {
        let accepted = exposition::accepted_formats(accept);
        let preferred = accepted.first().copied().unwrap_or_default();
        Self {
            target: exposition::choose_format(&accepted, &[]),
            requested: if text_only { Format::Text004 } else { preferred.format() },
            accept: exposition::scrape_accept_header(preferred, text_only, true),
            accepted,
        }
    }

    /// Chooses the format of the response for instances with these formats.
    #[must_use]
    pub fn choose(self, available: &[Format]) -> Self {
        Self { target: exposition::choose_format(&self.accepted, available), ..self }
    }

    pub fn content_type(&self) -> Cow<'static, str> {
        self.target.content_type()
    }

    pub(super) fn target(&self) -> OutputFormat {
        self.target
    }

    pub(super) fn requested(&self) -> Format {
        self.requested
    }

    pub(super) fn accept(&self) -> &str {
        &self.accept
    }
}
