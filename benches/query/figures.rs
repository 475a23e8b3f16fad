//! Medians, percentiles and errors of results.

use crate::load::QueryResult;
use std::time::Duration;

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The latency, in milliseconds, that a share of the answered queries does not exceed.
pub(crate) fn percentile<'a>(
    queries: impl IntoIterator<Item = &'a QueryResult>,
    share: f64,
) -> f64 {
    let answered = queries.into_iter().filter(|it| it.error.is_none());
    let mut latencies: Vec<_> = answered.map(|it| millis(it.latency)).collect();
    latencies.sort_by(f64::total_cmp);
    let last = latencies.len().saturating_sub(1) as f64;
    latencies.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The median of the rounds, with the lowest and the highest value.
pub(crate) fn spread(rounds: impl IntoIterator<Item = f64>) -> String {
    let mut rounds: Vec<_> = rounds.into_iter().collect();
    rounds.sort_by(f64::total_cmp);
    let at = |index: usize| rounds.get(index).copied().unwrap_or(f64::NAN);
    let last = rounds.len().saturating_sub(1);
    format!("{:.2} ({:.2} to {:.2})", at(rounds.len() / 2), at(0), at(last))
}

/// Prints an error if queries failed. Returns their number.
pub(crate) fn report_failures(what: &str, queries: &[QueryResult]) -> usize {
    let errors: Vec<_> = queries.iter().filter_map(|it| it.error.as_ref()).collect();
    if let Some(first) = errors.first() {
        println!("ERROR: {what}: {} of {} queries failed: {first}", errors.len(), queries.len());
    }
    errors.len()
}
