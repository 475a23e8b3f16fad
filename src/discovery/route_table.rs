//! What readers see: the routes of one moment, and how far to trust them.

use super::{
    document::Document,
    endpoint::Endpoint,
    index::{AppEntry, Index},
    lookup::Match,
    sources::{Kind, Named},
};
use crate::domain::AppKey;
use arc_swap::ArcSwap;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::Instant;

/// The published routes: one writer replaces them whole, readers never wait
/// and never see half of an update. Clones show the same table.
#[derive(Clone, Debug)]
pub struct RouteTable(Arc<ArcSwap<Snapshot>>);

impl RouteTable {
    /// A table that shows `snapshot` until something else is published.
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(snapshot)))
    }

    /// The current routes, unchanged for as long as the caller keeps them.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.0.store(Arc::new(snapshot));
    }
}

/// The routes of one moment, and what is known of their sources.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) index: Arc<Index>,
    pub(super) sources: Vec<SourceStatus>,
}

/// Tells the routes of one moment from those of another, without keeping them.
#[derive(Clone, Debug)]
pub struct Edition(Weak<Index>);

impl PartialEq for Edition {
    /// Whether both are of the same routes. While one of them is kept, no other
    /// routes can come to lie where its own lay.
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

/// How one source is doing.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// What it is like.
    pub kind: Kind,
    /// Its place in the configuration, as in `routes.gorouters[0]`.
    pub key: Arc<str>,
    /// What it is and where, without credentials.
    pub name: Arc<str>,
    /// When its last good answer came.
    pub last_answer: Option<Instant>,
    /// Why it is away: what went wrong at the last try. None while all is well.
    pub failure: Option<Arc<str>>,
    /// Tries that failed, since the start.
    pub failed: u64,
    /// Endpoints that its last good answer named, each once a route.
    pub endpoints: usize,
    /// Endpoints that it no longer names and that are kept for now.
    pub kept: usize,
    /// Endpoints of its last good answer that could not be read; of a bus,
    /// messages since the start; of Tsuru, units without an address and apps
    /// that it does not tell of now.
    pub skipped: usize,
    /// Endpoints of platform components in its last good answer.
    pub without_app: usize,
    /// What it said was dropped because of its age.
    pub(super) is_forgotten: bool,
    /// False for a source that is not configured and reports nothing.
    pub(super) is_listed: bool,
}

/// A kind of sources whose routes are not known at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRoutes {
    /// Which sources.
    pub kind: Kind,
    /// One of them has named some endpoints already, and not all.
    pub is_filling: bool,
}

impl SourceStatus {
    /// A source that was not asked yet.
    pub(super) fn unheard(named: &Named) -> Self {
        Self {
            kind: named.kind,
            key: Arc::clone(&named.key),
            name: Arc::clone(&named.name),
            last_answer: None,
            failure: None,
            failed: 0,
            endpoints: 0,
            kept: 0,
            skipped: 0,
            without_app: 0,
            is_forgotten: false,
            is_listed: named.kind.is_configured(),
        }
    }

    /// Whether its routes of at most `keep` ago are in the table.
    fn is_in_table(&self, keep: Duration) -> bool {
        let is_young = |at: Instant| at.elapsed() <= keep;
        !self.is_forgotten && self.last_answer.is_some_and(is_young)
    }
}

impl Snapshot {
    /// The apps that `key` names, in the order of their ids, each with the
    /// instances to ask. Empty: the table does not know the key.
    pub fn find<'a>(&'a self, key: &'a AppKey) -> Vec<Match<'a>> {
        self.index.find(key)
    }

