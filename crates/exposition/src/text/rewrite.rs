//! Rewrites sample lines into the canonical form, and renames labels that collide with added ones.

use std::{borrow::Cow, io::Write};

use super::{
    canonical,
    error::ErrorKind,
    families::{FamilyNaming, Role},
    family_mapping::SourceFamily,
    labels::AddedLabels,
    labels::EXPORTED,
    metadata::write_escaped,
    names::is_legacy_metric_name,
    number,
    output_dialect::{self, OutputDialect},
    renames::LabelNames,
    sample::{self, TextLabel},
    sample_tail::{self, SampleTail, TextExemplar},
};

/// Rewrites lines. It reuses its buffers.
#[derive(Debug)]
pub(super) struct Rewriter<'a> {
    dialect: OutputDialect,
    labels: Vec<SampleLabel<'a>>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct SampleLabel<'a> {
    /// The output name, without `exported_`.
    name: Cow<'a, [u8]>,
    label: TextLabel<'a>,
    /// The number of `exported_` prefixes.
    exported: usize,
    is_renamed: bool,
}

/// The properties of a family on which the form of a line depends.
#[derive(Clone, Copy, Debug)]
pub(super) struct RewriteContext<'a> {
    /// The family of the line.
    pub(super) family: SourceFamily<'a>,
    /// Whether `le` and `quantile` are written in the canonical form.
    pub(super) has_canonical_bounds: bool,
    /// Whether an exemplar is written, if the sample may have one.
    pub(super) keeps_exemplar: bool,
}

/// A rewritten line.
pub(super) struct RewrittenLine {
    /// The position of the added labels in the rewritten line.
    pub(super) insert: usize,
    /// The length of the exemplar.
    pub(super) exemplar: usize,
}

impl RewrittenLine {
    /// The length of `line` without its exemplar and with the added labels.
    pub(super) fn length(&self, line: &[u8], added: &AddedLabels) -> usize {
        line.len() - self.exemplar + added.inserted_at(line, self.insert).len()
    }
}

/// A rewritten series.
pub(super) struct RewrittenSeries {
    /// The position of the added labels in the rewritten series.
    pub(super) insert: usize,
    /// The position of the value in the original line.
    pub(super) end: usize,
    /// The number of renamed labels.
    pub(super) renamed: usize,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(dialect: OutputDialect) -> Self {
        Self { dialect, labels: Vec::new(), scratch: Vec::new() }
    }

    /// Appends a whole line with its line break, without the added labels.
    pub(super) fn line(
        &mut self,
        line: &'a [u8],
        added: &AddedLabels,
        form: RewriteContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<RewrittenLine, ErrorKind> {
        let series = self.series(line, added, form, out)?;
        let naming = form.family.naming;
        let tail = sample_tail::parse(line.get(series.end..).unwrap_or_default(), naming)?;
        write_tail(&tail, naming, self.dialect.naming, out)?;
        let before = out.len();
        if form.keeps_exemplar
            && self.dialect.is_openmetrics()
            && let Some(exemplar) = tail.exemplar.filter(|exemplar| !exemplar.is_too_long)
            && takes_exemplars(&sample::name_of(line).unescaped())
        {
            write_exemplar(&exemplar, &self.dialect, out);
        }
        let exemplar = out.len() - before;
        out.push(b'\n');
        Ok(RewrittenLine { insert: series.insert, exemplar })
    }

    /// Appends the series of `line` and a space, without the added labels.
    pub(super) fn series(
        &mut self,
        line: &'a [u8],
        added: &AddedLabels,
        form: RewriteContext<'_>,
        out: &mut Vec<u8>,
    ) -> Result<RewrittenSeries, ErrorKind> {
        self.labels.clear();
        let dialect = self.dialect;
        let series = sample::parse(line, &[], &mut |label: TextLabel<'a>| {
            // A name without quotes is a legacy name.
            let name = match label.name.is_quoted {
                false => Cow::Borrowed(label.name.text),
                true => dialect.label_name(label.name.unescaped()),
            };
            self.labels.push(SampleLabel { name, label, exported: 0, is_renamed: false });
            Ok(())
        })?;
        let renamed = self.rename(added, form.family.label_names());

        let start = out.len();
        let name = if dialect.keeps_suffixes() && form.family.renames.is_none() {
            match series.name.is_quoted {
                false => Cow::Borrowed(series.name.text),
                true => dialect.metric_name(series.name.unescaped()),
            }
        } else {
            Cow::Owned(form.family.target_sample_name(series.name, &dialect))
        };
        let mut separator = b'{';
        if !series.name.is_quoted || is_legacy_metric_name(&name) {
            out.extend_from_slice(&name);
        } else {
            out.push(separator);
            output_dialect::quote(&name, out);
            separator = b',';
        }
        let mut insert = out.len();
        for label in &self.labels {
            out.push(separator);
            separator = b',';
            label.write_name(&dialect, &mut self.scratch, out);
            out.extend_from_slice(b"=\"");
            let is_bound = form.has_canonical_bounds && matches!(&*label.name, b"le" | b"quantile");
            if !is_bound || !write_bound(label.label.value, out) {
                write_escaped(label.label.value, b"n\\\"", out);
            }
            out.push(b'"');
        }
        if separator == b',' {
            insert = out.len();
            out.push(b'}');
        }
        out.push(b' ');
        Ok(RewrittenSeries { insert: insert - start, end: series.end, renamed })
    }

