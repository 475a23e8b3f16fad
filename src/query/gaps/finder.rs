//! Counts the scrapes of the replicas of a pool in the background, and finds their gaps.

use super::{
    KnownGaps, ReplicaGaps, TimeRange, TimeRanges,
    comparison::{Resolution, compare},
    data_read::seconds,
    scrape_counts::{ScrapeCounts, Scrapes},
};
use crate::query::{
    Health, Pool, PoolReplica, PrometheusClient, Upstream, replica_api::ReplicaApi,
    unix_milliseconds,
};
use futures_util::future::join_all;
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Numbers of scrapes that are kept: for the last hours, and for a month in large steps.
const MAX_RECENT: usize = 10_000;
const MAX_OLD: usize = 8_640;
/// Minimum step of old numbers, milliseconds.
const MIN_OLD_STEP: i64 = 5 * 60 * 1000;
/// Maximum number of numbers in one request.
const MAX_REQUESTED: i64 = 2000;
/// Minimum after failures: a server may refuse expensive queries.
const MIN_REQUESTED: i64 = 60;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);
/// Pause after failures in a row.
const MAX_PAUSE: Duration = Duration::from_secs(600);
/// Maximum size of a response, bytes.
const MAX_RESPONSE: u64 = 1 << 20;
/// Maximum number of gaps of a replica. More are joined.
const MAX_GAPS: usize = 1000;
/// Used for servers that do not report a scrape interval, milliseconds.
const DEFAULT_INTERVAL: i64 = 60_000;

/// Keeps the gaps of a pool current.
pub(in crate::query) struct GapFinder {
    pool: Pool,
    client: PrometheusClient,
    intervals: Intervals,
    replicas: HashMap<Arc<str>, Counted>,
}

/// The shortest and the longest scrape interval of all replicas, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Intervals {
    shortest: i64,
    longest: i64,
}

/// The scrapes of a replica.
#[derive(Clone, Debug)]
struct Counted {
    /// Time of its oldest sample when it was last known, milliseconds.
    oldest: Option<i64>,
    recent: ScrapeCounts,
    old: ScrapeCounts,
    /// Interruptions before the last number.
    interruptions: u64,
    /// More interruptions, and when they were counted, milliseconds since 1970.
    later_interruptions: Option<(u64, i64)>,
    /// Maximum number of numbers in the next request.
    requested: i64,
    /// Failed requests in a row.
    failed: u32,
    next: Instant,
}

impl GapFinder {
    pub(in crate::query) fn new(pool: Pool, client: PrometheusClient) -> Self {
        let intervals = Intervals { shortest: DEFAULT_INTERVAL, longest: DEFAULT_INTERVAL };
        Self { pool, client, intervals, replicas: HashMap::new() }
    }

    /// Runs until it is dropped.
    pub(in crate::query) async fn run(mut self) {
        if !self.pool.settings().fill_gaps {
            return;
        }
        let mut ticks = interval(self.pool.settings().selection_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.find().await;
        }
    }

    async fn find(&mut self) {
        let interruptions = self.client.states.interruptions();
        let snapshot = self.pool.snapshot();
        let replicas = &snapshot.replicas;
        let intervals = Intervals::of(replicas, self.intervals);
        if intervals != self.intervals {
            self.intervals = intervals;
            self.replicas.clear();
        }
        let urls: HashSet<&str> = replicas.iter().map(|it| &*it.server.url).collect();
        self.replicas.retain(|url, _| urls.contains(&**url));
        for replica in replicas {
            let counted = self.replicas.entry(Arc::clone(&replica.server.url));
            counted.or_insert_with(Counted::new).measure(replica);
        }
        // A single replica has nothing to compare with.
        if replicas.len() > 1 {
            self.count(replicas).await;
        }
        let known = self.known(replicas, interruptions);
        self.pool.publish_gaps(known);
    }

    /// Asks all replicas for numbers that are not known yet.
    async fn count(&mut self, replicas: &[PoolReplica]) {
        let upstream = self.pool.upstream(Vec::new(), String::new());
        let oldest = self.oldest();
        let (client, intervals) = (&self.client, self.intervals);
        let counting = replicas.iter().map(|replica| {
            let url = &replica.server.url;
            let counted = self.replicas.get(url).cloned();
            let (counted, upstream) = (counted.unwrap_or_else(Counted::new), &upstream);
            async move {
                let counted = Counting { client, upstream, replica, intervals, oldest, counted };
                (Arc::clone(url), counted.run().await)
            }
        });
        self.replicas = join_all(counting).await.into_iter().collect();
    }

