//! The formats in which an instance responded.

use exposition::Format;

/// The formats of an instance's responses by request, latest first.
#[derive(Clone, Debug, Default)]
pub(super) struct FormatHistory(Vec<ObservedFormat>);

/// The format of the last response to one kind of request.
#[derive(Clone, Debug)]
pub(super) struct ObservedFormat {
    pub(super) path: Box<str>,
    /// The first format of the Accept header.
    pub(super) requested: Format,
    pub(super) format: Format,
}

impl FormatHistory {
    /// Scrapers choose path and format, so the number must be limited.
    const MAX: usize = 8;

    pub(super) fn of(&self, path: &str, requested: Format) -> Option<Format> {
        let mut observed = self.0.iter();
        observed.find(|one| *one.path == *path && one.requested == requested).map(|one| one.format)
    }

    pub(super) fn latest(&self) -> Option<Format> {
        self.0.first().map(|one| one.format)
    }

    pub(super) fn record(&mut self, observed: ObservedFormat) {
        self.0.retain(|one| one.path != observed.path || one.requested != observed.requested);
        self.0.truncate(Self::MAX - 1);
        self.0.insert(0, observed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_the_format_of_its_last_response_and_old_ones_are_dropped() {
        let mut formats = FormatHistory::default();
        let observed = |path: &str, format| ObservedFormat {
            path: path.into(),
            requested: Format::Protobuf,
            format,
        };
        assert_eq!(formats.latest(), None);
        formats.record(observed("/first", Format::Text004));
        for _ in 0..2 {
            for index in 0..FormatHistory::MAX - 1 {
                formats.record(observed(&format!("/{index}"), Format::Text100));
            }
        }
        assert_eq!(formats.of("/first", Format::Protobuf), Some(Format::Text004));
        formats.record(observed("/first", Format::OpenMetrics100));
        assert_eq!(formats.of("/first", Format::Protobuf), Some(Format::OpenMetrics100));
        assert_eq!(formats.latest(), Some(Format::OpenMetrics100));
        formats.record(observed("/last", Format::Text100));
        assert_eq!(formats.of("/0", Format::Protobuf), None);
        assert_eq!(formats.of("/first", Format::Text004), None);
        assert_eq!(formats.0.len(), FormatHistory::MAX);
    }
}