    /// Renames labels that have the name of an added label or a name in `chosen`. Returns the
    /// number of renamed labels.
    fn rename(&mut self, added: &AddedLabels, chosen: Option<&LabelNames>) -> usize {
        for label in &mut self.labels {
            label.rename(added, chosen, &mut self.scratch);
        }
        self.labels.iter().filter(|label| label.is_renamed).count()
    }
}

/// Appends a bound in the canonical form. Returns false if the value is not a number.
fn write_bound(value: &[u8], out: &mut Vec<u8>) -> bool {
    let is_short = value.len() <= 6 && value.iter().all(u8::is_ascii_digit);
    if is_short && !matches!(value, [] | [b'0', _, ..]) {
        out.extend_from_slice(value);
        out.extend_from_slice(b".0");
        return true;
    }
    let bound = number::parse(value);
    if let Some(bound) = bound {
        canonical::write_canonical(bound, out);
    }
    bound.is_some()
}

impl SampleLabel<'_> {
    fn rename(&mut self, added: &AddedLabels, chosen: Option<&LabelNames>, scratch: &mut Vec<u8>) {
        let is_clashing = added.has(&self.name);
        if let Some(chosen) = chosen
            && (is_clashing || self.label.name.is_quoted)
            && let Some(name) = chosen.get(&*self.label.name.unescaped())
        {
            self.is_renamed = is_clashing || *self.name != **name;
            self.name = Cow::Owned(name.to_vec());
            return;
        }
        if is_clashing {
            scratch.clear();
            scratch.extend_from_slice(&self.name);
            while self.exported == 0 || added.has(scratch) {
                scratch.splice(..0, EXPORTED.iter().copied());
                self.exported += 1;
            }
            self.is_renamed = true;
        }
    }

    fn write_name(&self, dialect: &OutputDialect, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        if self.exported == 0 && !self.label.name.is_quoted {
            return out.extend_from_slice(&self.name);
        }
        scratch.clear();
        for _ in 0..self.exported {
            scratch.extend_from_slice(EXPORTED);
        }
        scratch.extend_from_slice(&self.name);
        dialect.write_label_name(scratch, out);
    }
}

/// Whether samples of this name may have exemplars in a family whose type allows them.
pub(super) fn takes_exemplars(name: &[u8]) -> bool {
    name.ends_with(Role::Total.suffix()) || name.ends_with(Role::Bucket.suffix())
}

/// Appends the value and the timestamp, without a line break.
///
/// # Errors
///
/// The target format cannot express the timestamp.
pub(super) fn write_tail(
    tail: &SampleTail<'_>,
    source: FamilyNaming,
    target: FamilyNaming,
    out: &mut Vec<u8>,
) -> Result<(), ErrorKind> {
    out.extend_from_slice(tail.value);
    let Some(timestamp) = tail.timestamp else { return Ok(()) };
    out.push(b' ');
    match (source, target) {
        (FamilyNaming::Classic, FamilyNaming::Classic)
        | (FamilyNaming::OpenMetrics, FamilyNaming::OpenMetrics) => {
            out.extend_from_slice(timestamp);
        }
        (FamilyNaming::Classic, FamilyNaming::OpenMetrics) => {
            let timestamp_ms = number::timestamp_ms(timestamp).ok_or(ErrorKind::Timestamp)?;
            canonical::write_seconds(timestamp_ms, out);
        }
        (FamilyNaming::OpenMetrics, FamilyNaming::Classic) => {
            // Timestamps of the text format have no sign.
            let timestamp_ms = canonical::seconds_to_millis(timestamp)
                .filter(|timestamp_ms| *timestamp_ms >= 0)
                .ok_or(ErrorKind::Timestamp)?;
            // Writing to a `Vec` does not fail.
            let _ = write!(out, "{timestamp_ms}");
        }
    }
    Ok(())
}

/// Appends an exemplar in OpenMetrics syntax.
pub(super) fn write_exemplar(
    exemplar: &TextExemplar<'_>,
    dialect: &OutputDialect,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b" # {");
    let mut is_first = true;
    exemplar.labels(|label| {
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        dialect.write_label_name(&dialect.label_name(label.name.unescaped()), out);
        out.extend_from_slice(b"=\"");
        write_escaped(label.value, b"n\\\"", out);
        out.push(b'"');
    });
    out.extend_from_slice(b"} ");
    out.extend_from_slice(exemplar.value);
    if let Some(timestamp) = exemplar.timestamp {
        out.push(b' ');
        out.extend_from_slice(timestamp);
    }
}

#[cfg(test)]
mod tests;