    /// `interruptions`: those of all servers until now.
    fn known(&self, replicas: &[PoolReplica], interruptions: u64) -> KnownGaps {
        let counted: Vec<_> = replicas
            .iter()
            .filter_map(|it| Some((it, self.replicas.get(&it.server.url)?)))
            .collect();
        let (recent, old) = (self.intervals.recent(), self.intervals.old());
        let all = |of: fn(&Counted) -> &ScrapeCounts| -> Vec<&ScrapeCounts> {
            counted.iter().map(|(_, it)| of(it)).collect()
        };
        let recent_gaps = compare(recent, &all(|it| &it.recent));
        let old_gaps = compare(old, &all(|it| &it.old));
        let oldest = self.oldest();
        let found = counted.iter().zip(recent_gaps.into_iter().zip(old_gaps));
        let gaps =
            |((replica, counted), (recent_gaps, old_gaps)): (&(&PoolReplica, &Counted), _)| {
                let (mut gaps, old_gaps): (TimeRanges, TimeRanges) = (recent_gaps, old_gaps);
                let known = |counts: &ScrapeCounts, step: i64| {
                    counts.known().map(|it| (it.start() * step, it.end() * step))
                };
                let (recent, old) =
                    (known(&counted.recent, recent.step), known(&counted.old, old.step));
                let recent_since = recent.map_or(TimeRange::OPEN_END, |(since, _)| since);
                for gap in old_gaps.iter() {
                    gaps.insert(TimeRange { end: gap.end.min(recent_since), ..*gap });
                }
                if let Some(own) = counted.oldest
                    && own > oldest.saturating_add(2 * self.intervals.longest)
                {
                    gaps.insert(TimeRange { start: i64::MIN, end: own });
                }
                if let Some((_, until)) = recent
                    && replica.health >= Health::NotReady
                {
                    gaps.insert(TimeRange { start: until, end: TimeRange::OPEN_END });
                }
                gaps.limit(MAX_GAPS);
                let since = old.or(recent).map(|(since, _)| since);
                let (until, interruptions) =
                    (recent.map(|(_, until)| until), counted.interruptions);
                (Arc::clone(&replica.server.url), ReplicaGaps { gaps, since, until, interruptions })
            };
        let is_current = counted.iter().all(|(_, it)| it.later_interruptions.is_none());
        KnownGaps::new(found.map(gaps).collect(), oldest, is_current.then_some(interruptions))
    }

    /// Time of the oldest sample of all replicas, also of those that do not respond now.
    fn oldest(&self) -> i64 {
        self.replicas.values().filter_map(|it| it.oldest).min().unwrap_or(i64::MIN)
    }
}

impl Intervals {
    /// `last`: used while no replica reports any.
    fn of(replicas: &[PoolReplica], last: Self) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a scrape interval")]
        let milliseconds = |it: f64| ((it * 1e3) as i64).max(100);
        let shortest = replicas.iter().filter_map(|it| it.measurement.scrape_interval);
        let longest = replicas.iter().filter_map(|it| it.measurement.longest_scrape_interval);
        Self {
            shortest: shortest.map(milliseconds).min().unwrap_or(last.shortest),
            longest: longest.map(milliseconds).max().unwrap_or(last.longest),
        }
    }

    /// Two scrapes of each target are in each window, and more of those with a shorter interval. A
    /// scrape that is a little late is in the next window, but not in the next two.
    fn recent(self) -> Resolution {
        Resolution {
            step: self.shortest / 2,
            window: 2 * self.longest,
            tolerance: (0.02, 0.5),
            confirmations: 2,
        }
    }

    fn old(self) -> Resolution {
        let intervals = (MIN_OLD_STEP / self.longest).max(2);
        let step = intervals * self.longest;
        Resolution { step, window: step, tolerance: (0.04, 1.5), confirmations: 1 }
    }

    /// After this long, milliseconds, all scrapes of a time are stored.
    fn delay(self) -> i64 {
        self.shortest.clamp(2000, 15_000)
    }
}

impl Counted {
    #[expect(clippy::cast_possible_truncation, reason = "a time of this century")]
    fn measure(&mut self, replica: &PoolReplica) {
        let oldest = replica.measurement.oldest_sample;
        self.oldest = oldest.map(|it| (it * 1e3) as i64).or(self.oldest);
    }

    fn new() -> Self {
        Self {
            oldest: None,
            recent: ScrapeCounts::new(MAX_RECENT),
            old: ScrapeCounts::new(MAX_OLD),
            interruptions: 0,
            later_interruptions: None,
            requested: MAX_REQUESTED,
            failed: 0,
            next: Instant::now(),
        }
    }
}

/// Adds numbers of one replica.
struct Counting<'a> {
    client: &'a PrometheusClient,
    upstream: &'a Upstream,
    replica: &'a PoolReplica,
    intervals: Intervals,
    /// Time of the oldest sample of the pool.
    oldest: i64,
    counted: Counted,
}

