//! Brings a sample line into the one form in which the output has it, and its
//! labels out of the way of the added ones.

use std::{borrow::Cow, io::Write};

use super::{
    canonical,
    dialect::{self, Dialect},
    error::ErrorKind,
    families::{Naming, Role},
    labels::Labels,
    metadata::write_escaped,
    names::is_legacy_metric_name,
    number,
    renames::{EXPORTED, LabelNames},
    sample::{self, Label},
    tail::{self, Exemplar, Tail},
    translate::Source,
};

/// Rewrites lines; kept for several, it allocates for the first ones only.
#[derive(Debug)]
pub(super) struct Rewriter<'a> {
    dialect: Dialect,
    own: Vec<Own<'a>>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Own<'a> {
    /// In the output, but for `exported_`.
    name: Cow<'a, [u8]>,
    label: Label<'a>,
    /// How many times `exported_` goes before the name.
    exported: usize,
    is_renamed: bool,
}

/// What the form of a line depends on, besides the line and the dialect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'a> {
    /// The family that the line is in.
    pub(super) family: Source<'a>,
    /// Whether `le` and `quantile` are brought into the form that OpenMetrics wants.
    pub(super) has_bounds: bool,
    /// Whether an exemplar is written, if its sample may have one.
    pub(super) keeps_exemplar: bool,
}

/// What was written of a line.
pub(super) struct WrittenLine {
    /// Where in it the added labels go.
    pub(super) insert: usize,
    /// How long its exemplar is.
    pub(super) exemplar: usize,
}

impl WrittenLine {
    /// How long `line` is without its exemplar and with the added labels.
    pub(super) fn length(&self, line: &[u8], added: &Labels) -> usize {
        line.len() - self.exemplar + added.inserted_at(line, self.insert).len()
    }
}

/// What was written of a series.
pub(super) struct Rewritten {
    /// Where in it the added labels go.
    pub(super) insert: usize,
    /// Where in the line that was read the value starts.
    pub(super) end: usize,
    /// How many labels were renamed.
    pub(super) renamed: usize,
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, own: Vec::new(), scratch: Vec::new() }
    }

    /// Appends a whole line with its line break, still without the added labels.
    pub(super) fn line(
        &mut self,
        line: &'a [u8],
        added: &Labels,
        form: Form<'_>,
        out: &mut Vec<u8>,
    ) -> Result<WrittenLine, ErrorKind> {
        let series = self.series(line, added, form, out)?;
        let naming = form.family.naming;
        let tail = tail::parse(line.get(series.end..).unwrap_or_default(), naming)?;
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
        Ok(WrittenLine { insert: series.insert, exemplar })
    }

    /// Appends the series of `line` up to its value, still without the added labels.
    pub(super) fn series(
        &mut self,
        line: &'a [u8],
        added: &Labels,
        form: Form<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Rewritten, ErrorKind> {
        self.own.clear();
        let dialect = self.dialect;
        let series = sample::parse(line, &[], &mut |label: Label<'a>| {
            // Without quotes it is a name that everybody knows.
            let name = match label.name.is_quoted {
                false => Cow::Borrowed(label.name.text),
                true => dialect.label_name(label.name.unescaped()),
            };
            self.own.push(Own { name, label, exported: 0, is_renamed: false });
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
            dialect::quote(&name, out);
            separator = b',';
        }
        let mut insert = out.len();
        for own in &self.own {
            out.push(separator);
            separator = b',';
            own.write_name(&dialect, &mut self.scratch, out);
            out.extend_from_slice(b"=\"");
            let is_bound = form.has_bounds && matches!(&*own.name, b"le" | b"quantile");
            if !is_bound || !write_bound(own.label.value, out) {
                write_escaped(own.label.value, b"n\\\"", out);
            }
            out.push(b'"');
        }
        if separator == b',' {
            insert = out.len();
            out.push(b'}');
        }
        out.push(b' ');
        Ok(Rewritten { insert: insert - start, end: series.end, renamed })
    }

    /// Gives other names to labels whose name is that of an added one, or that `chosen` has
    /// another one for. Returns how many there are.
    fn rename(&mut self, added: &Labels, chosen: Option<&LabelNames>) -> usize {
        for own in &mut self.own {
            own.rename(added, chosen, &mut self.scratch);
        }
        self.own.iter().filter(|own| own.is_renamed).count()
    }
}

/// Appends a bound as OpenMetrics wants it; false if it is no number.
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

impl Own<'_> {
    fn rename(&mut self, added: &Labels, chosen: Option<&LabelNames>, scratch: &mut Vec<u8>) {
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

    fn write_name(&self, dialect: &Dialect, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
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

/// Whether samples of this name may have exemplars, if their type is one that has some.
pub(super) fn takes_exemplars(name: &[u8]) -> bool {
    name.ends_with(Role::Total.suffix()) || name.ends_with(Role::Bucket.suffix())
}

/// Appends value and timestamp in the output's form, without a line break.
///
/// # Errors
///
/// A timestamp that the target cannot have.
pub(super) fn write_tail(
    tail: &Tail<'_>,
    source: Naming,
    target: Naming,
    out: &mut Vec<u8>,
) -> Result<(), ErrorKind> {
    out.extend_from_slice(tail.value);
    let Some(timestamp) = tail.timestamp else { return Ok(()) };
    out.push(b' ');
    match (source, target) {
        (Naming::Classic, Naming::Classic) | (Naming::OpenMetrics, Naming::OpenMetrics) => {
            out.extend_from_slice(timestamp);
        }
        (Naming::Classic, Naming::OpenMetrics) => {
            let timestamp_ms = number::timestamp_ms(timestamp).ok_or(ErrorKind::Timestamp)?;
            canonical::write_seconds(timestamp_ms, out);
        }
        (Naming::OpenMetrics, Naming::Classic) => {
            // The text format has none with a sign.
            let timestamp_ms = canonical::seconds_to_millis(timestamp)
                .filter(|timestamp_ms| *timestamp_ms >= 0)
                .ok_or(ErrorKind::Timestamp)?;
            // A `Vec` takes all that is written to it.
            let _ = write!(out, "{timestamp_ms}");
        }
    }
    Ok(())
}

/// Appends an exemplar in OpenMetrics' form.
pub(super) fn write_exemplar(exemplar: &Exemplar<'_>, dialect: &Dialect, out: &mut Vec<u8>) {
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
