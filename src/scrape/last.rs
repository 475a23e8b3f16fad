//! What the last scrape of each instance was like, for people who look an app
//! up.

use super::{Negotiated, Wanted, external::ScrapedExternal, fan_out::Scraped};
use crate::{discovery::Snapshot, domain::AppGuid};
use exposition::{Format, IndexedBody};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// The outcome of one instance's last scrape.
#[derive(Clone, Debug)]
pub struct LastScrape {
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub duration: Duration,
    /// The path that was asked, without its query, which may hold a key.
    pub path: Box<str>,
    /// Samples, or the reason why there were none.
    pub result: Result<usize, super::Failure>,
    /// What its last whole body took in memory.
    bytes: Option<u64>,
    formats: Formats,
}

/// The formats in which an instance answered, by what it was asked for; the latest comes first.
#[derive(Clone, Debug, Default)]
struct Formats(Vec<Answered>);

/// The format of the last answer to one kind of request.
#[derive(Clone, Debug)]
struct Answered {
    path: Box<str>,
    /// The format that was asked for first.
    asked: Format,
    format: Format,
}

impl Formats {
    /// Scrapers choose path and format, so there must be a bound.
    const MOST: usize = 8;

    fn of(&self, path: &str, asked: Format) -> Option<Format> {
        let mut answered = self.0.iter();
        answered.find(|one| *one.path == *path && one.asked == asked).map(|one| one.format)
    }

    fn record(&mut self, answered: Answered) {
        self.0.retain(|one| one.path != answered.path || one.asked != answered.asked);
        self.0.truncate(Self::MOST - 1);
        self.0.insert(0, answered);
    }
}

/// What the body of an instance may take of which nothing is known.
const UNKNOWN: u64 = 64 << 10;

/// The last scrapes of all instances that are still in the route table, by app.
///
/// Written once at the end of a scrape and read by people only, so a lock is
/// good enough.
#[derive(Debug, Default)]
pub struct LastScrapes {
    instances: Mutex<ByApp>,
    /// What the last whole body of each exporter took in memory, by app and name.
    exporters: Mutex<HashMap<AppGuid, HashMap<String, u64>>>,
}

type ByApp = HashMap<AppGuid, HashMap<SocketAddr, LastScrape>>;

impl LastScrapes {
    pub(super) fn record(
        &self,
        scraped: &[Scraped],
        externals: &[ScrapedExternal],
        negotiated: &Negotiated,
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
                let (path, asked) = (path.clone(), negotiated.asked());
                formats.record(Answered { path, asked, format: instance.format() });
            }
            let last = LastScrape { at, duration: one.duration, path, result, bytes, formats };
            instances.insert(endpoint.address, last);
        }
    }

    fn record_externals(&self, externals: &[ScrapedExternal]) {
        let answered: Vec<_> = externals.iter().filter(|one| one.result.is_ok()).collect();
        if answered.is_empty() {
            return;
        }
        let mut by_app = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        for one in answered {
            let of_app = by_app.entry(one.target.app.id.clone()).or_default();
            of_app.insert(one.target.exporter.name.clone(), one.bytes);
        }
    }

    /// The formats in which the instances answered the last time that they were asked so, if
    /// they were. What an instance answered before it failed still counts.
    pub fn formats(&self, wanted: &Wanted, negotiated: &Negotiated) -> Vec<Format> {
        let by_app = self.lock();
        let mut formats = Vec::new();
        for target in &wanted.instances {
            let instances = by_app.get(&target.endpoint.app.id);
            let last = instances.and_then(|instances| instances.get(&target.endpoint.address));
            let path = without_query(&target.path);
            let format = last.and_then(|last| last.formats.of(path, negotiated.asked()));
            if let Some(format) = format.filter(|format| !formats.contains(format)) {
                formats.push(format);
            }
        }
        formats
    }

    /// What the bodies of who is `wanted` will take in memory, if they are as large as
    /// the last time. An instance that was never asked is like the others.
    pub(super) fn expected(&self, wanted: &Wanted) -> u64 {
        let targets = &wanted.instances;
        let by_app = self.lock();
        let known = targets.iter().filter_map(|target| {
            by_app.get(&target.endpoint.app.id)?.get(&target.endpoint.address)?.bytes
        });
        let (count, sum) = known.fold((0, 0_u64), |(count, sum), bytes| (count + 1, sum + bytes));
        let mean = sum.checked_div(count).unwrap_or(UNKNOWN);
        let expected = sum
            + mean * (targets.len() as u64).saturating_sub(count)
            + self.expected_of_externals(wanted);
        // Bodies grow a little all the time.
        expected + expected / 8
    }

    fn expected_of_externals(&self, wanted: &Wanted) -> u64 {
        let by_app = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = wanted.externals.targets.iter().map(|target| {
            let of_app = by_app.get(&target.app.id);
            of_app.and_then(|of_app| of_app.get(&target.exporter.name)).copied().unwrap_or(UNKNOWN)
        });
        expected.sum()
    }

    /// The last scrape of an app's instance.
    pub fn of(&self, app: &AppGuid, address: SocketAddr) -> Option<LastScrape> {
        self.lock().get(app)?.get(&address).cloned()
    }

    /// Forgets instances that left the table.
    pub fn forget_gone(&self, table: &Snapshot) {
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

/// A query may hold a key.
fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}
