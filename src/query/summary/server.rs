//! Storage and memory of a Prometheus server, from its own metrics.

use crate::query::metrics_text::{TextSample, samples};

/// Metrics of the bytes in files.
const STORED: [&str; 3] = [
    "prometheus_tsdb_storage_blocks_bytes",
    "prometheus_tsdb_wal_storage_size_bytes",
    "prometheus_tsdb_head_chunks_storage_size_bytes",
];
const SERIES: &str = "prometheus_tsdb_head_series";
const MEMORY: &str = "process_resident_memory_bytes";

/// Storage of a Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storage {
    /// Bytes in files, as far as this version of Prometheus exports them.
    pub bytes: u64,
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
        let mut found = Self::default();
        for TextSample { name, value, .. } in samples(&String::from_utf8_lossy(body)) {
            // The cast saturates: negative values become 0.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            let value = value as u64;
            if STORED.contains(&name) {
                let storage = found.storage.get_or_insert_default();
                storage.bytes = storage.bytes.saturating_add(value);
            } else if name == SERIES {
                found.storage.get_or_insert_default().series = value;
            } else if name == MEMORY {
                found.memory = Some(value);
            }
        }
        found
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
        let storage = Some(Storage { bytes: 1_500_100, series: 7 });
        let expected = OwnMetrics { storage, memory: Some(73_400_320) };
        assert_eq!(OwnMetrics::of(metrics.as_bytes()), expected);
        let without_memory = OwnMetrics { storage: Some(Storage::default()), memory: None };
        assert_eq!(OwnMetrics::of(b"prometheus_tsdb_head_series NaN"), without_memory);
        for body in ["", "<html>", "prometheus_tsdb_head_series x"] {
            assert_eq!(OwnMetrics::of(body.as_bytes()), OwnMetrics::default(), "{body}");
        }
        assert_eq!(OwnMetrics::of(&[0xff, b'\n']), OwnMetrics::default());
    }
}
