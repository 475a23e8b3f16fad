//! Summaries of the last scrapes of apps.

use super::{LastScrape, ScrapeFailure, ScrapedBy};
use crate::domain::AppGuid;
use std::{
    cmp::Reverse,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The last scrapes of an app's instances.
#[derive(Clone, Debug)]
pub struct AppSummary {
    /// Number of instances whose last scrape succeeded.
    pub up: u32,
    /// Number of instances whose last scrape failed.
    pub failing: u32,
    /// Samples of the instances that are up.
    pub samples: u64,
    /// Size of their bodies after decompression.
    pub bytes: u64,
    /// Duration of the slowest instance. It decides whether a scrape meets its deadline.
    pub slowest: Duration,
    /// Time of the last scrape of any instance.
    pub at: SystemTime,
    /// The latest failure of the instances that are failing.
    pub failure: Option<Arc<ScrapeFailure>>,
    pub scraped_by: Arc<ScrapedBy>,
}

impl AppSummary {
    /// None without an instance.
    pub(super) fn of<'a>(
        instances: impl Iterator<Item = (SocketAddr, &'a LastScrape)>,
        scraped_by: &Arc<ScrapedBy>,
    ) -> Option<Self> {
        let mut summary = Self {
            up: 0,
            failing: 0,
            samples: 0,
            bytes: 0,
            slowest: Duration::ZERO,
            at: SystemTime::UNIX_EPOCH,
            failure: None,
            scraped_by: Arc::clone(scraped_by),
        };
        // Of failures of one scrape the lowest address counts, so that the result is stable.
        let mut latest_failure = None;
        for (address, last) in instances {
            summary.at = summary.at.max(last.at);
            summary.slowest = summary.slowest.max(last.duration);
            match &last.result {
                Ok(samples) => {
                    summary.up += 1;
                    summary.samples += *samples as u64;
                    summary.bytes += last.size().unwrap_or_default();
                }
                Err(failure) => {
                    summary.failing += 1;
                    let found = (last.at, Reverse(address));
                    if latest_failure.is_none_or(|latest| latest < found) {
                        latest_failure = Some(found);
                        summary.failure = Some(Arc::clone(failure));
                    }
                }
            }
        }
        (summary.up + summary.failing > 0).then_some(summary)
    }
}

/// The last scrapes of all apps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrapeTotals {
    /// Number of instances whose last scrape succeeded.
    pub up: usize,
    /// Number of instances whose last scrape failed.
    pub failing: usize,
    /// Number of apps whose scraped instances all work.
    pub apps_up: usize,
    /// Apps whose scraped instances all fail.
    pub apps_down: AppCount,
    /// Apps with working and failing instances.
    pub apps_degraded: AppCount,
}

/// Number of examples in an [`AppCount`].
const EXAMPLES: usize = 3;

/// Number of apps in one state, with some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppCount {
    pub count: usize,
    /// The apps with the lowest ids, at most three.
    pub examples: Vec<AppGuid>,
}

impl AppCount {
    fn add(&mut self, app: &AppGuid) {
        self.count += 1;
        let position = self.examples.partition_point(|other| other < app);
        if position < EXAMPLES {
            self.examples.insert(position, app.clone());
            self.examples.truncate(EXAMPLES);
        }
    }
}

impl ScrapeTotals {
    pub(super) fn add(&mut self, id: &AppGuid, app: &AppSummary) {
        self.up += app.up as usize;
        self.failing += app.failing as usize;
        match (app.up, app.failing) {
            (_, 0) => self.apps_up += 1,
            (0, _) => self.apps_down.add(id),
            _ => self.apps_degraded.add(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_a_count_do_not_depend_on_the_order() {
        let ids = ["d", "b", "e", "a", "c"].map(|id| id.parse::<AppGuid>().unwrap());
        let mut count = AppCount::default();
        ids.iter().for_each(|id| count.add(id));
        let examples: Vec<_> = count.examples.iter().map(AppGuid::as_str).collect();
        assert_eq!((count.count, examples), (5, vec!["a", "b", "c"]));
    }
}
