//! Strategies select the replicas of a pool that get queries.

use super::health::Health;
use std::{cmp::Ordering, fmt, str::FromStr, time::Duration};

/// Differences between histories below this do not count.
const MIN_HISTORY_DIFFERENCE: Duration = Duration::from_secs(60);
/// Share of the longest history by which others may be shorter without being worse.
const HISTORY_TOLERANCE: f64 = 0.01;
/// Share of the largest number of samples that the selected replica must have to stay selected.
const SAMPLES_TOLERANCE: f64 = 0.9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The replica with the longest history; of equal ones, the one with the most samples.
    SingleMostData,
    /// All replicas with at least this history. If none has it, the one with the longest.
    MinimumHistory(Duration),
    /// All healthy replicas.
    Random,
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "single-most-data" => Ok(Self::SingleMostData),
            None if text == "random" => Ok(Self::Random),
            Some(("minimum-history", history)) => match humantime::parse_duration(history.trim()) {
                Ok(history) if !history.is_zero() => Ok(Self::MinimumHistory(history)),
                _ => Err("minimum-history needs a duration, as in minimum-history:24h".to_owned()),
            },
            _ => {
                Err("is not one of: single-most-data, minimum-history:DURATION, random".to_owned())
            }
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SingleMostData => f.write_str("single-most-data"),
            Self::MinimumHistory(history) => {
                write!(f, "minimum-history:{}", humantime::format_duration(*history))
            }
            Self::Random => f.write_str("random"),
        }
    }
}

/// What a strategy knows of a replica.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) health: Health,
    pub(super) history: Option<Duration>,
    pub(super) samples_appended: Option<f64>,
    /// Whether the last selection contains it.
    pub(super) was_selected: bool,
}

/// Replicas by preference, as indexes of the candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) order: Vec<usize>,
    /// The first of `order` are selected. The others get queries if these fail.
    pub(super) selected: usize,
    /// Whether none of the candidates fulfils the strategy.
    pub(super) is_fallback: bool,
}

impl Strategy {
    /// Selects at least one replica if there is any: an unhealthy one if all are unhealthy.
    pub(super) fn select(self, candidates: &[Candidate]) -> Selection {
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        // A stable sort: equal replicas keep the order of their URLs.
        order.sort_by(|a, b| match (candidates.get(*a), candidates.get(*b)) {
            (Some(a), Some(b)) => by_preference(a, b),
            _ => Ordering::Equal,
        });
        let Some(best) = order.first().and_then(|first| candidates.get(*first)) else {
            return Selection::default();
        };
        let healthy = best.health == Health::Healthy;
        let selected: Vec<usize> = match self {
            Self::Random if healthy => {
                selected(candidates, |it| it.health == Health::Healthy).collect()
            }
            Self::MinimumHistory(least) if healthy => {
                let has_history = |it: &Candidate| it.history.is_some_and(|it| it >= least);
                selected(candidates, |it| it.health == Health::Healthy && has_history(it)).collect()
            }
            _ => Vec::new(),
        };
        let is_fallback = selected.is_empty() && self != Self::SingleMostData || !healthy;
        let selected = match selected.is_empty() {
            true => vec![most_data(candidates, &order, best)],
            false => selected,
        };
        order.retain(|it| !selected.contains(it));
        let count = selected.len();
        Selection { order: [selected, order].concat(), selected: count, is_fallback }
    }
}

fn selected(
    candidates: &[Candidate],
    is_selected: impl Fn(&Candidate) -> bool,
) -> impl Iterator<Item = usize> {
    let found = candidates.iter().enumerate().filter(move |(_, it)| is_selected(it));
    found.map(|(index, _)| index)
}

/// Good health first, then the longest history, then the most samples.
fn by_preference(a: &Candidate, b: &Candidate) -> Ordering {
    let samples = |it: &Candidate| it.samples_appended.unwrap_or(0.0);
    let health = a.health.cmp(&b.health);
    health.then(b.history.cmp(&a.history)).then(samples(b).total_cmp(&samples(a)))
}

