//! The state of all sources, and the expiry of their routes.
//!
//! The time is an argument of all functions, so the rules are covered by unit tests.
//! [`writer`](super::writer) calls them.
//!
//! A source is *available* if its last attempt succeeded. While at least one source is available,
//! the routes of an unavailable source expire `stale_after` after its last successful report. While
//! all sources are unavailable, the last table is served until `keep` after the newest successful
//! report of any source. Then the table is empty.
//!
//! These rules do not apply to sources that report changes ([`Reporting::Changes`]). NATS registers
//! each endpoint separately, so its source expires each endpoint by its own age. Sources of Tsuru
//! apps neither replace other sources nor are replaced by them, so they also expire their own
//! routes.

use super::{
    Retention, SourceName,
    claims::{Claims, FullUpdate},
    index::Index,
    merge::{Addresses, SourceClaims, merge},
    snapshot::SourceStatus,
};
use crate::discovery::{
    Reporting, SourceKind,
    document::{EntryKey, parse_into},
    drop_log::DropLog,
    error::SourceError,
    intern::Interner,
    report::{Changes, Report, SyncState},
};
use std::{collections::BTreeSet, hash::BuildHasher, mem, sync::Arc};
use tokio::time::Instant;

#[derive(Debug)]
struct SourceState {
    kind: SourceKind,
    drop_log: DropLog,
    claims: Claims,
    /// Hash of the last full report.
    answer: Option<u64>,
    status: SourceStatus,
}

impl SourceState {
    fn is_up(&self) -> bool {
        self.status.last_answer.is_some() && self.status.failure.is_none()
    }

    /// Other kinds expire their own routes.
    fn expires_by_age(&self) -> bool {
        self.kind.reporting != Reporting::Changes
    }

    /// Whether other sources report the same routes.
    fn shares_routes(&self) -> bool {
        !self.kind.is_tsuru
    }

    fn is_listed(&self) -> bool {
        self.kind.is_configured || self.status.failure.is_some() || !self.claims.is_empty()
    }

    fn drop_claims(&mut self) -> Vec<EntryKey> {
        // An identical report must be applied again after this.
        self.answer = None;
        self.status.is_expired = true;
        self.claims.clear()
    }
}

/// All sources with their claims.
#[derive(Debug)]
pub(super) struct SourceStates {
    retention: Retention,
    started: Instant,
    sources: Vec<SourceState>,
    interner: Interner,
    hasher: foldhash::quality::RandomState,
    addresses: Addresses,
    /// Routes whose last merge depended on which sources were available.
    disputed: BTreeSet<Arc<str>>,
    /// Routes that must be merged again.
    outdated: BTreeSet<Arc<str>>,
}

impl SourceStates {
    pub(super) fn new(retention: Retention, names: &[SourceName], started: Instant) -> Self {
        let source = |name: &SourceName| SourceState {
            kind: name.kind,
            drop_log: DropLog::new(Arc::clone(&name.name)),
            claims: Claims::default(),
            answer: None,
            status: SourceStatus::initial(name),
        };
        Self {
            retention,
            started,
            sources: names.iter().map(source).collect(),
            interner: Interner::default(),
            hasher: foldhash::quality::RandomState::default(),
            addresses: Addresses::default(),
            disputed: BTreeSet::new(),
            outdated: BTreeSet::new(),
        }
    }

    /// Applies a report of the source at position `source`. Returns whether the table must be
    /// rebuilt.
    pub(super) fn apply(&mut self, source: usize, report: Report, now: Instant) -> bool {
        let Some(source) = self.sources.get_mut(source) else { return false };
        let was_up = source.is_up();
        let had_answered = source.status.last_answer.is_some();
        let mut changed = Vec::new();
        match report {
            Report::Full(body) => {
                let is_first = source.status.last_answer.is_none();
                let is_first_round = now.duration_since(self.started) < self.retention.first_round;
                let since = if is_first && is_first_round { self.started } else { now };
                let hash = self.hasher.hash_one(&body);
                match source.apply_full(&body, hash, &mut self.interner, since) {
                    Ok(keys) => {
                        changed = keys;
                        source.succeeded(now);
                    }
                    Err(error) => source.failed(&error),
                }
            }
            Report::Changes(changes) => {
                // Until the first synchronization, the time of a message does not tell when an
                // endpoint appeared.
                let is_first = source.status.last_answer.is_none();
                let since = if is_first { self.started } else { now };
                changed = source.apply_changes(changes, since, now);
            }
            // An unreadable source stays failed if it has not changed.
            Report::Unchanged if source.status.failure.is_some() => {}
            Report::Unchanged => source.succeeded(now),
            Report::Failure(error) => source.failed(&error),
            Report::StillUnavailable(error) => {
                source.status.failure = Some(error.to_string().into())
            }
        }
        if !had_answered && source.status.last_answer.is_some() {
            source.log_first_table();
        }
        if source.is_up() != was_up {
            self.outdated.extend(self.disputed.iter().cloned());
        }
        self.mark_outdated(changed);
        !self.outdated.is_empty()
    }

    /// Marks the routes that must be merged again.
    fn mark_outdated(&mut self, changed: Vec<EntryKey>) {
        for key in changed {
            let is_claimed = self.sources.iter().any(|source| source.claims.get(&key).is_some());
            self.outdated.extend(self.addresses.record(&key, is_claimed).iter().cloned());
            self.outdated.insert(key.0);
        }
    }

