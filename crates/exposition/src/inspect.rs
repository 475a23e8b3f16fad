//! Reports the families and labels of bodies.

mod labels;

use super::{
    format::OutputFormat,
    indexed_body::{Body, IndexedBody},
    text,
};
use labels::LabelCounter;

/// Limits on the memory of an [`Inspection`] and on the length of its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InspectLimits {
    /// Maximum number of families.
    pub families: usize,
    /// Maximum number of families times bodies. A report has an entry of 32 bytes for each body of
    /// a family.
    pub family_bodies: usize,
    /// Maximum number of label names.
    pub labels: usize,
    /// Maximum number of distinct label values, each counted for all families together and for each
    /// family. A value takes up to 60 bytes while it is counted.
    pub values: usize,
    /// Maximum number of examples of values of a label, and of families in [`LabelReport::top`].
    pub examples: usize,
    /// Maximum length in bytes of an example.
    pub example_bytes: usize,
    /// Maximum length in bytes of a `HELP` text.
    pub help_bytes: usize,
}

impl Default for InspectLimits {
    fn default() -> Self {
        Self {
            families: 20_000,
            family_bodies: 500_000,
            labels: 5_000,
            values: 500_000,
            examples: 3,
            example_bytes: 60,
            help_bytes: 500,
        }
    }
}

/// The families and labels of several bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// In the order of a merge.
    pub families: Vec<FamilyReport>,
    /// The labels with the most values first.
    pub labels: Vec<LabelReport>,
    /// Number of samples of all bodies.
    pub samples: u64,
    /// False if a limit was reached: families or labels are missing, and numbers of values are
    /// minimums.
    pub is_complete: bool,
}

/// A family of all bodies, under its name in a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyReport {
    /// The name of a counter is that of its samples, for example `requests_total`.
    pub name: String,
    /// The first `HELP` text of all bodies.
    pub help: Option<String>,
    /// The first unit of all bodies.
    pub unit: Option<String>,
    /// The bodies that have the family, in their order.
    pub bodies: Vec<FamilyInBody>,
    /// Labels of samples that a merge renames, because an added label has the name.
    pub renamed: Vec<String>,
    /// The label with the most distinct values in this family, and the number of these.
    pub widest_label: Option<(String, u64)>,
    /// Whether the types of bodies or the samples contradict each other. A merge writes the samples
    /// without a type.
    pub has_conflict: bool,
}

/// A family in one of the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyInBody {
    /// The position of the body.
    pub body: usize,
    /// The type, if the body declares one.
    pub metric_type: Option<&'static str>,
    /// Number of samples. A histogram has one for each bucket, and one each for sum and count.
    pub series: u32,
}

/// A label of all families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelReport {
    /// The name in a merge.
    pub name: String,
    /// Number of distinct values.
    pub values: u64,
    /// Number of families with this label.
    pub families: u32,
    /// The families with the most distinct values, and the number of these.
    pub top: Vec<(String, u64)>,
    /// The first values.
    pub examples: Vec<String>,
}

impl FamilyReport {
    /// Number of samples of all bodies.
    pub fn series(&self) -> u64 {
        self.bodies.iter().map(|one| u64::from(one.series)).sum()
    }

