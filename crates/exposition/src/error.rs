use std::fmt;

/// The reason why a body is refused, and the position in the body.
///
/// `Display` never quotes the body, because a body can contain data that does not belong in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    unit: Unit,
    number: usize,
}

/// The unit in which a position is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Line,
    /// A `MetricFamily` message of a protobuf body.
    Message,
}

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The body is larger than 4 GiB, the limit of an index.
    BodyTooLarge,
    /// A line is longer than [`Limits::max_line`](super::Limits::max_line).
    LineTooLong,
    /// The body has more samples than [`Limits::max_samples`](super::Limits::max_samples).
    TooManySamples,
    /// The body has more metric families than
    /// [`Limits::max_families`](super::Limits::max_families).
    TooManyFamilies,
    /// A sample has more labels than [`Limits::max_labels`](super::Limits::max_labels).
    TooManyLabels,
    /// The text is not UTF-8.
    Encoding,
    /// A metric name is missing or invalid. HTML fails with this kind at its first line.
    MetricName,
    /// A `TYPE` line has a type that the format does not have.
    MetricType,
    /// A label name is missing or invalid. JSON fails with this kind at its first line.
    LabelName,
    /// A sample has a label `__name__`.
    ReservedLabel,
    /// A sample has two labels of one name.
    DuplicateLabel,
    /// A label value is missing, unquoted or not terminated.
    LabelValue,
    /// The value of a sample is missing or is not a number.
    Value,
    /// The text after the value is not a valid timestamp.
    Timestamp,
    /// There is text after the timestamp.
    Trailing,
    /// An exemplar is malformed, or the format has no exemplars.
    Exemplar,
    /// The unit of a `UNIT` line has an invalid character.
    Unit,
    /// An OpenMetrics body has no `# EOF`, so it can be truncated.
    MissingEof,
    /// There is text after `# EOF`.
    AfterEof,
    /// A protobuf message is truncated or does not match its schema.
    Message,
    /// A metric or a text of a protobuf body is longer than
    /// [`Limits::max_line`](super::Limits::max_line).
    FieldTooLong,
    /// The body would be too long in the output format. Text repeats the labels of a histogram for
    /// each bucket.
    TextTooLong,
    /// The fields of a native histogram contradict each other.
    NativeHistogram,
}

impl Error {
    pub(super) fn new(kind: ErrorKind, line: usize) -> Self {
        Self { kind, unit: Unit::Line, number: line }
    }

    /// An error in a protobuf body.
    pub(super) fn in_message(kind: ErrorKind, message: usize) -> Self {
        Self { kind, unit: Unit::Message, number: message }
    }

    /// The error with its line number increased by `lines_before(line)`.
    pub(super) fn shifted(self, lines_before: impl Fn(usize) -> usize) -> Self {
        Self { number: self.number + lines_before(self.number), ..self }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The line, counted from 1. In a protobuf body it is the number of the `MetricFamily` message.
    pub fn line(&self) -> usize {
        self.number
    }

    /// Whether the body exceeds one of its [`Limits`](super::Limits). Such a body can be
    /// well-formed.
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
    /// Whether a line break inside quotes causes this error.
    pub(super) fn is_quote_error(self) -> bool {
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
            Self::TooManySamples => "the body has more samples than the limit",
            Self::TooManyFamilies => "the body has more metric families than the limit",
            Self::TooManyLabels => "a sample has more labels than the limit",
            Self::Encoding => "the text is not UTF-8",
            Self::MetricName => "a metric name is missing or invalid",
            Self::MetricType => "the metric type is not valid in this format",
            Self::LabelName => "a label name is missing or invalid",
            Self::ReservedLabel => "the label name `__name__` is reserved",
            Self::DuplicateLabel => "a sample has two labels of one name",
            Self::LabelValue => "a label value is missing, unquoted or not terminated",
            Self::Value => "the value is missing or not a number",
            Self::Timestamp => "the timestamp is not valid in this format",
            Self::Trailing => "there is text after the timestamp",
            Self::Exemplar => "the exemplar is malformed, or the format has none",
            Self::Unit => "the unit has an invalid character",
            Self::MissingEof => "`# EOF` is missing, so the body can be truncated",
            Self::AfterEof => "there is text after `# EOF`",
            Self::Message => "the message is truncated or malformed",
            Self::FieldTooLong => "a field is longer than the limit",
            Self::TextTooLong => "the body is too long when converted to text",
            Self::NativeHistogram => "the parts of a native histogram contradict each other",
        })
    }
}
