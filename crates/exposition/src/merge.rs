use super::{
    compressed::Compressed,
    format::{Format, Target},
    instance::{Body, Instance},
    protobuf,
    repeated::Repeated,
    stats::Stats,
    text,
};

/// One exposition of several instances, written in chunks.
pub struct Merge {
    merging: Merging,
    /// Of what was done before the merge, too.
    stats: Stats,
}

enum Merging {
    Text(Box<text::Merge>),
    Protobuf(Box<protobuf::Merge>),
}

impl Merge {
    /// Lines up the families of all instances; samples of one family follow each
    /// other in the order given here.
    ///
    /// The instances are those of a [`Reader`](super::Reader) for the same target.
    pub fn new(target: Target, instances: Vec<Instance>) -> Self {
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
        let merging = if target.format() == Format::Protobuf {
            let options = protobuf::Options { escaping: target.escaping() };
            let merge = protobuf::Merge::new(messages, options);
            stats += merge.stats();
            stats += merge.dropped().into();
            Merging::Protobuf(Box::new(merge))
        } else {
            let mut merge = text::Merge::new(target, texts);
            merge.forget_lines_of(|i| formats.get(i) == Some(&Format::Protobuf));
            stats += merge.stats();
            Merging::Text(Box::new(merge))
        };
        Self { merging, stats }
    }

    /// The length of the whole output in bytes, exact.
    pub fn content_length(&self) -> u64 {
        match &self.merging {
            Merging::Text(merge) => merge.content_length(),
            Merging::Protobuf(merge) => merge.content_length(),
        }
    }

    /// The first samples that are left out, since an earlier instance has them; not all of them
    /// where they are very many.
    pub fn repeated(&self) -> &[Repeated] {
        match &self.merging {
            Merging::Text(merge) => merge.repeated(),
            Merging::Protobuf(merge) => merge.repeated(),
        }
    }

    /// What was done to the samples.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Appends what comes next: `max` bytes, and then up to the end of the line or
    /// message, but one at least. Returns whether there was something to append.
    pub fn next_chunk(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        match &mut self.merging {
            Merging::Text(merge) => {
                let start = out.len();
                let goal = start.saturating_add(max.max(1));
                while out.len() == start && merge.write(out, goal) {}
                out.len() > start
            }
            Merging::Protobuf(merge) => merge.next_chunk(out, max),
        }
    }

    /// The same answer compressed with gzip while it is written; back as it is if it is
    /// no text, which a general compressor does better.
    ///
    /// # Errors
    ///
    /// The merge, if it is not for this compressor.
    pub fn compress(self) -> Result<Compressed, Self> {
        match self.merging {
            Merging::Text(merge) => Ok(Compressed::new(merge)),
            Merging::Protobuf(_) => Err(self),
        }
    }
}
