use std::fmt;

/// Why a body is refused, and where.
///
/// `Display` never quotes the body: it can hold what its app's owner would not
/// want in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    unit: Unit,
    number: usize,
}

/// What a format consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Line,
    /// A family in protobuf.
    Message,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The body is larger than an index can address (4 GiB).
    BodyTooLarge,
    /// Longer than [`Limits::max_line`](super::Limits::max_line).
    LineTooLong,
    /// More than [`Limits::max_samples`](super::Limits::max_samples).
    TooManySamples,
    /// More than [`Limits::max_families`](super::Limits::max_families).
    TooManyFamilies,
    /// More than [`Limits::max_labels`](super::Limits::max_labels).
    TooManyLabels,
    /// Not UTF-8.
    Encoding,
    /// No metric name where one belongs: the first line of HTML ends here.
    MetricName,
    /// A `TYPE` that its format does not know.
    MetricType,
    /// No label name where one belongs: the first line of JSON ends here.
    LabelName,
    /// `__name__` as a label.
    ReservedLabel,
    /// The same label twice on one sample.
    DuplicateLabel,
    /// A label value that is missing, unquoted or not closed.
    LabelValue,
    /// No number where the value belongs.
    Value,
    /// Something after the value that is no timestamp.
    Timestamp,
    /// Something after the timestamp.
    Trailing,
    /// An exemplar in text format 0.0.4, or one that is not well-formed.
    Exemplar,
    /// A unit that is no word.
    Unit,
    /// OpenMetrics without its `# EOF`, so that nobody knows whether it is whole.
    MissingEof,
    /// Something after `# EOF`.
    AfterEof,
    /// A protobuf message that is cut short, or not what its schema says.
    Message,
    /// A field of protobuf longer than [`Limits::max_line`](super::Limits::max_line): a
    /// metric, or the text of a family.
    FieldTooLong,
    /// A body of which each sample on its own would be too long by far: labels are
    /// repeated for each bucket then.
    TextTooLong,
    /// A native histogram whose parts contradict each other.
    NativeHistogram,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, line: usize) -> Self {
        Self { kind, unit: Unit::Line, number: line }
    }

    /// In a body of protobuf.
    pub(super) fn in_message(kind: ErrorKind, message: usize) -> Self {
        Self { kind, unit: Unit::Message, number: message }
    }

    /// The same in a body that has so many lines more before it.
    pub(super) fn moved(self, lines_before: impl Fn(usize) -> usize) -> Self {
        Self { number: self.number + lines_before(self.number), ..self }
    }

    /// What is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The line, or in protobuf the message, counted from 1.
    pub fn line(&self) -> usize {
        self.number
    }

    /// Whether the body may be well formed but is more than its [`Limits`](super::Limits) allow.
    pub fn is_limit(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::BodyTooLarge
                | ErrorKind::LineTooLong
                | ErrorKind::TooManySamples
                | ErrorKind::TooManyFamilies
                | ErrorKind::TooManyLabels
                | ErrorKind::FieldTooLong
                | ErrorKind::TextTooLong
        )
    }
}

impl ErrorKind {
    /// Whether a quote that is not closed on its line has this reason.
    pub(super) fn is_of_quotes(self) -> bool {
        matches!(self, Self::LabelName | Self::LabelValue)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Line => "line",
            Unit::Message => "message",
        };
        write!(f, "{unit} {}: {}", self.number, self.kind)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BodyTooLarge => "the body is larger than 4 GiB",
            Self::LineTooLong => "the line is longer than the limit",
            Self::TooManySamples => "more samples than the limit",
            Self::TooManyFamilies => "more metric families than the limit",
            Self::TooManyLabels => "more labels on one sample than the limit",
            Self::Encoding => "text that is not UTF-8",
            Self::MetricName => "a metric name is missing or not valid",
            Self::MetricType => "the metric type is not one of its format",
            Self::LabelName => "a label name is missing or not valid",
            Self::ReservedLabel => "the label name `__name__` is reserved",
            Self::DuplicateLabel => "a label name occurs twice on one sample",
            Self::LabelValue => "a label value is missing, unquoted or not closed",
            Self::Value => "the value is missing or not a number",
            Self::Timestamp => "the timestamp is not one of its format",
            Self::Trailing => "something follows the timestamp",
            Self::Exemplar => {
                "an exemplar that its format does not have, or that is not well-formed"
            }
            Self::Unit => "the unit is not a word",
            Self::MissingEof => "`# EOF` is missing, so the rest may be too",
            Self::AfterEof => "something follows `# EOF`",
            Self::Message => "a message is cut short or not well formed",
            Self::FieldTooLong => "a field is longer than the limit",
            Self::TextTooLong => "as text it is longer than the limit",
            Self::NativeHistogram => "the parts of a native histogram contradict each other",
        })
    }
}
