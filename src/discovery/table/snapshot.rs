//! The published routes and the state of their sources.

use super::{
    SourceName,
    index::{AppEntry, Index},
    lookup::Match,
};
use crate::{
    discovery::{SourceKind, document::Document, endpoint::Endpoint},
    domain::AppKey,
};
use arc_swap::ArcSwap;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// The published routes. One writer replaces the snapshot, and readers never wait or see a partial
/// update. Clones share the table.
#[derive(Clone, Debug)]
pub struct RouteTable(Arc<ArcSwap<Snapshot>>);

impl RouteTable {
    /// Creates a table with this snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}

/// An immutable snapshot of the routes and the state of their sources.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) index: Arc<Index>,
    pub(super) sources: Vec<SourceStatus>,
}

/// Identifies the routes of a snapshot without keeping them in memory.
#[derive(Clone, Debug)]
pub struct TableVersion(Weak<Index>);

impl PartialEq for TableVersion {
    /// Whether both identify the same routes. The weak reference keeps the address of the index
    /// from being reused.
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

/// State of a source.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    pub kind: SourceKind,
    /// Key in the configuration, for example `routes.gorouters[0]`.
    pub key: Arc<str>,
    /// Display name without credentials.
    pub name: Arc<str>,
    /// Time of the last successful report.
    pub last_answer: Option<Instant>,
    /// Why the last attempt failed. None if it succeeded.
    pub failure: Option<Arc<str>>,
    /// Number of failed attempts since startup.
    pub failed: u64,
    /// Number of endpoints in its last successful report, counted once per route.
    pub endpoints: usize,
    /// Number of retained endpoints that its last report omits.
    pub retained: usize,
    /// Number of invalid endpoints in its last report. For NATS: invalid messages since startup.
    /// For Tsuru: units without an address, and apps whose units are unknown.
    pub skipped: usize,
    /// Number of endpoints of platform components in its last report.
    pub without_app: usize,
    /// Whether the table contains its routes, at most `keep` old.
    pub(super) is_expired: bool,
    /// False for a source that is not configured and reports nothing.
    pub(super) is_listed: bool,
}

/// A kind of sources whose routes are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRoutes {
    pub kind: SourceKind,
    /// Whether one of them has reported some routes, but not all.
    pub is_filling: bool,
}

impl SourceStatus {
    /// The state before the first report.
    pub(super) fn initial(named: &SourceName) -> Self {
        Self {
            kind: named.kind,
            key: Arc::clone(&named.key),
            name: Arc::clone(&named.name),
            last_answer: None,
            failure: None,
            failed: 0,
            endpoints: 0,
            retained: 0,
            skipped: 0,
            without_app: 0,
            is_expired: false,
            is_listed: named.kind.is_configured,
        }
    }

    /// Whether the table contains its routes, at most `keep` old.
    fn is_in_table(&self, keep: Duration) -> bool {
        let is_young = |at: Instant| at.elapsed() <= keep;
        !self.is_expired && self.last_answer.is_some_and(is_young)
    }
}

impl Snapshot {
    /// The apps that `key` matches, ordered by id. Empty if the table does not contain the key.
    pub fn find<'a>(&'a self, key: &'a AppKey) -> Vec<Match<'a>> {
        self.index.find(key)
    }

