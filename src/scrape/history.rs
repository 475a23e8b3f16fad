//! The last scrapes of each instance: for pages, for estimates of memory, and for the choice of
//! formats.
//!
//! Apps are divided among shards, each with a lock of its own. A page that reads the whole history
//! therefore delays a scrape by the time for one shard at most.

mod formats;
mod points;
mod summary;

pub use points::ScrapePoint;
pub use summary::{AppCount, AppSummary, ScrapeTotals};

use super::{
    failure::ScrapeFailure,
    outcome::{ScrapedTarget, TargetOutcome},
    plan::{ScrapePlan, ScrapeTarget, TargetKind},
    request::{NegotiatedFormats, ScrapeRequest},
    scraped_by::ScrapedBy,
};
use crate::{discovery::Snapshot, domain::AppGuid};
use exposition::{Format, IndexedBody};
use foldhash::quality::RandomState;
use formats::{FormatHistory, ObservedFormat};
use points::PointHistory;
use std::{
    array,
    collections::HashMap,
    hash::BuildHasher,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

/// The sizes of a body, as in [`MeasuredBody`](super::outcome::MeasuredBody).
#[derive(Clone, Copy, Debug)]
struct BodySizes {
    bytes: u64,
    memory: u64,
}

#[derive(Clone, Debug)]
pub struct LastScrape {
    /// When it ended.
    pub at: SystemTime,
    pub duration: Duration,
    /// The path without its query, which may contain a key.
    pub path: Box<str>,
    /// Number of samples, or the failure.
    pub result: Result<usize, Arc<ScrapeFailure>>,
    /// Sizes of its last complete body.
    sizes: Option<BodySizes>,
    formats: FormatHistory,
}

impl LastScrape {
    /// Size of the last complete body after decompression, bytes. A failure does not change it.
    pub fn size(&self) -> Option<u64> {
        self.sizes.map(|sizes| sizes.bytes)
    }

    /// Format of the last complete body.
    pub fn format(&self) -> Option<Format> {
        self.formats.latest()
    }
}

/// Assumed size of a body that was never scraped, bytes.
const UNKNOWN: u64 = 64 << 10;

/// Limits the memory of failures, whose details may contain texts of instances.
const MAX_DETAIL: usize = 512;

/// A power of two, several times the number of workers.
const SHARDS: usize = 64;

/// The last scrapes of all instances in the route table, by app.
#[derive(Debug)]
pub struct ScrapeHistory {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// Maximum number of points of each instance. It depends on the number of instances.
    max_points: AtomicUsize,
}

type Shard = HashMap<AppGuid, AppScrapes>;

/// The last scrapes of one app.
#[derive(Debug, Default)]
struct AppScrapes {
    instances: HashMap<SocketAddr, InstanceScrapes>,
    /// Memory of the last complete body of each exporter, by name.
    exporters: HashMap<String, u64>,
    /// None until an instance is scraped.
    scraped_by: Option<Arc<ScrapedBy>>,
}

#[derive(Debug)]
struct InstanceScrapes {
    last: LastScrape,
    points: PointHistory,
}

impl Default for ScrapeHistory {
    fn default() -> Self {
        Self {
            shards: array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            max_points: AtomicUsize::new(points::max_per_instance(0)),
        }
    }
}

impl ScrapeHistory {
    pub(super) fn record(&self, scraped: &[ScrapedTarget], request: &ScrapeRequest) {
        let at = SystemTime::now();
        let max_points = self.max_points.load(Ordering::Relaxed);
        let is_same_app =
            |a: &ScrapedTarget, b: &ScrapedTarget| a.target.app().id == b.target.app().id;
        for of_app in scraped.chunk_by(is_same_app) {
            let Some(first) = of_app.first() else { continue };
            let app = &first.target.app().id;
            let mut shard = self.shard(app);
            let known = shard.entry(app.clone()).or_default();
            for ScrapedTarget { target, outcome } in of_app {
                match &target.kind {
                    TargetKind::Instance(endpoint) => {
                        let address = endpoint.address;
                        known.record_instance(address, at, target, outcome, request, max_points);
                    }
                    TargetKind::Exporter(one) if outcome.result.is_ok() => {
                        known.exporters.insert(one.exporter.name.clone(), outcome.memory);
                    }
                    TargetKind::Exporter(_) => {}
                }
            }
        }
    }

    /// The formats in which the instances last responded to such a request. A later failure does
    /// not remove the format.
    pub fn formats(&self, plan: &ScrapePlan, negotiated: &NegotiatedFormats) -> Vec<Format> {
        let mut formats = Vec::new();
        for target in &plan.targets {
            let Some(endpoint) = target.endpoint() else { continue };
            let path = without_query(&target.path);
            let format = self.read_last(&endpoint.app.id, endpoint.address, |last| {
                last.formats.of(path, negotiated.requested())
            });
            if let Some(format) = format.filter(|format| !formats.contains(format)) {
                formats.push(format);
            }
        }
        formats
    }

    /// Expected memory of all bodies of `plan`, from the last scrapes. Instances without a
    /// scrape count as the average of the others.
    pub(super) fn expected(&self, plan: &ScrapePlan) -> u64 {
        let (mut known, mut unknown, mut sum, mut of_exporters) = (0, 0, 0, 0);
        for target in &plan.targets {
            let app = &target.app().id;
            match &target.kind {
                TargetKind::Instance(endpoint) => {
                    match self.read_last(app, endpoint.address, |last| last.sizes) {
                        Some(sizes) => (known, sum) = (known + 1, sum + sizes.memory),
                        None => unknown += 1,
                    }
                }
                TargetKind::Exporter(one) => {
                    let name = &one.exporter.name;
                    let bytes = self.read(app, |scrapes| scrapes.exporters.get(name).copied());
                    of_exporters += bytes.unwrap_or(UNKNOWN);
                }
            }
        }
        let mean = u64::checked_div(sum, known).unwrap_or(UNKNOWN);
        let expected = sum + mean * unknown + of_exporters;
        // A margin, because bodies usually grow a little between scrapes.
        expected + expected / 8
    }

    pub fn of(&self, app: &AppGuid, address: SocketAddr) -> Option<LastScrape> {
        self.read_last(app, address, |last| Some(last.clone()))
    }

    /// The latest scrapes of an instance with the path of the binding, oldest first. Scrapes with
    /// another path have other metrics, which would look like a change of the app.
    pub fn points(&self, app: &AppGuid, address: SocketAddr) -> Vec<ScrapePoint> {
        let points = self
            .read(app, |scrapes| Some(scrapes.instances.get(&address)?.points.iter().collect()));
        points.unwrap_or_default()
    }

    /// None if no instance of the app was scraped.
    pub fn summary(&self, app: &AppGuid) -> Option<AppSummary> {
        self.read(app, AppScrapes::summary)
    }

    /// The summaries of all apps of which an instance was scraped.
    pub fn summaries(&self) -> HashMap<AppGuid, AppSummary> {
        let mut summaries = HashMap::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let of_shard = shard.iter();
            summaries.extend(of_shard.filter_map(|(app, of)| Some((app.clone(), of.summary()?))));
        }
        summaries
    }

    pub fn totals(&self) -> ScrapeTotals {
        let mut totals = ScrapeTotals::default();
        for shard in &self.shards {
            let shard = lock(shard);
            let summaries = shard.iter().filter_map(|(app, of)| Some((app, of.summary()?)));
            summaries.for_each(|(app, summary)| totals.add(app, &summary));
        }
        totals
    }

    /// Removes instances that are no longer in the route table, and the oldest points where an
    /// instance has more than its share of all points.
    pub fn prune(&self, table: &Snapshot) {
        let max_points = self.max_points.load(Ordering::Relaxed);
        let mut known_instances = 0;
        for shard in &self.shards {
            lock(shard).retain(|app, scrapes| {
                let Some(found) = table.app(app.as_str()) else { return false };
                scrapes.instances.retain(|address, instance| {
                    instance.points.keep_latest(max_points);
                    found.endpoints.iter().any(|endpoint| endpoint.address == *address)
                });
                known_instances += scrapes.instances.len();
                true
            });
        }
        self.max_points.store(points::max_per_instance(known_instances), Ordering::Relaxed);
    }

    fn read_last<T>(
        &self,
        app: &AppGuid,
        address: SocketAddr,
        read: impl FnOnce(&LastScrape) -> Option<T>,
    ) -> Option<T> {
        self.read(app, |scrapes| read(&scrapes.instances.get(&address)?.last))
    }

    fn read<T>(&self, app: &AppGuid, read: impl FnOnce(&AppScrapes) -> Option<T>) -> Option<T> {
        read(self.shard(app).get(app)?)
    }

    fn shard(&self, app: &AppGuid) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(app);
        lock(&self.shards[hash as usize % SHARDS])
    }
}