/// The best replica. The one that was selected stays selected unless another one is clearly better,
/// so that equal replicas do not alternate.
fn most_data(candidates: &[Candidate], order: &[usize], best: &Candidate) -> usize {
    let history = |it: &Candidate| it.history.unwrap_or_default();
    let tolerance = history(best).mul_f64(HISTORY_TOLERANCE).max(MIN_HISTORY_DIFFERENCE);
    let is_close = |it: &Candidate| {
        it.health == best.health && history(it).saturating_add(tolerance) >= history(best)
    };
    let close = order.iter().filter_map(|index| Some((*index, candidates.get(*index)?)));
    let close: Vec<_> = close.filter(|(_, it)| is_close(it)).collect();
    let samples = |it: &Candidate| it.samples_appended.unwrap_or(0.0);
    let most = close.iter().map(|(_, it)| samples(it)).fold(0.0, f64::max);
    let stays = |it: &Candidate| it.was_selected && samples(it) >= most * SAMPLES_TOLERANCE;
    let stays = close.iter().find(|(_, it)| stays(it));
    let most = close.iter().find(|(_, it)| samples(it) >= most);
    stays.or(most).map_or(0, |(index, _)| *index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn candidate(health: Health, hours: u32, samples: f64, was_selected: bool) -> Candidate {
        Candidate {
            health,
            history: Some(HOUR * hours),
            samples_appended: Some(samples),
            was_selected,
        }
    }

    fn first(strategy: Strategy, candidates: &[Candidate]) -> usize {
        let selection = strategy.select(candidates);
        assert_eq!(selection.selected, 1);
        selection.order[0]
    }

    #[test]
    fn the_longest_history_is_selected_and_the_rest_follows() {
        use Health::{Healthy, NotReady, Stale};
        let candidates = [
            candidate(NotReady, 900, 9.0, false),
            candidate(Healthy, 10, 9.0, false),
            candidate(Stale, 500, 9.0, true),
            candidate(Healthy, 20, 1.0, false),
        ];
        let selection = Strategy::SingleMostData.select(&candidates);
        let expected = Selection { order: vec![3, 1, 2, 0], selected: 1, is_fallback: false };
        assert_eq!(selection, expected);
    }

    #[test]
    fn equal_replicas_do_not_alternate() {
        use Health::Healthy;
        for was in [0, 1] {
            for (a, b) in [(1000.0, 1001.0), (1001.0, 1000.0), (1000.0, 1099.0)] {
                let candidates =
                    [candidate(Healthy, 10, a, was == 0), candidate(Healthy, 10, b, was == 1)];
                assert_eq!(first(Strategy::SingleMostData, &candidates), was, "{a} {b}");
            }
        }
        // Histories that differ by less than a percent are equal.
        let mut candidates =
            [candidate(Healthy, 1000, 10.0, false), candidate(Healthy, 995, 10.0, true)];
        assert_eq!(first(Strategy::SingleMostData, &candidates), 1);
        candidates[1].history = Some(HOUR * 980);
        assert_eq!(first(Strategy::SingleMostData, &candidates), 0);
    }

    #[test]
    fn a_restart_resets_the_counter_and_moves_the_selection() {
        use Health::Healthy;
        let candidates =
            [candidate(Healthy, 10, 5.0, true), candidate(Healthy, 10, 100_000.0, false)];
        assert_eq!(first(Strategy::SingleMostData, &candidates), 1);
    }

    #[test]
    fn unhealthy_replicas_are_selected_if_there_are_no_others() {
        use Health::{NotReady, Stale, Unreachable};
        let candidates = [
            candidate(Unreachable, 0, 0.0, true),
            candidate(NotReady, 10, 1.0, false),
            candidate(Stale, 1, 1.0, false),
        ];
        let longest = Strategy::MinimumHistory(HOUR);
        for strategy in [Strategy::SingleMostData, Strategy::Random, longest] {
            let selection = strategy.select(&candidates);
            assert_eq!(selection.order, [2, 1, 0], "{strategy}");
            assert!(selection.selected == 1 && selection.is_fallback, "{strategy}");
        }
        assert_eq!(Strategy::Random.select(&[]), Selection::default());
    }

    #[test]
    fn all_replicas_with_the_minimum_history_are_selected() {
        use Health::{Healthy, Stale};
        let candidates = [
            candidate(Healthy, 5, 1.0, false),
            candidate(Healthy, 24, 1.0, false),
            candidate(Stale, 100, 1.0, false),
            candidate(Healthy, 30, 1.0, false),
            Candidate { history: None, ..candidate(Healthy, 0, 1.0, false) },
        ];
        let selection = Strategy::MinimumHistory(HOUR * 24).select(&candidates);
        let expected = Selection { order: vec![1, 3, 0, 4, 2], selected: 2, is_fallback: false };
        assert_eq!(selection, expected);
        let selection = Strategy::MinimumHistory(HOUR * 50).select(&candidates);
        let expected = Selection { order: vec![3, 1, 0, 4, 2], selected: 1, is_fallback: true };
        assert_eq!(selection, expected, "the longest one, if none has it");
    }

    #[test]
    fn all_healthy_replicas_are_random() {
        use Health::{Healthy, Stale};
        let candidates = [
            candidate(Healthy, 5, 1.0, false),
            candidate(Stale, 24, 1.0, false),
            candidate(Healthy, 1, 1.0, false),
        ];
        let selection = Strategy::Random.select(&candidates);
        assert_eq!((selection.order, selection.selected), (vec![0, 2, 1], 2));
    }

    #[test]
    fn strategies_are_read_and_written() {
        for text in ["single-most-data", "random", "minimum-history:1day", "minimum-history:30m"] {
            assert_eq!(text.parse::<Strategy>().unwrap().to_string(), text);
        }
        assert_eq!("minimum-history:24h".parse(), Ok(Strategy::MinimumHistory(HOUR * 24)));
        for text in
            ["", "most", "minimum-history", "minimum-history:", "minimum-history:0s", "random:1"]
        {
            assert!(text.parse::<Strategy>().is_err(), "{text}");
        }
    }
}
