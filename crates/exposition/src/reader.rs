use super::{
    error::Error,
    format::{Format, Target},
    instance::{Body, Instance},
    labels::Labels,
    limits::Limits,
    protobuf,
    stats::Stats,
    text::{self, Models},
};

/// A body may grow so much when it becomes text: labels are repeated on every line.
const MAX_TEXT_BYTES: usize = 1 << 30;

/// Reads the bodies that go into one merge.
///
/// It is told what the merge is written in, so that a body is looked at once.
#[derive(Debug)]
pub struct Reader {
    target: Target,
    limits: Limits,
    /// More bodies follow that are like the first one.
    models: Option<Models>,
}

impl Reader {
    /// A reader for answers in `target`, of bodies within `limits`.
    pub fn new(target: Target, limits: Limits) -> Self {
        Self { target, limits, models: None }
    }

    /// For several bodies, which are mostly alike: each is compared with the first one, and
    /// what is equal need not be looked at again.
    #[must_use]
    pub fn for_siblings(self) -> Self {
        Self { models: Some(Models::default()), ..self }
    }

    /// Checks a body and indexes it; an empty one is an exposition of the text format too.
    /// The `labels` are added to each of its samples.
    ///
    /// # Errors
    ///
    /// The first line that is not as the format wants it, or is more than the limits.
    pub fn parse(
        &self,
        body: impl Into<Vec<u8>>,
        format: Format,
        labels: Labels,
    ) -> Result<Instance, Error> {
        self.parse_limited(body, format, labels, self.limits.max_samples)
    }

    /// The same with a number of samples of its own; 0 for no limit.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn parse_limited(
        &self,
        body: impl Into<Vec<u8>>,
        format: Format,
        labels: Labels,
        max_samples: usize,
    ) -> Result<Instance, Error> {
        let body = body.into();
        let limits = Limits { max_samples, ..self.limits };
        match (format, self.target.format()) {
            (Format::Protobuf, Format::Protobuf) => {
                let body = Body::Protobuf(protobuf::Instance::parse(body, labels, &limits)?);
                Ok(Instance { body, stats: Stats::default(), format })
            }
            (Format::Protobuf, _) => self.text_of_protobuf(body, labels, &limits),
            (_, Format::Protobuf) => self.protobuf_of_text(body, format, labels, &limits),
            _ => {
                let instance = self.text(body, format, labels, &limits)?;
                Ok(Instance { body: Body::Text(instance), stats: Stats::default(), format })
            }
        }
    }

    fn text(
        &self,
        body: Vec<u8>,
        format: Format,
        labels: Labels,
        limits: &Limits,
    ) -> Result<text::Instance, Error> {
        let models = self.models.as_ref();
        text::Instance::parse(body, format.naming(), labels, limits, self.target, models)
    }

    fn text_of_protobuf(
        &self,
        body: Vec<u8>,
        labels: Labels,
        limits: &Limits,
    ) -> Result<Instance, Error> {
        let text = protobuf::to_text(body, limits, MAX_TEXT_BYTES)?;
        let mut stats = text.stats;
        stats += text.dropped.into();
        let body = self.text(text.text, Format::OpenMetrics100, labels, &Limits::NONE)?;
        Ok(Instance { body: Body::Text(body), stats, format: Format::Protobuf })
    }

    /// Text is merged with itself first, so that what becomes protobuf is in order.
    fn protobuf_of_text(
        &self,
        body: Vec<u8>,
        format: Format,
        labels: Labels,
        limits: &Limits,
    ) -> Result<Instance, Error> {
        let mut merge =
            text::Merge::new(self.target, vec![self.text(body, format, Labels::new([]), limits)?]);
        let mut text = Vec::with_capacity(merge.content_length() as usize);
        while merge.write(&mut text, usize::MAX) {}
        let (message, invented) = protobuf::from_text(&text);
        let instance = protobuf::Instance::parse(message, labels, &Limits::NONE)?.of_text();
        let mut stats = merge.stats();
        stats.invented += invented;
        Ok(Instance { body: Body::Protobuf(instance), stats, format })
    }
}
