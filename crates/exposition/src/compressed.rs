use super::{
    gzip::{self, GzipWriter},
    labels::{AddedLabels, SplitLine},
    text::{self, LineSink},
};

/// A merged exposition that is compressed with gzip while it is written, in chunks.
///
/// The uncompressed exposition is never built. This makes compression cheaper than writing the
/// plain output and compressing it.
pub struct CompressedMerge {
    merge: Box<text::TextMerge>,
    /// `None` after the last chunk.
    sink: Option<Box<GzipSink>>,
}

/// Receives lines and compresses them.
struct GzipSink {
    gzip: GzipWriter,
    /// For each instance, the added labels of lines that have labels and of lines that have none.
    labels: Vec<[gzip::LabelBlockId; 2]>,
}

impl LineSink for GzipSink {
    fn length(&self) -> usize {
        self.gzip.pending()
    }

    fn text(&mut self, text: &[u8]) {
        self.gzip.write(text);
    }

    fn line(&mut self, line: &SplitLine<'_>, _: &AddedLabels, instance: usize) {
        let Some([after_labels, in_braces]) = self.labels.get(instance) else { return };
        let labels = if line.has_braces { *after_labels } else { *in_braces };
        self.gzip.line(line.before, labels, line.after);
    }
}

impl CompressedMerge {
    pub(super) fn new(merge: Box<text::TextMerge>) -> Self {
        let mut gzip = GzipWriter::new();
        let labels = merge
            .labels()
            .map(|labels| [true, false].map(|braces| gzip.add_labels(labels.inserted(braces))))
            .collect();
        Self { merge, sink: Some(Box::new(GzipSink { gzip, labels })) }
    }

    /// Returns the next chunk, or `None` after the last one.
    ///
    /// A chunk has at least `max` bytes and ends with a line. The last chunk can be shorter.
    pub fn next_chunk(&mut self, max: usize) -> Option<Vec<u8>> {
        let sink = self.sink.as_deref_mut()?;
        while sink.length() < max {
            if !self.merge.write(sink, max) {
                return self.sink.take().map(|sink| sink.gzip.finish());
            }
        }
        Some(sink.gzip.take())
    }
}
