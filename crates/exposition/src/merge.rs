use super::{
    compressed::CompressedMerge,
    duplicate_sample::{DuplicateSample, SampleLocation},
    format::{Format, OutputFormat},
    indexed_body::{Body, IndexedBody},
    lost_type::LostType,
    protobuf,
    stats::Stats,
    text,
};

/// The merged exposition of several instances, written in chunks.
pub struct Merge {
    merge: MergeFormat,
    /// The changes by the conversion of the bodies and by the merge.
    stats: Stats,
    /// The formats of the bodies.
    formats: Vec<Format>,
}

enum MergeFormat {
    Text(Box<text::TextMerge>),
    Protobuf(Box<protobuf::ProtobufMerge>),
}

impl Merge {
    /// Plans the merge of bodies that a [`Reader`](super::Reader) parsed for the same output.
    ///
    /// Within a family, samples are in the order of `instances`.
    pub fn new(output: OutputFormat, instances: Vec<IndexedBody>) -> Self {
        let mut stats = Stats::default();
        let (mut texts, mut messages) = (Vec::new(), Vec::new());
        let mut formats = Vec::with_capacity(instances.len());
        for instance in instances {
            stats += instance.stats;
            formats.push(instance.format);
            match instance.body {
                Body::Text(instance) => texts.push(instance),
                Body::Protobuf(instance) => messages.push(instance),
            }
        }
        let merge = if output.format() == Format::Protobuf {
            let merge = protobuf::ProtobufMerge::new(messages, output.escaping());
            stats += merge.stats();
            stats += merge.dropped().into();
            MergeFormat::Protobuf(Box::new(merge))
        } else {
            let mut merge = text::TextMerge::new(output, texts);
            merge.clear_line_numbers(|i| formats.get(i) == Some(&Format::Protobuf));
            stats += merge.stats();
            MergeFormat::Text(Box::new(merge))
        };
        Self { merge, stats, formats }
    }

    /// The exact length of the whole output in bytes.
    pub fn content_length(&self) -> u64 {
        match &self.merge {
            MergeFormat::Text(merge) => merge.content_length(),
            MergeFormat::Protobuf(merge) => merge.content_length(),
        }
    }

    /// The first samples that are left out because an earlier instance has the same series. The
    /// list has at most 100 samples; [`Stats::duplicates`] counts all of them.
    pub fn duplicate_samples(&self) -> &[DuplicateSample] {
        match &self.merge {
            MergeFormat::Text(merge) => merge.duplicate_samples(),
            MergeFormat::Protobuf(merge) => merge.duplicate_samples(),
        }
    }

    /// The samples that are left out because the same body has their series before, at most
    /// `limit` of them. The bodies are read again. Empty if the output is protobuf.
    pub fn duplicates_within_bodies(&self, limit: usize) -> Vec<DuplicateSample> {
        let MergeFormat::Text(merge) = &self.merge else { return Vec::new() };
        let mut found = merge.duplicates_within_bodies(limit);
        let locations = found.iter_mut().flat_map(|one| [&mut one.kept, &mut one.dropped]);
        self.clear_line_numbers(locations);
        found
    }

    /// The families that lose their type, for each body that declares it, at most `limit` of them,
    /// in the order of bodies and lines. The bodies are read again. Empty if the output is
    /// protobuf.
    ///
    /// ```
    /// use exposition::{
    ///     AddedLabels, Format, Limits, LostTypeReason, Merge, OutputFormat, Reader, TypeRule,
    /// };
    ///
    /// let output = OutputFormat::new(Format::OpenMetrics100);
    /// let body = "# TYPE jobs_total counter\njobs_total 1\njobs_total{queue=\"a\"} -1\n";
    /// let reader = Reader::new(output, Limits::default());
    /// let body = reader.parse(body, Format::Text004, AddedLabels::new([]))?;
    /// let [lost] = &*Merge::new(output, vec![body]).lost_types(10) else { panic!() };
    /// assert_eq!((&*lost.family, lost.location.line), ("jobs_total", Some(3)));
    /// assert_eq!(lost.reason, LostTypeReason::Rule(TypeRule::Counter));
    /// # Ok::<(), exposition::Error>(())
    /// ```
    pub fn lost_types(&self, limit: usize) -> Vec<LostType> {
        let MergeFormat::Text(merge) = &self.merge else { return Vec::new() };
        let mut lost = merge.lost_types(limit);
        self.clear_line_numbers(lost.iter_mut().map(|one| &mut one.location));
        lost
    }

    /// Removes the line numbers of converted bodies, because they are not those of the original
    /// body.
    fn clear_line_numbers<'a>(&self, locations: impl Iterator<Item = &'a mut SampleLocation>) {
        locations
            .filter(|one| self.formats.get(one.instance) == Some(&Format::Protobuf))
            .for_each(|one| one.line = None);
    }

    /// The changes that were made to the samples.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Appends the next chunk to `out`: at least one line or metric, and further ones until the
    /// chunk has `max` bytes. Returns whether anything was appended.
    pub fn next_chunk(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        match &mut self.merge {
            MergeFormat::Text(merge) => {
                let start = out.len();
                let goal = start.saturating_add(max.max(1));
                while out.len() == start && merge.write(out, goal) {}
                out.len() > start
            }
            MergeFormat::Protobuf(merge) => merge.next_chunk(out, max),
        }
    }

    /// Compresses the output with gzip while it is written.
    ///
    /// # Errors
    ///
    /// Returns the merge unchanged if the output is protobuf. Use a general compressor for it.
    pub fn compress(self) -> Result<CompressedMerge, Self> {
        match self.merge {
            MergeFormat::Text(merge) => Ok(CompressedMerge::new(merge)),
            MergeFormat::Protobuf(_) => Err(self),
        }
    }
}
