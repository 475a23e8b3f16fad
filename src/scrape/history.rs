//! The last scrape of each instance, for pages and for memory estimates.

use super::{NegotiatedFormats, ScrapePlan, external::ExporterScrape, fan_out::InstanceScrape};
use crate::{discovery::Snapshot, domain::AppGuid};
use exposition::{Format, IndexedBody};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

#[derive(Clone, Debug)]
pub struct LastScrape {
    /// When it ended.
    pub at: SystemTime,
    pub duration: Duration,
    /// The path without its query, which may contain a key.
    pub path: Box<str>,
    /// Number of samples, or the failure.
    pub result: Result<usize, super::ScrapeFailure>,
    /// Size in memory of its last complete body.
    bytes: Option<u64>,
    formats: FormatHistory,
}

/// The formats of an instance's responses by request, latest first.
#[derive(Clone, Debug, Default)]
struct FormatHistory(Vec<ObservedFormat>);

/// The format of the last response to one kind of request.
#[derive(Clone, Debug)]
struct ObservedFormat {
    path: Box<str>,
    /// The first format of the Accept header.
    requested: Format,
    format: Format,
}

impl FormatHistory {
    /// Scrapers choose path and format, so the number must be limited.
    const MAX: usize = 8;

    fn of(&self, path: &str, requested: Format) -> Option<Format> {
        let mut observed = self.0.iter();
        observed.find(|one| *one.path == *path && one.requested == requested).map(|one| one.format)
    }

    fn record(&mut self, observed: ObservedFormat) {
        self.0.retain(|one| one.path != observed.path || one.requested != observed.requested);
        self.0.truncate(Self::MAX - 1);
        self.0.insert(0, observed);
    }
}

/// Assumed size of a body that was never scraped, bytes.
const UNKNOWN: u64 = 64 << 10;

/// The last scrapes of all instances in the route table, by app.
///
/// It is written once per scrape, so a mutex is sufficient.
#[derive(Debug, Default)]
pub struct ScrapeHistory {
    instances: Mutex<ByApp>,
    /// Size in memory of the last complete body of each exporter, by app and name.
    exporters: Mutex<HashMap<AppGuid, HashMap<String, u64>>>,
}

type ByApp = HashMap<AppGuid, HashMap<SocketAddr, LastScrape>>;

impl ScrapeHistory {
    pub(super) fn record(
        &self,
        scraped: &[InstanceScrape],
        externals: &[ExporterScrape],
        negotiated: &NegotiatedFormats,
    ) {
        self.record_externals(externals);
        let at = SystemTime::now();
        let mut by_app = self.lock();
        for one in scraped {
            let result = one.result.as_ref().map(IndexedBody::samples).map_err(Clone::clone);
            let endpoint = &one.target.endpoint;
            let instances = by_app.entry(endpoint.app.id.clone()).or_default();
            let before = || instances.get(&endpoint.address).and_then(|last| last.bytes);
            let bytes = if result.is_ok() { Some(one.bytes) } else { before() };
            let path: Box<str> = without_query(&one.target.path).into();
            let before = instances.remove(&endpoint.address);
            let mut formats = before.map(|before| before.formats).unwrap_or_default();
            if let Ok(instance) = &one.result {
                let (path, requested) = (path.clone(), negotiated.requested());
                formats.record(ObservedFormat { path, requested, format: instance.format() });
            }
            let last = LastScrape { at, duration: one.duration, path, result, bytes, formats };
            instances.insert(endpoint.address, last);
        }
    }

    fn record_externals(&self, externals: &[ExporterScrape]) {
        let observed: Vec<_> = externals.iter().filter(|one| one.result.is_ok()).collect();
        if observed.is_empty() {
            return;
        }
        let mut by_app = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        for one in observed {
            let of_app = by_app.entry(one.target.app.id.clone()).or_default();
            of_app.insert(one.target.exporter.name.clone(), one.bytes);
        }
    }

    /// The formats in which the instances last responded to such a request. A later failure does
    /// not remove the format.
    pub fn formats(&self, plan: &ScrapePlan, negotiated: &NegotiatedFormats) -> Vec<Format> {
        let by_app = self.lock();
        let mut formats = Vec::new();
        for target in &plan.instances {
            let instances = by_app.get(&target.endpoint.app.id);
            let last = instances.and_then(|instances| instances.get(&target.endpoint.address));
            let path = without_query(&target.path);
            let format = last.and_then(|last| last.formats.of(path, negotiated.requested()));
            if let Some(format) = format.filter(|format| !formats.contains(format)) {
                formats.push(format);
            }
        }
        formats
    }

    /// Expected size in memory of all bodies of `plan`, from the last scrapes. Instances without a
    /// scrape count as the average of the others.
    pub(super) fn expected(&self, plan: &ScrapePlan) -> u64 {
        let targets = &plan.instances;
        let by_app = self.lock();
        let known = targets.iter().filter_map(|target| {
            by_app.get(&target.endpoint.app.id)?.get(&target.endpoint.address)?.bytes
        });
        let (count, sum) = known.fold((0, 0_u64), |(count, sum), bytes| (count + 1, sum + bytes));
        let mean = sum.checked_div(count).unwrap_or(UNKNOWN);
        let expected = sum
            + mean * (targets.len() as u64).saturating_sub(count)
            + self.expected_of_externals(plan);
        // A margin, because bodies usually grow a little between scrapes.
        expected + expected / 8
    }

    fn expected_of_externals(&self, plan: &ScrapePlan) -> u64 {
        let by_app = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = plan.externals.targets.iter().map(|target| {
            let of_app = by_app.get(&target.app.id);
            of_app.and_then(|of_app| of_app.get(&target.exporter.name)).copied().unwrap_or(UNKNOWN)
        });
        expected.sum()
    }

    pub fn of(&self, app: &AppGuid, address: SocketAddr) -> Option<LastScrape> {
        self.lock().get(app)?.get(&address).cloned()
    }

    /// Removes instances that are no longer in the route table.
    pub fn prune(&self, table: &Snapshot) {
        self.lock().retain(|app, instances| {
            let Some(found) = table.app(app.as_str()) else { return false };
            instances.retain(|address, _| found.endpoints.iter().any(|e| e.address == *address));
            true
        });
        let mut exporters = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        exporters.retain(|app, _| table.contains_app(app.as_str()));
    }

    fn lock(&self) -> MutexGuard<'_, ByApp> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}