    /// Each type that a body declares, with the positions of these bodies.
    pub fn types(&self) -> Vec<(&'static str, Vec<usize>)> {
        let mut types: Vec<(&'static str, Vec<usize>)> = Vec::new();
        for FamilyInBody { body, metric_type, .. } in &self.bodies {
            let Some(metric_type) = *metric_type else { continue };
            match types.iter_mut().find(|(known, _)| *known == metric_type) {
                Some((_, bodies)) => bodies.push(*body),
                None => types.push((metric_type, vec![*body])),
            }
        }
        types
    }

    /// The positions of the bodies that lack the family, of `count` bodies.
    pub fn missing(&self, count: usize) -> Vec<usize> {
        let mut present = self.bodies.iter().map(|one| one.body).peekable();
        (0..count).filter(|body| present.next_if_eq(body).is_none()).collect()
    }
}

/// Reports the families and labels of bodies that a [`Reader`](super::Reader) parsed for a text
/// output. Added labels are not included. Of bodies for a protobuf output, only the samples are
/// counted.
///
/// ```
/// use exposition::{AddedLabels, Format, InspectLimits, Limits, OutputFormat, Reader, inspect};
///
/// let output = OutputFormat::new(Format::Text004);
/// let reader = Reader::new(output, Limits::default());
/// let parse = |body| reader.parse(body, Format::Text004, AddedLabels::new([]));
/// let one = parse("# TYPE jobs_total counter\njobs_total{queue=\"a\"} 1\njobs_total{queue=\"b\"} 2\n")?;
/// let two = parse("jobs_total{queue=\"a\"} 3\n# TYPE up gauge\nup 1\n")?;
/// let inspection = inspect(&[one, two], output, &InspectLimits::default());
/// assert_eq!(inspection.samples, 4);
/// let [jobs, up] = inspection.families.as_slice() else { panic!() };
/// assert_eq!((jobs.name.as_str(), jobs.series()), ("jobs_total", 3));
/// assert_eq!(up.missing(2), [0]);
/// let [queue] = inspection.labels.as_slice() else { panic!() };
/// assert_eq!((queue.name.as_str(), queue.values), ("queue", 2));
/// assert_eq!(queue.examples, ["a", "b"]);
/// # Ok::<(), exposition::Error>(())
/// ```
pub fn inspect(bodies: &[IndexedBody], output: OutputFormat, limits: &InspectLimits) -> Inspection {
    let mut inspector = Inspector::new(limits, bodies.len());
    let texts = bodies.iter().enumerate().filter_map(|(position, one)| match &one.body {
        Body::Text(body) => Some((position, body)),
        Body::Protobuf(_) => None,
    });
    let texts: Vec<_> = texts.collect();
    let is_text = texts.len() == bodies.len();
    text::inspect(&texts, output, &mut inspector);
    let samples = bodies.iter().map(|body| body.samples() as u64).sum();
    let inspection = inspector.finish(samples);
    Inspection { is_complete: inspection.is_complete && is_text, ..inspection }
}

/// Collects an [`Inspection`].
pub(super) struct Inspector<'a> {
    limits: &'a InspectLimits,
    max_families: usize,
    families: Vec<FamilyReport>,
    labels: LabelCounter<'a>,
    is_complete: bool,
}

impl<'a> Inspector<'a> {
    fn new(limits: &'a InspectLimits, bodies: usize) -> Self {
        // Families are left out rather than bodies of a family, which would seem to lack it.
        let max_families = limits.families.min(limits.family_bodies / bodies.max(1));
        let labels = LabelCounter::new(limits);
        Self { limits, max_families, families: Vec::new(), labels, is_complete: true }
    }

    /// Adds a family and returns its index. `None` if there are too many.
    pub(super) fn add_family(&mut self, mut family: FamilyReport) -> Option<usize> {
        if self.families.len() >= self.max_families {
            self.is_complete = false;
            return None;
        }
        if let Some(help) = &mut family.help {
            shorten(help, self.limits.help_bytes);
        }
        self.families.push(family);
        Some(self.families.len() - 1)
    }

    /// Notes that a body has a family. Bodies must be passed in their order.
    pub(super) fn add_body(
        &mut self,
        family: usize,
        body: usize,
        metric_type: Option<&'static str>,
    ) {
        let Some(family) = self.families.get_mut(family) else { return };
        match family.bodies.last_mut().filter(|last| last.body == body) {
            Some(last) => last.metric_type = last.metric_type.or(metric_type),
            None => family.bodies.push(FamilyInBody { body, metric_type, series: 0 }),
        }
    }

    /// Counts a sample of the body that was added last to the family.
    pub(super) fn add_sample(&mut self, family: usize) {
        let last = self.families.get_mut(family).and_then(|family| family.bodies.last_mut());
        if let Some(last) = last {
            last.series += 1;
        }
    }

    /// Counts a label of a sample, by its name in the output.
    pub(super) fn add_label(&mut self, family: usize, name: &[u8], value: &[u8]) {
        self.is_complete &= self.labels.add(family, name, value);
    }

    /// Notes that the label `name` of a sample is renamed.
    pub(super) fn add_rename(&mut self, family: usize, name: &[u8]) {
        let Some(family) = self.families.get_mut(family) else { return };
        if !family.renamed.iter().any(|known| known.as_bytes() == name) {
            family.renamed.push(String::from_utf8_lossy(name).into_owned());
        }
    }

    fn finish(self, samples: u64) -> Inspection {
        let Self { mut families, labels, is_complete, .. } = self;
        let labels = labels.finish(&mut families);
        Inspection { families, labels, samples, is_complete }
    }
}

/// Cuts a text at a character boundary.
fn shorten(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max));
        text.push('…');
    }
}

#[cfg(test)]
mod tests;
