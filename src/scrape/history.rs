//! The last scrape of each instance, for pages and for memory estimates.

use super::{
    failure::ScrapeFailure,
    outcome::{ScrapedTarget, TargetOutcome},
    plan::{ScrapePlan, TargetKind},
    request::NegotiatedFormats,
};
use crate::{
    discovery::{Endpoint, Snapshot},
    domain::AppGuid,
};
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
    pub result: Result<usize, ScrapeFailure>,
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
    instances: Mutex<Instances>,
    exporters: Mutex<BodySizes>,
}

type Instances = HashMap<AppGuid, HashMap<SocketAddr, LastScrape>>;

/// Size in memory of the last complete body of each exporter, by app and name.
type BodySizes = HashMap<AppGuid, HashMap<String, u64>>;

impl ScrapeHistory {
    pub(super) fn record(&self, scraped: &[ScrapedTarget], negotiated: &NegotiatedFormats) {
        let at = SystemTime::now();
        let (mut instances, mut exporters) = (self.instances(), self.exporters());
        for ScrapedTarget { target, outcome } in scraped {
            match &target.kind {
                TargetKind::Instance(endpoint) => {
                    let of_app = instances.entry(endpoint.app.id.clone()).or_default();
                    let before = of_app.remove(&endpoint.address);
                    let last = last_scrape(before, at, &target.path, outcome, negotiated);
                    of_app.insert(endpoint.address, last);
                }
                TargetKind::Exporter(one) if outcome.result.is_ok() => {
                    let of_app = exporters.entry(one.app.id.clone()).or_default();
                    of_app.insert(one.exporter.name.clone(), outcome.bytes);
                }
                TargetKind::Exporter(_) => {}
            }
        }
    }

    /// The formats in which the instances last responded to such a request. A later failure does
    /// not remove the format.
    pub fn formats(&self, plan: &ScrapePlan, negotiated: &NegotiatedFormats) -> Vec<Format> {
        let instances = self.instances();
        let mut formats = Vec::new();
        for target in &plan.targets {
            let last = target.endpoint().and_then(|endpoint| last_of(&instances, endpoint));
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
        let (instances, exporters) = (self.instances(), self.exporters());
        let (mut known, mut unknown, mut sum, mut of_exporters) = (0, 0, 0, 0);
        for target in &plan.targets {
            match &target.kind {
                TargetKind::Instance(endpoint) => {
                    match last_of(&instances, endpoint).and_then(|last| last.bytes) {
                        Some(bytes) => (known, sum) = (known + 1, sum + bytes),
                        None => unknown += 1,
                    }
                }
                TargetKind::Exporter(one) => {
                    let last = exporters.get(&one.app.id).and_then(|it| it.get(&one.exporter.name));
                    of_exporters += last.copied().unwrap_or(UNKNOWN);
                }
            }
        }
        let mean = u64::checked_div(sum, known).unwrap_or(UNKNOWN);
        let expected = sum + mean * unknown + of_exporters;
        // A margin, because bodies usually grow a little between scrapes.
        expected + expected / 8
    }

    pub fn of(&self, app: &AppGuid, address: SocketAddr) -> Option<LastScrape> {
        self.instances().get(app)?.get(&address).cloned()
    }

    /// Removes instances that are no longer in the route table.
    pub fn prune(&self, table: &Snapshot) {
        self.instances().retain(|app, instances| {
            let Some(found) = table.app(app.as_str()) else { return false };
            instances.retain(|address, _| found.endpoints.iter().any(|e| e.address == *address));
            true
        });
        self.exporters().retain(|app, _| table.contains_app(app.as_str()));
    }

    fn instances(&self) -> MutexGuard<'_, Instances> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked after the instances, where both are locked.
    fn exporters(&self) -> MutexGuard<'_, BodySizes> {
        self.exporters.lock().unwrap_or_else(PoisonError::into_inner)
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
    let (mut bytes, mut formats) =
        before.map(|before| (before.bytes, before.formats)).unwrap_or_default();
    let path: Box<str> = without_query(path).into();
    if let Ok(body) = &outcome.result {
        bytes = Some(outcome.bytes);
        let (path, requested) = (path.clone(), negotiated.requested());
        formats.record(ObservedFormat { path, requested, format: body.format() });
    }
    let result = outcome.result.as_ref().map(IndexedBody::samples).map_err(Clone::clone);
    LastScrape { at, duration: outcome.duration, path, result, bytes, formats }
}

fn last_of<'a>(instances: &'a Instances, endpoint: &Endpoint) -> Option<&'a LastScrape> {
    instances.get(&endpoint.app.id)?.get(&endpoint.address)
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}