impl Counting<'_> {
    async fn run(mut self) -> Counted {
        if self.replica.health >= Health::NotReady || Instant::now() < self.counted.next {
            return self.counted;
        }
        let (recent, old) = (self.intervals.recent(), self.intervals.old());
        let requested = self.counted.requested;
        // New numbers first, then older ones.
        for (resolution, of) in [
            (recent, (|it| &mut it.recent) as fn(&mut Counted) -> &mut ScrapeCounts),
            (recent, |it| &mut it.recent),
            (old, |it| &mut it.old),
        ] {
            let (oldest, newest) = self.bounds(resolution);
            let Some(range) = of(&mut self.counted).unknown(oldest, newest, requested) else {
                continue;
            };
            let first = *range.start();
            let found = timeout(REQUEST_TIMEOUT, self.request(resolution, range)).await;
            match found.unwrap_or_else(|_| Err("it took too long".to_owned())) {
                Ok(counts) => of(&mut self.counted).add(first, counts),
                Err(why) => {
                    self.failed(&why);
                    return self.counted;
                }
            }
        }
        self.counted.failed = 0;
        self.count_interruptions(recent.step);
        self.counted
    }

    /// An interruption may be the beginning of a gap, until later scrapes are counted.
    fn count_interruptions(&mut self, step: i64) {
        let counted = &mut self.counted;
        let until = counted.recent.known().map_or(i64::MIN, |it| it.end() * step);
        if let Some((interruptions, _)) =
            counted.later_interruptions.take_if(|(_, at)| *at <= until)
        {
            counted.interruptions = interruptions;
        }
        let interruptions = self.replica.state.interruptions();
        if counted.later_interruptions.is_none() && interruptions != counted.interruptions {
            counted.later_interruptions = Some((interruptions, unix_milliseconds()));
        }
    }

    /// The first and the last index that can be known.
    fn bounds(&self, resolution: Resolution) -> (i64, i64) {
        let newest = (unix_milliseconds() - self.intervals.delay()).div_euclid(resolution.step);
        (self.oldest.div_euclid(resolution.step), newest)
    }

    fn failed(&mut self, why: &str) {
        let counted = &mut self.counted;
        counted.requested = (counted.requested / 2).max(MIN_REQUESTED);
        let pause = Duration::from_secs(1 << counted.failed.min(10)).min(MAX_PAUSE);
        counted.next = Instant::now() + pause;
        if counted.failed == 0 {
            let replica = &*self.replica.server.name;
            tracing::warn!(replica, why, "the scrapes of a replica cannot be counted");
        }
        counted.failed += 1;
    }

    async fn request(
        &self,
        resolution: Resolution,
        range: RangeInclusive<i64>,
    ) -> Result<Vec<Scrapes>, String> {
        #[derive(Deserialize)]
        struct Matrix {
            result: Vec<Series>,
        }
        #[derive(Deserialize)]
        struct Series {
            metric: Metric,
            values: Vec<(f64, String)>,
        }
        #[derive(Deserialize)]
        struct Metric {
            scrapes: String,
        }
        let Resolution { step, window, .. } = resolution;
        let (first, last) = range.into_inner();
        let count = |function: &str, name: &str| {
            format!("label_replace(sum({function}(up[{window}ms])),'scrapes','{name}','','')")
        };
        let query =
            count("count_over_time", "all") + " or " + &count("sum_over_time", "successful");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("query", &query)
            .append_pair("start", &seconds(first * step))
            .append_pair("end", &seconds(last * step))
            .append_pair("step", &seconds(step))
            .append_pair("timeout", "20s")
            .finish();
        let Self { client, upstream, replica, .. } = self;
        let api = ReplicaApi { client, upstream, server: &replica.server };
        let found: Matrix = api.data(&format!("/api/v1/query_range?{query}"), MAX_RESPONSE).await?;
        // Without a value, no target was scraped.
        let length = usize::try_from(last - first + 1).unwrap_or_default();
        let mut counts = vec![Scrapes::default(); length];
        for Series { metric, values } in found.result {
            for (time, value) in values {
                #[expect(clippy::cast_possible_truncation, reason = "a time of this century")]
                let index = (time * 1e3).round() as i64 / step - first;
                let count = usize::try_from(index).ok().and_then(|it| counts.get_mut(it));
                let (Some(count), Ok(value)) = (count, value.parse()) else { continue };
                match &*metric.scrapes {
                    "all" => count.all = value,
                    _ => count.successful = value,
                }
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_intervals_count_while_no_replica_responds() {
        let last = Intervals { shortest: 15_000, longest: 60_000 };
        assert_eq!(Intervals::of(&[], last), last);
    }
}
