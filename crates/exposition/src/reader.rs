use super::{
    error::Error,
    format::{Format, OutputFormat},
    indexed_body::{Body, IndexedBody},
    known_families::KnownFamilies,
    labels::AddedLabels,
    limits::Limits,
    protobuf,
    stats::Stats,
    text::{self, Templates},
};

/// The longest text that a protobuf body may become. Text repeats the labels on each line.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// Parses the bodies of one merge.
///
/// A reader indexes bodies for one [`OutputFormat`], so that each body is parsed once.
#[derive(Debug)]
pub struct Reader {
    output: OutputFormat,
    limits: Limits,
    /// The first body of each grammar, if bodies are compared with it.
    templates: Option<Templates>,
    known_families: KnownFamilies,
}

impl Reader {
    /// Creates a reader for an output and for bodies within `limits`.
    pub fn new(output: OutputFormat, limits: Limits) -> Self {
        Self { output, limits, templates: None, known_families: KnownFamilies::default() }
    }

    /// Compares each body with the first one and parses only the differences.
    ///
    /// Use it for several instances of one app. The result is the same without it, but parsing
    /// takes longer. A reader can be shared by threads.
    #[must_use]
    pub fn with_template(self) -> Self {
        Self { templates: Some(Templates::default()), ..self }
    }

    /// Validates and indexes a body. An empty body is a valid exposition in the text format and in
    /// protobuf. `labels` are added to each sample.
    ///
    /// # Errors
    ///
    /// The first line or message that is not valid in `format` or exceeds the limits.
    pub fn parse(
        &self,
        body: impl Into<Vec<u8>>,
        format: Format,
        labels: AddedLabels,
    ) -> Result<IndexedBody, Error> {
        self.parse_limited(body, format, labels, self.limits.max_samples)
    }

    /// Same as [`parse`](Self::parse), with a limit of samples for this body; 0 for no limit.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn parse_limited(
        &self,
        body: impl Into<Vec<u8>>,
        format: Format,
        labels: AddedLabels,
        max_samples: usize,
    ) -> Result<IndexedBody, Error> {
        let body = body.into();
        let limits = Limits { max_samples, ..self.limits };
        let (body, stats) = match (format, self.output.format()) {
            (Format::Protobuf, Format::Protobuf) => {
                let body = protobuf::ProtobufBody::parse(body, labels, &limits)?;
                (Body::Protobuf(body), Stats::default())
            }
            (Format::Protobuf, _) => self.text_of_protobuf(body, labels, &limits)?,
            (_, Format::Protobuf) => self.protobuf_of_text(body, format, labels, &limits)?,
            _ => (Body::Text(self.text(body, format, labels, &limits)?), Stats::default()),
        };
        let memory = match &body {
            Body::Text(body) => body.memory(self.output, &self.known_families),
            Body::Protobuf(body) => body.memory(self.output, &self.known_families),
        };
        Ok(IndexedBody { body, stats, format, memory })
    }

    fn text(
        &self,
        body: Vec<u8>,
        format: Format,
        labels: AddedLabels,
        limits: &Limits,
    ) -> Result<text::TextBody, Error> {
        let templates = self.templates.as_ref();
        text::TextBody::parse(body, format.naming(), labels, limits, self.output, templates)
    }

    fn text_of_protobuf(
        &self,
        body: Vec<u8>,
        labels: AddedLabels,
        limits: &Limits,
    ) -> Result<(Body, Stats), Error> {
        let text = protobuf::to_text(body, limits, MAX_TEXT_BYTES)?;
        let mut stats = text.stats;
        stats += text.dropped.into();
        let body = self.text(text.text, Format::OpenMetrics100, labels, &Limits::NONE)?;
        Ok((Body::Text(body), stats))
    }

    /// Converts text to protobuf. The text is merged first, so that its families and metrics are
    /// contiguous.
    fn protobuf_of_text(
        &self,
        body: Vec<u8>,
        format: Format,
        labels: AddedLabels,
        limits: &Limits,
    ) -> Result<(Body, Stats), Error> {
        let mut merge = text::TextMerge::new(
            self.output,
            vec![self.text(body, format, AddedLabels::new([]), limits)?],
        );
        let mut text = Vec::with_capacity(merge.content_length() as usize);
        while merge.write(&mut text, usize::MAX) {}
        let (message, synthesized) = protobuf::from_text(&text);
        let instance =
            protobuf::ProtobufBody::parse(message, labels, &Limits::NONE)?.converted_from_text();
        let mut stats = merge.stats();
        stats.synthesized += synthesized;
        Ok((Body::Protobuf(instance), stats))
    }
}