    /// The app with this GUID, like [`find`](Self::find).
    pub fn app(&self, guid: &str) -> Option<Match<'_>> {
        self.index.app(guid).map(|entry| self.index.all_instances(entry))
    }

    /// Sorts routes and apps for callers that list them. With 200,000 routes this takes a while.
    /// The result is cached per snapshot.
    pub fn sort(&self) {
        self.index.routes();
    }

    /// All apps with a route, ordered by their first routes.
    pub fn apps(&self) -> impl Iterator<Item = Match<'_>> {
        self.index.apps().iter().map(|entry| self.index.all_instances(entry))
    }

    /// Like [`apps`](Self::apps), but unordered and cheaper.
    pub fn unordered_apps(&self) -> impl Iterator<Item = Match<'_>> {
        self.index.unordered_apps().map(|entry| self.index.all_instances(entry))
    }

    /// Identifies the routes of this snapshot. A change of the sources' state does not change it.
    pub fn version(&self) -> TableVersion {
        TableVersion(Arc::downgrade(&self.index))
    }

    /// Whether the app has a route. Cheaper than [`app`](Self::app).
    pub fn contains_app(&self, guid: &str) -> bool {
        self.index.app(guid).is_some()
    }

    /// The routes of an app, ordered by bytes. Empty for an unknown app.
    pub fn routes_of(&self, guid: &str) -> impl Iterator<Item = &str> {
        self.index.app(guid).into_iter().flat_map(AppEntry::routes)
    }

    /// All routes ordered by bytes, with their endpoints grouped by app id and ordered by instance
    /// index. A route without endpoints has no instances or belongs to the platform.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &[Arc<Endpoint>])> {
        self.routes_from(0)
    }

    /// [`routes`](Self::routes) from `position` on.
    pub fn routes_from(&self, position: usize) -> impl Iterator<Item = (&str, &[Arc<Endpoint>])> {
        let routes = self.index.routes().get(position..).unwrap_or_default();
        routes.iter().map(|route| (&*route.key, route.endpoints()))
    }

    /// Number of apps with a route, and of their instances.
    pub fn size(&self) -> (usize, usize) {
        self.index.size()
    }

    /// All configured sources in the order of the configuration, and unconfigured sources that have
    /// reported something.
    pub fn sources(&self) -> impl Iterator<Item = &SourceStatus> {
        self.sources.iter().filter(|source| source.is_listed)
    }

    /// Whether a configured source has reported a table. Also true if no source is configured,
    /// because the empty table is complete then. Never becomes false again.
    pub fn has_table(&self) -> bool {
        let mut configured = self.configured().peekable();
        configured.peek().is_none() || configured.any(|source| source.last_answer.is_some())
    }

    /// Configured sources that have not reported a table yet.
    pub fn waiting_for(&self) -> impl Iterator<Item = &SourceStatus> {
        self.configured().filter(|source| source.last_answer.is_none())
    }

    /// Whether all configured sources have reported a table.
    pub fn is_complete(&self) -> bool {
        self.waiting_for().next().is_none()
    }

    fn configured(&self) -> impl Iterator<Item = &SourceStatus> {
        self.sources.iter().filter(|source| source.kind.is_configured)
    }

    /// The kinds of sources of which no source has its routes in the table: they have not reported
    /// within `keep`. All sources of a kind report the same routes, so one of them is enough.
    pub fn unknown_routes(&self, keep: Duration) -> Vec<UnknownRoutes> {
        let mut kinds: Vec<SourceKind> = self.sources.iter().map(|source| source.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let of = |kind: SourceKind| self.sources.iter().filter(move |source| source.kind == kind);
        kinds.retain(|kind| !of(*kind).any(|source| source.is_in_table(keep)));
        let unknown = |kind: SourceKind| UnknownRoutes {
            kind,
            is_filling: of(kind).any(|source| source.endpoints > 0),
        };
        kinds.into_iter().map(unknown).collect()
    }

    /// Number of failed attempts of all sources since startup.
    pub fn failed_polls(&self) -> u64 {
        self.sources.iter().map(|source| source.failed).sum()
    }

    /// Time since the newest successful report of a configured source. Without configured sources,
    /// of any source: the hosts of bound Tsuru apps come from the own database, which says nothing
    /// about routers.
    pub fn age(&self) -> Option<Duration> {
        let has_configured = self.configured().next().is_some();
        let counted = |source: &&SourceStatus| source.kind.is_configured || !has_configured;
        let answers = self.sources.iter().filter(counted).filter_map(|source| source.last_answer);
        answers.max().map(|at| at.elapsed())
    }
}

impl From<&Document> for Snapshot {
    /// A table with the routes of `document` and without a source.
    fn from(document: &Document) -> Self {
        Self { index: Arc::new(Index::build(&document.entries)), sources: Vec::new() }
    }
}
