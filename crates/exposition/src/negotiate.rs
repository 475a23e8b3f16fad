//! What a scraper is answered, and what instances are asked for, by `Accept`.

use std::cmp::Reverse;

use super::{
    format::{Escaping, Format, Target},
    media_type::{self, MediaType},
};

/// A whole, in thousandths: HTTP gives `q` three decimals.
const WHOLE: u16 = 1000;

/// The format that a scraper with this `Accept` prefers.
///
/// That is the format that it names with the greatest `q`, the first of equals. A
/// wildcard wins against no format that is named: Prometheus 2.49 ends its list
/// with `*/*;q=2`. Who names none that we have gets text format 0.0.4, rather
/// than an error that nobody would see.
pub fn negotiate(accept: Option<&str>) -> Target {
    accepted(accept).first().copied().unwrap_or_default()
}

/// The formats that a scraper with this `Accept` takes, in the order in which it prefers
/// them; one at least.
pub fn accepted(accept: Option<&str>) -> Vec<Target> {
    let (mut accepted, mut named) = (Vec::<(u16, Target)>::new(), Vec::new());
    let mut takes_text = false;
    for entry in media_type::list(accept.unwrap_or_default()) {
        let quality = quality(&entry);
        takes_text |= quality > 0 && (entry.is("*/*") || entry.is("text/*"));
        let Some(format) = Format::of_accepted(&entry) else { continue };
        named.push(format);
        if quality > 0 {
            accepted.push((quality, target(format, &entry)));
        }
    }
    // Equal ones stay in their order.
    accepted.sort_by_key(|(quality, _)| Reverse(*quality));
    let mut targets: Vec<Target> = Vec::new();
    for (_, target) in accepted {
        if targets.iter().all(|known| known.format() != target.format()) {
            targets.push(target);
        }
    }
    if targets.is_empty() || takes_text && !named.contains(&Format::Text004) {
        targets.push(Target::default());
    }
    targets
}

/// Which of the `accepted` formats the instances are answered in that speak these.
///
/// Conversions change some series: `le="1"` becomes `le="1.0"` in OpenMetrics, and native
/// histograms have no place in text. So the answer is in the format of the instances. Where they
/// differ, text goes first, since a series of any format keeps its name and labels in it; then
/// protobuf. Text is also for instances of which nothing is known.
pub fn choose(accepted: &[Target], spoken: &[Format]) -> Target {
    use Format::{OpenMetrics001, OpenMetrics100, Protobuf, Text004, Text100};
    let is_spoken = |format: &Format| spoken.contains(format);
    let preferred: &[Format] = if is_spoken(&Text100) {
        &[Text100, Text004]
    } else if is_spoken(&Text004) {
        &[Text004, Text100]
    } else if is_spoken(&Protobuf) {
        &[Protobuf, OpenMetrics100, OpenMetrics001]
    } else if is_spoken(&OpenMetrics100) {
        &[OpenMetrics100, OpenMetrics001]
    } else if is_spoken(&OpenMetrics001) {
        &[OpenMetrics001, OpenMetrics100]
    } else {
        let is_text = |target: &&Target| matches!(target.format(), Text004 | Text100);
        return first(accepted.iter().find(is_text), accepted);
    };
    let find = |format: &Format| accepted.iter().find(|target| target.format() == *format);
    first(preferred.iter().find_map(find), accepted)
}

/// The one that was found, or else the first.
fn first(found: Option<&Target>, accepted: &[Target]) -> Target {
    found.or(accepted.first()).copied().unwrap_or_default()
}

fn target(format: Format, entry: &MediaType<'_>) -> Target {
    let target = Target::new(format);
    match entry.parameter("escaping").and_then(Escaping::of_parameter) {
        Some(escaping) => target.with_escaping(escaping),
        None => target,
    }
}

/// The `q` of an entry, in thousandths: 0 for what must not be sent.
///
/// Out of range it is the nearest that is allowed. What is no number counts least,
/// but does not exclude: the format was named, after all.
fn quality(entry: &MediaType<'_>) -> u16 {
    let Some(q) = entry.parameter("q") else { return WHOLE };
    match q.parse::<f64>() {
        // A `q` of 0.0001 is still not 0.
        Ok(q) if q > 0.0 => (q.min(1.0) * f64::from(WHOLE)).round().max(1.0) as u16,
        Ok(q) if q <= 0.0 => 0,
        _ => 1,
    }
}

/// The `Accept` for instances that are asked for a scraper which prefers `target`.
///
/// First that format, then those that lose least on the way to it, so that an instance answers
/// as it would answer the scraper. Not
/// every format is named: many apps take the first or the richest one that they know
/// without a look at `q`, and would send OpenMetrics where text is wanted, and
/// protobuf where OpenMetrics is. Names are wanted raw wherever they can be, for
/// all instances to be escaped alike, by us.
///
/// `text_only` asks for text format 0.0.4, whatever the target. Without `protobuf`,
/// that format is not asked for.
pub fn accept_for_instances(target: Target, text_only: bool, protobuf: bool) -> String {
    use Format::{OpenMetrics001, OpenMetrics100, Protobuf, Text004, Text100};
    let formats: &[Format] = match target.format() {
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
