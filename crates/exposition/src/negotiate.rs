//! Content negotiation with scrapers and with instances.

use std::cmp::Reverse;

use super::{
    format::{Format, OutputFormat},
    media_type::{self, MediaType},
    names::Escaping,
};

/// The quality 1 in thousandths. HTTP allows three decimals in `q`.
const WHOLE: u16 = 1000;

/// The output format that a scraper with this `Accept` header prefers.
///
/// It is the supported format with the highest `q`, the first one among equals. A wildcard does not
/// take precedence over a named format, because Prometheus 2.49 ends its header with `*/*;q=2`. A
/// header without a supported format gives text format 0.0.4.
pub fn negotiate(accept: Option<&str>) -> OutputFormat {
    accepted_formats(accept).first().copied().unwrap_or_default()
}

/// All output formats that a scraper with this `Accept` header accepts, in order of preference.
/// There is at least one.
pub fn accepted_formats(accept: Option<&str>) -> Vec<OutputFormat> {
    let (mut accepted, mut named) = (Vec::<(u16, OutputFormat)>::new(), Vec::new());
    let mut takes_text = false;
    for entry in media_type::list(accept.unwrap_or_default()) {
        let quality = quality(&entry);
        takes_text |= quality > 0 && (entry.is("*/*") || entry.is("text/*"));
        let Some(format) = Format::from_accept(&entry) else { continue };
        named.push(format);
        if quality > 0 {
            accepted.push((quality, output(format, &entry)));
        }
    }
    // The sort is stable: entries with equal `q` keep their order.
    accepted.sort_by_key(|(quality, _)| Reverse(*quality));
    let mut outputs: Vec<OutputFormat> = Vec::new();
    for (_, output) in accepted {
        if outputs.iter().all(|known| known.format() != output.format()) {
            outputs.push(output);
        }
    }
    if outputs.is_empty() || takes_text && !named.contains(&Format::Text004) {
        outputs.push(OutputFormat::default());
    }
    outputs
}

/// Chooses from the `accepted` formats, given the formats in which the instances answer.
///
/// Conversions change some series: `le="1"` becomes `le="1.0"` in OpenMetrics, and text cannot
/// carry native histograms. The output is therefore in a format of the instances if possible. If
/// their formats differ, text is preferred, because series of all formats keep their names and
/// labels in it. Protobuf is second. If `instance_formats` is empty, text is preferred too.
pub fn choose_format(accepted: &[OutputFormat], instance_formats: &[Format]) -> OutputFormat {
    use Format::{OpenMetrics001, OpenMetrics100, Protobuf, Text004, Text100};
    let is_used = |format: &Format| instance_formats.contains(format);
    let preferred: &[Format] = if is_used(&Text100) {
        &[Text100, Text004]
    } else if is_used(&Text004) {
        &[Text004, Text100]
    } else if is_used(&Protobuf) {
        &[Protobuf, OpenMetrics100, OpenMetrics001]
    } else if is_used(&OpenMetrics100) {
        &[OpenMetrics100, OpenMetrics001]
    } else if is_used(&OpenMetrics001) {
        &[OpenMetrics001, OpenMetrics100]
    } else {
        let is_text = |output: &&OutputFormat| matches!(output.format(), Text004 | Text100);
        return first(accepted.iter().find(is_text), accepted);
    };
    let find = |format: &Format| accepted.iter().find(|output| output.format() == *format);
    first(preferred.iter().find_map(find), accepted)
}

/// The format that was found, or the first accepted one.
fn first(found: Option<&OutputFormat>, accepted: &[OutputFormat]) -> OutputFormat {
    found.or(accepted.first()).copied().unwrap_or_default()
}

fn output(format: Format, entry: &MediaType<'_>) -> OutputFormat {
    let output = OutputFormat::new(format);
    match entry.parameter("escaping").and_then(Escaping::from_parameter) {
        Some(escaping) => output.with_escaping(escaping),
        None => output,
    }
}

/// The `q` of an entry in thousandths; 0 excludes the format.
///
/// Values out of range are clamped. An invalid `q` gives the lowest quality and does not exclude
/// the format.
fn quality(entry: &MediaType<'_>) -> u16 {
    let Some(q) = entry.parameter("q") else { return WHOLE };
    match q.parse::<f64>() {
        // A `q` of 0.0001 does not exclude the format.
        Ok(q) if q > 0.0 => (q.min(1.0) * f64::from(WHOLE)).round().max(1.0) as u16,
        Ok(q) if q <= 0.0 => 0,
        _ => 1,
    }
}

/// The `Accept` header for instances, if the scraper prefers `output`.
///
/// It lists the preferred format first, then the formats with the least conversion loss. An
/// instance then answers as it would answer the scraper. Some formats are left out: many apps
/// ignore `q` and choose the first or the richest known format. They would send OpenMetrics if text
/// is preferred. The header asks for unescaped names if the format allows them, so that the merge
/// escapes the names of all instances in the same way.
///
/// `text_only` asks for text format 0.0.4 only. Without `protobuf` the header does not contain
/// protobuf.
pub fn scrape_accept_header(output: OutputFormat, text_only: bool, protobuf: bool) -> String {
    use Format::{OpenMetrics001, OpenMetrics100, Protobuf, Text004, Text100};
    let formats: &[Format] = match output.format() {
        _ if text_only => &[Text004],
        Text004 => &[Text004],
        Text100 => &[Text100, Text004],
        OpenMetrics001 => &[OpenMetrics001, OpenMetrics100, Text100, Text004],
        Protobuf if protobuf => &[Protobuf, OpenMetrics100, OpenMetrics001, Text100, Text004],
        OpenMetrics100 | Protobuf => &[OpenMetrics100, OpenMetrics001, Text100, Text004],
    };
    let mut accept = String::new();
    for (format, tenths) in formats.iter().zip((0..=10).rev()) {
        accept.push_str(media_range(*format));
        if format.has_utf8_names() {
            accept.push_str(";escaping=allow-utf-8");
        }
        accept.push_str(&if tenths == 10 { ";q=1,".into() } else { format!(";q=0.{tenths},") });
    }
    accept.push_str("*/*;q=0.1");
    accept
}

fn media_range(format: Format) -> &'static str {
    match format {
        Format::Text004 => "text/plain;version=0.0.4",
        Format::Text100 => "text/plain;version=1.0.0",
        Format::OpenMetrics001 => "application/openmetrics-text;version=0.0.1",
        Format::OpenMetrics100 => "application/openmetrics-text;version=1.0.0",
        Format::Protobuf => {
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        }
    }
}

#[cfg(test)]
mod tests;
