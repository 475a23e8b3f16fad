//! Writes parts of OpenMetrics text.

use std::io::Write;

pub(super) use super::decimal::{write_ms, write_time};
use super::{
    super::{
        canonical::write_canonical,
        names::{is_legacy_label_name, is_legacy_metric_name},
    },
    decimal::write_value,
    message::{LabelPair, bytes, double, number},
    samples::SampleValue,
};

/// Writes `# KEYWORD name `.
pub(super) fn write_comment(keyword: &str, name: &[u8], out: &mut Vec<u8>) {
    // Writing to a `Vec` does not fail.
    let _ = write!(out, "# {keyword} ");
    if is_legacy_metric_name(name) {
        out.extend_from_slice(name);
    } else {
        write_quoted(name, out);
    }
    out.push(b' ');
}

/// Whether the family name ends in `_` and the unit, as OpenMetrics requires.
pub(super) fn can_be_unit(unit: &[u8], family: &[u8]) -> bool {
    let before = family.strip_suffix(unit).and_then(|before| before.strip_suffix(b"_"));
    let is_word = unit.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    !unit.is_empty() && is_word && before.is_some_and(|before| !before.is_empty())
}

/// Writes a sample line up to its value. In `labels` a comma follows each label.
pub(super) fn write_series(
    name: [&[u8]; 2],
    labels: &[u8],
    bound: Option<(&[u8], f64)>,
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let [base, suffix] = name;
    if is_legacy_metric_name(base) {
        out.extend_from_slice(base);
        out.extend_from_slice(suffix);
        out.push(b'{');
    } else {
        out.push(b'{');
        write_quoted(&name.concat(), out);
        out.push(b',');
    }
    out.extend_from_slice(labels);
    if let Some((label, bound)) = bound {
        out.extend_from_slice(label);
        out.extend_from_slice(b"=\"");
        write_canonical(bound, out);
        out.extend_from_slice(b"\",");
    }
    close(start, out);
    out.push(b' ');
}

/// The text of a series.
pub(super) fn series<'a>(
    name: &[u8],
    labels: impl Iterator<Item = LabelPair<'a>>,
    bound: Option<(&[u8], f64)>,
) -> String {
    let (mut written, mut series) = (Vec::new(), Vec::new());
    labels.for_each(|label| write_label(label, &mut written));
    write_series([name, b""], &written, bound, &mut series);
    String::from_utf8_lossy(series.trim_ascii_end()).into_owned()
}

/// Closes braces that were opened at `start`.
fn close(start: usize, out: &mut Vec<u8>) {
    match out.last() {
        Some(b',') => {
            out.pop();
            out.push(b'}');
        }
        // A name needs no braces, but an exemplar without labels does.
        _ if out.len() > start + 1 => _ = out.pop(),
        _ => out.push(b'}'),
    }
}

/// Writes ` # {…} value timestamp`.
pub(super) fn write_exemplar(exemplar: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b" # ");
    let start = out.len();
    out.push(b'{');
    LabelPair::all(exemplar).for_each(|label| write_label(label, out));
    close(start, out);
    out.push(b' ');
    write_value(double(exemplar, number::EXEMPLAR_VALUE), out);
    if let Some(time) = bytes(exemplar, number::EXEMPLAR_TIME) {
        out.push(b' ');
        write_time(time, out);
    }
}

/// Writes a label and a comma.
pub(super) fn write_label(label: LabelPair<'_>, out: &mut Vec<u8>) {
    if is_legacy_label_name(label.name) {
        out.extend_from_slice(label.name);
    } else {
        write_quoted(label.name, out);
    }
    out.push(b'=');
    write_quoted(label.value, out);
    out.push(b',');
}

pub(super) fn write_number(number: SampleValue, out: &mut Vec<u8>) {
    match number {
        SampleValue::Float(value) => write_value(value, out),
        SampleValue::Count(count) => _ = write!(out, "{count}"),
    }
}

fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(text, out);
    out.push(b'"');
}

pub(super) fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ => out.push(byte),
        }
    }
}
