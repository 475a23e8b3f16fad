//! Storage and memory of a Prometheus server, from its own metrics.

use crate::query::metrics_text::{TextSample, samples};

/// Sizes of files. All of them count for the retention by size. Until the first block is written,
/// two hours after the start, all samples are in the log.
const BLOCKS: &str = "prometheus_tsdb_storage_blocks_bytes";
const LOG: &str = "prometheus_tsdb_wal_storage_size_bytes";
const HEAD_CHUNKS: &str = "prometheus_tsdb_head_chunks_storage_size_bytes";
const SERIES: &str = "prometheus_tsdb_head_series";
const MEMORY: &str = "process_resident_memory_bytes";

/// Storage of a Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Bytes in files. `None` if this version of Prometheus does not export the size of its log.
    pub bytes: Option<u64>,
    /// Active series.
    pub series: u64,
}

/// The metrics that pages show. Each is `None` if the server does not export it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnMetrics {
    pub(super) storage: Option<Storage>,
    /// Resident memory, bytes.
    pub(super) memory: Option<u64>,
}

impl OwnMetrics {
    pub(super) fn of(body: &[u8]) -> Self {
        let [mut blocks, mut log, mut head_chunks, mut series, mut memory] = [None; 5];
        for TextSample { name, value, .. } in samples(&String::from_utf8_lossy(body)) {
            let found = match name {
                BLOCKS => &mut blocks,
                LOG => &mut log,
                HEAD_CHUNKS => &mut head_chunks,
                SERIES => &mut series,
                MEMORY => &mut memory,
                _ => continue,
            };
            // The cast saturates: negative values become 0.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let value = value as u64;
            *found = Some(value);
        }
        let bytes = blocks.zip(log).map(|(blocks, log): (u64, u64)| {
            blocks.saturating_add(log).saturating_add(head_chunks.unwrap_or_default())
        });
        let has_storage = blocks.or(log).or(series).is_some();
        let series = series.unwrap_or_default();
        Self { storage: has_storage.then_some(Storage { bytes, series }), memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_this_version_does_not_export_are_unknown() {
        let metrics = "# TYPE x gauge\nprometheus_tsdb_storage_blocks_bytes 1.5e+06\n\
            prometheus_tsdb_wal_storage_size_bytes 100\nprometheus_tsdb_head_series 7\nup{} 1\n\
            process_resident_memory_bytes 7.3400320e+07\n";
        let storage = Some(Storage { bytes: Some(1_500_100), series: 7 });
        let expected = OwnMetrics { storage, memory: Some(73_400_320) };
        assert_eq!(OwnMetrics::of(metrics.as_bytes()), expected);
        let without_memory = OwnMetrics { storage: Some(Storage::default()), memory: None };
        assert_eq!(OwnMetrics::of(b"prometheus_tsdb_head_series NaN"), without_memory);
        // Prometheus 2.42 before its first block: the samples are in a log whose size is unknown.
        let new = b"prometheus_tsdb_storage_blocks_bytes 0\nprometheus_tsdb_head_series 7\n\
            prometheus_tsdb_head_chunks_storage_size_bytes 0\n";
        let storage = Some(Storage { bytes: None, series: 7 });
        assert_eq!(OwnMetrics::of(new), OwnMetrics { storage, memory: None });
        for body in ["", "<html>", "prometheus_tsdb_head_series x"] {
            assert_eq!(OwnMetrics::of(body.as_bytes()), OwnMetrics::default(), "{body}");
        }
        assert_eq!(OwnMetrics::of(&[0xff, b'\n']), OwnMetrics::default());
    }
}