    /// Drops expired routes. Returns whether the table must be rebuilt.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let Retention { stale_after, keep, .. } = self.retention;
        let is_due = |at: Instant, after| at.checked_add(after).is_some_and(|due| due <= now);
        let mut changed = Vec::new();
        if self.is_any_up() {
            for source in self.sources.iter_mut().filter(|source| source.expires_by_age()) {
                let last_answer = source.status.last_answer;
                if !source.is_up() && last_answer.is_some_and(|at| is_due(at, stale_after)) {
                    changed.extend(source.drop_claims());
                }
                changed.extend(source.claims.drop_retained(|at| is_due(at, stale_after)));
            }
        } else if self.newest_answer().is_some_and(|at| is_due(at, keep)) {
            for source in self.sources.iter_mut().filter(|source| source.expires_by_age()) {
                changed.extend(source.drop_claims());
            }
        }
        let has_changed = !changed.is_empty();
        self.mark_outdated(changed);
        has_changed
    }

    /// When [`expire`](Self::expire) must be called next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let Retention { stale_after, keep, .. } = self.retention;
        let has_claims =
            |source: &&SourceState| source.expires_by_age() && !source.claims.is_empty();
        if self.is_any_up() {
            let unavailable =
                self.sources.iter().filter(has_claims).filter(|source| !source.is_up());
            let unavailable = unavailable.filter_map(|source| source.status.last_answer);
            let retained = self.sources.iter().filter_map(|source| source.claims.oldest_retained());
            unavailable.chain(retained).filter_map(|at| at.checked_add(stale_after)).min()
        } else if self.sources.iter().any(|source| has_claims(&source)) {
            self.newest_answer()?.checked_add(keep)
        } else {
            None
        }
    }

    /// Builds the next table from the current claims and the previous table.
    pub(super) fn build(&mut self, before: &Index) -> Index {
        let claims: Vec<SourceClaims<'_>> = self
            .sources
            .iter()
            .map(|source| SourceClaims { claims: &source.claims, is_up: source.is_up() })
            .collect();
        let (addresses, disputed) = (&self.addresses, &mut self.disputed);
        let updates = mem::take(&mut self.outdated).into_iter().map(|route| {
            let merged = merge(&claims, addresses, &route);
            match merged.is_disputed {
                true => drop(disputed.insert(route)),
                false => drop(disputed.remove(&route)),
            }
            merged.update
        });
        before.updated(updates)
    }

    /// Drops values that no source reports any more.
    pub(super) fn drop_unused(&mut self) {
        self.interner.drop_unused();
    }

    pub(super) fn status(&self) -> Vec<SourceStatus> {
        let status = |source: &SourceState| {
            let (endpoints, retained) = source.claims.count_endpoints();
            let is_listed = source.is_listed();
            SourceStatus { endpoints, retained, is_listed, ..source.status.clone() }
        };
        self.sources.iter().map(status).collect()
    }

    fn is_any_up(&self) -> bool {
        self.sources.iter().any(|source| source.shares_routes() && source.is_up())
    }

    fn newest_answer(&self) -> Option<Instant> {
        let sources = self.sources.iter().filter(|source| source.shares_routes());
        sources.filter_map(|source| source.status.last_answer).max()
    }
}

impl SourceState {
    /// Applies a full report and returns the changed keys. Skips a report that is identical to the
    /// previous one.
    fn apply_full(
        &mut self,
        body: &[u8],
        hash: u64,
        interner: &mut Interner,
        now: Instant,
    ) -> Result<Vec<EntryKey>, SourceError> {
        if self.answer == Some(hash) {
            return Ok(Vec::new());
        }
        let document = parse_into(body, interner)?;
        for dropped in document.dropped {
            self.drop_log.log(dropped, now);
        }
        self.answer = Some(hash);
        self.status.skipped = document.skipped;
        self.status.without_app = document.without_app;
        let last_answer = self.status.last_answer;
        let may_be_filling = self.kind.reporting == Reporting::FullAfterWarmUp;
        Ok(self.claims.update(document.entries, FullUpdate { now, last_answer, may_be_filling }))
    }

    /// Applies incremental changes.
    fn apply_changes(&mut self, report: Changes, since: Instant, now: Instant) -> Vec<EntryKey> {
        (self.status.skipped, self.status.without_app) = (report.skipped, report.without_app);
        self.status.failed += report.failed;
        match report.sync_state {
            SyncState::Disconnected => {}
            SyncState::Syncing => self.recovered(),
            SyncState::Synced => self.succeeded(now),
        }
        self.claims.apply(report.changes, since)
    }

    fn succeeded(&mut self, now: Instant) {
        self.recovered();
        self.status.last_answer = Some(now);
        self.status.is_expired = false;
    }

    fn recovered(&mut self) {
        if self.status.failure.take().is_some() {
            tracing::info!(source.name = %self.status.name, "route source is available again");
        }
    }

    /// Logged once per source, to show what it contributes.
    fn log_first_table(&self) {
        if self.is_listed() {
            let (endpoints, apps) = (self.claims.count_endpoints().0, self.claims.count_apps());
            tracing::info!(source.name = %self.status.name, endpoints, apps, "first route table received");
        }
    }

    /// Logs only the first failure. Repeated failures are counted and shown on the status page.
    fn failed(&mut self, error: &SourceError) {
        if self.status.failure.is_none() {
            tracing::warn!(source.name = %self.status.name, %error, "route source failed");
        }
        self.status.failure = Some(error.to_string().into());
        self.status.failed += 1;
    }
}

#[cfg(test)]
mod tests;
