//! Limits of queries that follow from the memory of a plan.

/// ProcessMemory per sample of a query, with what the garbage collector has not freed yet, in bytes.
const SAMPLE_SIZE: u64 = 32;
/// The part of the plan's memory that all queries together may fill with samples: one in so many.
const QUERY_PART: u64 = 4;
/// ProcessMemory of the plan, in bytes, that allows one more query at a time.
const MEMORY_OF_QUERY: u64 = 256 << 20;
/// Most queries at a time: the default of Prometheus.
const MOST_QUERIES: u64 = 20;

/// Flags of Prometheus for a plan with `memory_limit` bytes.
///
/// A query that loads more samples fails with an error of Prometheus, and the server goes on.
pub(super) fn flags(memory_limit: u64) -> [(&'static str, String); 2] {
    let concurrency = (memory_limit / MEMORY_OF_QUERY).clamp(2, MOST_QUERIES);
    let samples = (memory_limit / QUERY_PART / SAMPLE_SIZE / concurrency).max(1);
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
