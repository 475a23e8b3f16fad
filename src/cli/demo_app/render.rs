//! Writes the metrics in the format that a scraper prefers.

use super::metrics::Metrics;
use crate::http::Accepted;
use exposition::Format;
use prometheus_client::encoding::{prometheus_protobuf, text};

/// The exposition that a scraper accepts.
///
/// prometheus-client writes its registry as protobuf or as OpenMetrics. The types that it does not
/// have are written as OpenMetrics. Both are converted to one exposition.
///
/// # Errors
/// Returns an error if a metric cannot be encoded, for example because its name is invalid.
pub(super) fn render(metrics: &Metrics, accepted: Accepted) -> anyhow::Result<Vec<u8>> {
    let format = accepted.output.format();
    let registry = if format == Format::Protobuf {
        // Only this format has native histograms.
        (prometheus_protobuf::encode_to_vec(&metrics.registry)?, Format::Protobuf)
    } else {
        let mut body = String::new();
        text::encode(&mut body, &metrics.registry)?;
        (body.into_bytes(), Format::OpenMetrics100)
    };
    let has_created = !matches!(format, Format::Text004 | Format::Text100);
    let mut other_types = String::new();
    metrics.write_other_types(has_created, &mut other_types)?;
    text::encode_eof(&mut other_types)?;
    let other_types = (other_types.into_bytes(), Format::OpenMetrics100);
    Ok(accepted.convert([registry, other_types])?)
}