    /// The app with this GUID, as [`find`](Self::find) by GUID gives it.
    pub fn app(&self, guid: &str) -> Option<Match<'_>> {
        self.index.app(guid).map(|entry| self.index.whole(entry))
    }

    /// Puts routes and apps in order, for whoever is about to list them all. At
    /// 200,000 routes that takes a while, once for each published table.
    pub fn arrange(&self) {
        self.index.routes();
    }

    /// Every app that has a route, each once, in the order of their first routes.
    pub fn apps(&self) -> impl Iterator<Item = Match<'_>> {
        self.index.apps().iter().map(|entry| self.index.whole(entry))
    }

    /// As [`apps`](Self::apps), in no order, which costs less.
    pub fn apps_in_no_order(&self) -> impl Iterator<Item = Match<'_>> {
        self.index.apps_in_no_order().map(|entry| self.index.whole(entry))
    }

    /// Which routes these are. What sources do changes it only by what they say.
    pub fn edition(&self) -> Edition {
        Edition(Arc::downgrade(&self.index))
    }

    /// Whether an app has a route; cheaper than [`app`](Self::app).
    pub fn contains_app(&self, guid: &str) -> bool {
        self.index.app(guid).is_some()
    }

    /// The routes of an app, in byte order; none for an unknown one.
    pub fn routes_of(&self, guid: &str) -> impl Iterator<Item = &str> {
        self.index.app(guid).into_iter().flat_map(AppEntry::routes)
    }

    /// Every route in byte order, with its endpoints: app after app by id,
    /// each in index order. A route without any cannot be scraped: its pool is
    /// empty, or belongs to the platform.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &[Arc<Endpoint>])> {
        self.routes_from(0)
    }

    /// [`routes`](Self::routes), beginning with the one at `position`.
    pub fn routes_from(&self, position: usize) -> impl Iterator<Item = (&str, &[Arc<Endpoint>])> {
        let routes = self.index.routes().get(position..).unwrap_or_default();
        routes.iter().map(|route| (&*route.key, route.endpoints()))
    }

    /// How many apps have a route, and how many instances they have.
    pub fn size(&self) -> (usize, usize) {
        self.index.size()
    }

    /// Every configured source, in the order of the configuration, and those that say something
    /// without being configured.
    pub fn sources(&self) -> &[SourceStatus] {
        match self.sources.split_last() {
            // Only the last one can be unlisted: it stands behind the configured ones.
            Some((last, rest)) if !last.is_listed => rest,
            _ => &self.sources,
        }
    }

    /// Whether a configured source has given a table. True when none is configured: an empty
    /// table is the whole truth then. Once true, it stays true.
    pub fn has_table(&self) -> bool {
        let mut configured = self.configured().peekable();
        configured.peek().is_none() || configured.any(|source| source.last_answer.is_some())
    }

    /// Configured sources that have never given a table.
    pub fn waiting_for(&self) -> impl Iterator<Item = &SourceStatus> {
        self.configured().filter(|source| source.last_answer.is_none())
    }

    /// Whether every configured source has given a table.
    pub fn is_complete(&self) -> bool {
        self.waiting_for().next().is_none()
    }

    fn configured(&self) -> impl Iterator<Item = &SourceStatus> {
        self.sources.iter().filter(|source| source.kind.is_configured())
    }

    /// The kinds of sources of which none has its routes in the table: they never answered, or
    /// not within `keep`. Sources of one kind show the same routes, so one of them is enough.
    pub fn unknown_routes(&self, keep: Duration) -> Vec<UnknownRoutes> {
        let mut kinds: Vec<Kind> = self.sources.iter().map(|source| source.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let of = |kind: Kind| self.sources.iter().filter(move |source| source.kind == kind);
        kinds.retain(|kind| !of(*kind).any(|source| source.is_in_table(keep)));
        let unknown = |kind: Kind| UnknownRoutes {
            kind,
            is_filling: of(kind).any(|source| source.endpoints > 0),
        };
        kinds.into_iter().map(unknown).collect()
    }

    /// Tries that failed, of all sources since the start.
    pub fn failed_polls(&self) -> u64 {
        self.sources.iter().map(|source| source.failed).sum()
    }

    /// How long ago the newest good answer of any source came.
    pub fn age(&self) -> Option<Duration> {
        self.sources.iter().filter_map(|source| source.last_answer).max().map(|at| at.elapsed())
    }
}

impl From<&Document> for Snapshot {
    /// A table that says what `document` says, and has no source.
    fn from(document: &Document) -> Self {
        Self { index: Arc::new(Index::build(&document.entries)), sources: Vec::new() }
    }
}