impl AppScrapes {
    fn record_instance(
        &mut self,
        address: SocketAddr,
        at: SystemTime,
        target: &ScrapeTarget,
        outcome: &TargetOutcome,
        request: &ScrapeRequest,
        max_points: usize,
    ) {
        let (before, mut points) = match self.instances.remove(&address) {
            Some(InstanceScrapes { last, points }) => (Some(last), points),
            None => (None, PointHistory::default()),
        };
        let last = last_scrape(before, at, &target.path, outcome, &request.negotiated);
        if target.has_own_path {
            points.push(&ScrapePoint::of(&last), max_points);
        }
        self.instances.insert(address, InstanceScrapes { last, points });
        // A scrape by the page of the app does not hide the scraper that the page shows.
        if self.scraped_by.is_none() || !request.scraper.role.is_page() {
            self.scraped_by = Some(Arc::clone(&request.scraper));
        }
    }

    fn summary(&self) -> Option<AppSummary> {
        let last = self.instances.iter().map(|(address, instance)| (*address, &instance.last));
        AppSummary::of(last, self.scraped_by.as_ref()?)
    }
}

/// Updates the last scrape `before`. A failure keeps the size and the formats.
fn last_scrape(
    before: Option<LastScrape>,
    at: SystemTime,
    path: &str,
    outcome: &TargetOutcome,
    negotiated: &NegotiatedFormats,
) -> LastScrape {
    let (mut sizes, mut formats) =
        before.map(|before| (before.sizes, before.formats)).unwrap_or_default();
    let path: Box<str> = without_query(path).into();
    if let Ok(body) = &outcome.result {
        sizes = Some(BodySizes { bytes: outcome.bytes, memory: outcome.memory });
        let (path, requested) = (path.clone(), negotiated.requested());
        formats.record(ObservedFormat { path, requested, format: body.format() });
    }
    let result = outcome.result.as_ref().map(IndexedBody::samples);
    let result = result.map_err(|failure| Arc::new(failure.shortened(MAX_DETAIL)));
    LastScrape { at, duration: outcome.duration, path, result, sizes, formats }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
