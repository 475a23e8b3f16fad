//! The number of exemplars that follows from the memory of a plan.

/// Memory per exemplar with its labels, in bytes. One with a trace id needs about 200. With 128
/// characters in as many labels as possible it needs about 2,500.
const EXEMPLAR_SIZE: u64 = 512;
/// Exemplars may use this fraction of the memory.
const MEMORY_DIVISOR: u64 = 64;
/// The default of Prometheus.
const MAX_EXEMPLARS: u64 = 100_000;

/// The number of exemplars for a plan with `memory_limit` bytes. A new exemplar replaces the oldest
/// one when it is reached.
pub(super) fn max_exemplars(memory_limit: u64) -> u64 {
    (memory_limit / MEMORY_DIVISOR / EXEMPLAR_SIZE).clamp(1, MAX_EXEMPLARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exemplars_use_a_part_of_the_memory() {
        for (limit, exemplars) in
            [(1, 1), (64 << 20, 2048), (1 << 30, 32_768), (4 << 30, 100_000), (64 << 30, 100_000)]
        {
            assert_eq!(max_exemplars(limit), exemplars, "{limit}");
        }
    }
}
