//! Query limits that follow from the memory of a plan.

/// Memory per sample of a query, including garbage, in bytes.
const SAMPLE_SIZE: u64 = 32;
/// All queries together may use this fraction of the memory for samples.
const QUERY_DIVISOR: u64 = 4;
/// Memory of the plan per concurrent query, in bytes.
const MEMORY_PER_QUERY: u64 = 256 << 20;
/// Maximum number of concurrent queries: the default of Prometheus.
const MAX_QUERIES: u64 = 20;

/// Flags for a plan with `memory_limit` bytes.
///
/// Prometheus rejects a query that loads more samples, and continues to run.
pub(super) fn flags(memory_limit: u64) -> [(&'static str, String); 2] {
    let concurrency = (memory_limit / MEMORY_PER_QUERY).clamp(2, MAX_QUERIES);
    let samples = (memory_limit / QUERY_DIVISOR / SAMPLE_SIZE / concurrency).max(1);
    [("query.max-concurrency", concurrency.to_string()), ("query.max-samples", samples.to_string())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_share_a_part_of_the_memory() {
        for (limit, concurrency, samples) in [
            (64 << 20, "2", "262144"),
            (1 << 30, "4", "2097152"),
            (64 << 30, "20", "26843545"),
            (1, "2", "1"),
        ] {
            let [(_, found_concurrency), (_, found_samples)] = flags(limit);
            assert_eq!((&*found_concurrency, &*found_samples), (concurrency, samples), "{limit}");
        }
    }
}
