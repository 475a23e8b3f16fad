use super::{
    compressed::CompressedMerge,
    duplicate_sample::DuplicateSample,
    format::{Format, OutputFormat},
    indexed_body::{Body, IndexedBody},
    protobuf,
    stats::Stats,
    text,
};

/// The merged exposition of several instances, written in chunks.
pub struct Merge {
    merge: MergeFormat,
    /// The changes by the conversion of the bodies and by the merge.
    stats: Stats,
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
        Self { merge, stats }
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
