use super::{
    gzip::{self, Gzip},
    labels::{Labels, Split},
    text::{self, Sink},
};

/// One exposition of several instances, compressed with gzip and written in chunks.
///
/// It is never there uncompressed, which makes it cheaper than the plain one.
pub struct Compressed {
    merge: Box<text::Merge>,
    /// Until the end is written.
    sink: Option<Box<Packed>>,
}

/// Takes lines in the parts that repeat.
struct Packed {
    gzip: Gzip,
    /// For each instance, its labels for lines that have labels of their own and for those
    /// that have none.
    labels: Vec<[gzip::Labels; 2]>,
}

impl Sink for Packed {
    fn length(&self) -> usize {
        self.gzip.waiting()
    }

    fn text(&mut self, text: &[u8]) {
        self.gzip.write(text);
    }

    fn line(&mut self, line: &Split<'_>, _: &Labels, instance: usize) {
        let Some([following, alone]) = self.labels.get(instance) else { return };
        let labels = if line.has_braces { *following } else { *alone };
        self.gzip.line(line.before, labels, line.after);
    }
}

impl Compressed {
    pub(super) fn new(merge: Box<text::Merge>) -> Self {
        let mut gzip = Gzip::new();
        let labels = merge
            .labels()
            .map(|labels| [true, false].map(|braces| gzip.add_labels(labels.inserted(braces))))
            .collect();
        Self { merge, sink: Some(Box::new(Packed { gzip, labels })) }
    }

    /// The next chunk, of `max` bytes and then up to the end of a line, but shorter at the
    /// end; `None` behind that.
    pub fn next_chunk(&mut self, max: usize) -> Option<Vec<u8>> {
        let sink = self.sink.as_deref_mut()?;
        while sink.length() < max {
            if !self.merge.write(sink, max) {
                return self.sink.take().map(|packed| packed.gzip.finish());
            }
        }
        Some(sink.gzip.take())
    }
}
