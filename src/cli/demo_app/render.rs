//! Writes the metrics in the format that a scraper prefers.

use super::metrics::Metrics;
use anyhow::Context;
use exposition::{AddedLabels, Format, Limits, Merge, OutputFormat, Reader};
use flate2::{Compression, write::GzEncoder};
use prometheus_client::encoding::{prometheus_protobuf, text};
use std::io::Write;

/// Size of a chunk for the compressor in bytes.
const CHUNK: usize = 64 << 10;

/// The exposition in `output`, compressed with gzip if `gzip` is set.
///
/// prometheus-client writes its registry as protobuf or as OpenMetrics. The types that it does not
/// have are written as OpenMetrics. The merge converts both to the output.
///
/// # Errors
/// Returns an error if a metric cannot be encoded, for example because its name is invalid.
pub(super) fn render(
    metrics: &Metrics,
    output: OutputFormat,
    gzip: bool,
) -> anyhow::Result<Vec<u8>> {
    let is_protobuf = output.format() == Format::Protobuf;
    let (registry, format) = if is_protobuf {
        // Only this format has native histograms.
        (prometheus_protobuf::encode_to_vec(&metrics.registry)?, Format::Protobuf)
    } else {
        let mut body = String::new();
        text::encode(&mut body, &metrics.registry)?;
        (body.into_bytes(), Format::OpenMetrics100)
    };
    let has_created = !matches!(output.format(), Format::Text004 | Format::Text100);
    let mut other_types = String::new();
    metrics.write_other_types(has_created, &mut other_types)?;
    text::encode_eof(&mut other_types)?;

    let reader = Reader::new(output, Limits::default());
    let parse = |body, format| reader.parse(body, format, AddedLabels::new([]));
    let registry = parse(registry, format).context("the registry")?;
    let other_types =
        parse(other_types.into_bytes(), Format::OpenMetrics100).context("other types")?;
    let merge = Merge::new(output, vec![registry, other_types]);
    if gzip { compressed(merge) } else { Ok(plain(merge)) }
}

fn plain(mut merge: Merge) -> Vec<u8> {
    let mut body = Vec::with_capacity(merge.content_length() as usize);
    while merge.next_chunk(&mut body, CHUNK) {}
    body
}

fn compressed(merge: Merge) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    match merge.compress() {
        Ok(mut lines) => {
            while let Some(chunk) = lines.next_chunk(CHUNK) {
                body.extend_from_slice(&chunk);
            }
        }
        // The compressor of lines does not support protobuf.
        Err(merge) => {
            let mut encoder = GzEncoder::new(&mut body, Compression::fast());
            encoder.write_all(&plain(merge))?;
            encoder.finish()?;
        }
    }
    Ok(body)
}
