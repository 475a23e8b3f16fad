//! The units of each app, the poll schedule, and the changes to report.
//!
//! The time is an argument of all functions.
//!
//! The API is *unavailable* if the last poll of every app failed. While it is available, an app
//! whose poll fails keeps its units until `stale_after`. While it is unavailable, all apps keep
//! their units until `keep` after the last successful poll.

use super::{AppUnits, UnitsResult};
use crate::{
    discovery::{
        Settings,
        document::{Entry, EntryKey},
        drop_log::DropLog,
        error::SourceError,
        report::{Change, Changes, Report, SyncState},
    },
    domain::TsuruApp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};
use tokio::time::Instant;

#[derive(Debug)]
struct State {
    app: TsuruApp,
    /// None during a poll.
    next_poll: Option<Instant>,
    /// The units and the time of the poll.
    app_units: Option<(AppUnits, Instant)>,
}

#[derive(Debug)]
pub(super) struct AppStates {
    settings: Settings,
    drop_log: DropLog,
    apps: BTreeMap<String, State>,
    /// Poll times of all apps, earliest first.
    schedule: BTreeSet<(Instant, String)>,
    /// Apps whose last poll failed.
    failing: BTreeSet<String>,
    /// Number of apps whose last poll succeeded.
    succeeding: usize,
    /// Entries that were reported to the writer.
    reported: BTreeMap<EntryKey, Entry>,
    /// The entries may differ from `reported`.
    has_changed: bool,
    /// The last unreported failure while the API is unavailable.
    failure: Option<SourceError>,
    /// Number of unreported failures.
    failed: u64,
    is_unavailable: bool,
    /// All apps have been polled once.
    is_synced: bool,
    /// Since when the API is available.
    available_since: Option<Instant>,
    last_answer: Option<Instant>,
    /// When the unchanged state is confirmed to the writer.
    report_again: Instant,
    has_report: bool,
}

impl AppStates {
    pub(super) fn new(settings: Settings, drop_log: DropLog, now: Instant) -> Self {
        Self {
            settings,
            drop_log,
            apps: BTreeMap::new(),
            schedule: BTreeSet::new(),
            failing: BTreeSet::new(),
            succeeding: 0,
            reported: BTreeMap::new(),
            has_changed: false,
            failure: None,
            failed: 0,
            is_unavailable: false,
            is_synced: false,
            available_since: None,
            last_answer: None,
            report_again: now,
            has_report: false,
        }
    }

    /// Sets the bound apps.
    pub(super) fn set_bound(&mut self, bound: &[TsuruApp], now: Instant) {
        let mut before = mem::take(&mut self.apps);
        for app in bound {
            if self.apps.contains_key(&app.name) {
                continue;
            }
            let state = match before.remove(&app.name) {
                Some(state) if state.app == *app => state,
                Some(state) => State { app: app.clone(), next_poll: Some(now), ..state },
                None => State { app: app.clone(), next_poll: Some(now), app_units: None },
            };
            self.apps.insert(app.name.clone(), state);
        }
        let schedule =
            self.apps.iter().filter_map(|(name, state)| Some((state.next_poll?, name.clone())));
        self.schedule = schedule.collect();
        self.failing.retain(|name| self.apps.contains_key(name));
        let app_units = self.apps.iter().filter(|(_, state)| state.app_units.is_some());
        self.succeeding = app_units.filter(|(name, _)| !self.failing.contains(*name)).count();
        self.has_changed |= before.values().any(|removed| removed.app_units.is_some());
        self.has_report |= self.has_changed || bound.is_empty();
        self.update_availability(now);
    }

    /// Returns the next app to poll if its poll is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<TsuruApp> {
        if self.next_poll()? > now {
            return None;
        }
        let (_, name) = self.schedule.pop_first()?;
        let state = self.apps.get_mut(&name)?;
        state.next_poll = None;
        Some(state.app.clone())
    }

    pub(super) fn next_poll(&self) -> Option<Instant> {
        self.schedule.first().map(|(next_poll, _)| *next_poll)
    }

    /// Applies the result of a poll.
    pub(super) fn apply(&mut self, app: &TsuruApp, mut result: UnitsResult, now: Instant) {
        let Some(state) = self.apps.get_mut(&app.name) else { return };
        // The app was bound again during the poll and will be polled again.
        if state.app != *app {
            return;
        }
        let name = &app.name;
        let next = now + self.settings.refresh_interval;
        if let Some(next_poll) = state.next_poll.replace(next) {
            self.schedule.remove(&(next_poll, name.clone()));
        }
        self.schedule.insert((next, name.clone()));
        self.has_report = true;
        if let Ok(Some(app_units)) = &mut result {
            for dropped in mem::take(&mut app_units.dropped) {
                self.drop_log.log(dropped, now);
            }
        }
        let was_succeeding = state.app_units.is_some() && !self.failing.contains(name);
        let had_endpoints =
            state.app_units.as_ref().is_some_and(|(app_units, _)| app_units.has_endpoints());
        let result = match result {
            // The app has units, but their addresses are no longer known.
            Ok(Some(app_units))
                if had_endpoints && app_units.skipped > 0 && !app_units.has_endpoints() =>
            {
                Err(SourceError::App("names no address of any unit"))
            }
            result => result,
        };
        match result {
            Ok(app_units) => {
                let app_units = app_units.unwrap_or_default();
                self.succeeding += usize::from(!was_succeeding);
                self.last_answer = Some(now);
                match &mut state.app_units {
                    Some((known, at)) if *known == app_units => *at = now,
                    known => {
                        *known = Some((app_units, now));
                        self.has_changed = true;
                    }
                }
                if self.failing.remove(name) && self.failing.is_empty() {
                    tracing::info!("polls of all tsuru apps succeed again");
                }
            }
            Err(error) => {
                self.succeeding -= usize::from(was_succeeding);
                // Logged once. Further failures are counted.
                if self.failing.is_empty() {
                    tracing::warn!(
                        app = %name,
                        %error,
                        "poll of a tsuru app failed; keeping its last known units"
                    );
                }
                self.failing.insert(name.clone());
                self.failure = Some(error);
                self.failed += 1;
            }
        }
        self.update_availability(now);
    }

    fn update_availability(&mut self, now: Instant) {
        let is_unavailable = self.succeeding == 0 && !self.failing.is_empty();
        if !is_unavailable && (self.is_unavailable || self.available_since.is_none()) {
            self.available_since = Some(now);
        }
        self.is_unavailable = is_unavailable;
    }

    /// When [`expire`](Self::expire) must be called next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = match self.is_unavailable {
            true if self.apps.values().any(|state| state.app_units.is_some()) => self.keep_until(),
            true => None,
            false => self.failing.iter().filter_map(|name| self.stale_at(name)).min(),
        };
        due.into_iter().chain([self.report_again]).min()
    }

    /// When the units of an app expire while the API is available.
    fn stale_at(&self, name: &str) -> Option<Instant> {
        let (_, at) = self.apps.get(name)?.app_units.as_ref()?;
        (*at).max(self.available_since?).checked_add(self.settings.stale_after)
    }

    /// Drops expired units.
    pub(super) fn expire(&mut self, now: Instant) {
        self.has_report |= self.report_again <= now;
        let due: Vec<String> = match self.is_unavailable {
            true if self.keep_until().is_none_or(|due| due > now) => return,
            true => self.failing.iter().cloned().collect(),
            false => {
                let is_stale = |name: &&String| self.stale_at(name).is_some_and(|due| due <= now);
                self.failing.iter().filter(is_stale).cloned().collect()
            }
        };
        for name in due {
            if self.apps.get_mut(&name).is_some_and(|state| state.app_units.take().is_some()) {
                (self.has_changed, self.has_report) = (true, true);
            }
        }
    }

    /// When all units expire while the API is unavailable.
    fn keep_until(&self) -> Option<Instant> {
        self.last_answer?.checked_add(self.settings.keep)
    }

    pub(super) fn has_report(&self) -> bool {
        self.has_report
    }

    /// Returns the reports for the writer.
    pub(super) fn report(&mut self, now: Instant) -> Vec<Report> {
        self.has_report = false;
        self.report_again = now + self.settings.refresh_interval;
        self.is_synced |= self.succeeding + self.failing.len() == self.apps.len();
        let sync_state = match (self.is_unavailable, self.is_synced) {
            (true, _) => SyncState::Disconnected,
            (false, false) => SyncState::Syncing,
            (false, true) => SyncState::Synced,
        };
        // The reported failure counts as one failed attempt.
        let failure = self.failure.take().filter(|_| self.is_unavailable);
        let failed = mem::take(&mut self.failed).saturating_sub(failure.is_some().into());
        let changes = self.changes();
        let mut reports = Vec::new();
        if sync_state != SyncState::Disconnected || !changes.is_empty() || failed > 0 {
            let app_units = self.apps.values().filter_map(|state| state.app_units.as_ref());
            let skipped: usize = app_units.map(|(app_units, _)| app_units.skipped).sum();
            // The units of these apps are not up to date.
            let skipped = skipped + self.failing.len();
            let changes = Changes { changes, sync_state, failed, skipped, without_app: 0 };
            reports.push(Report::Changes(changes));
        }
        reports.extend(failure.map(Report::Failure));
        reports
    }

    /// Returns the changes since the last report.
    fn changes(&mut self) -> Vec<Change> {
        if !mem::take(&mut self.has_changed) {
            return Vec::new();
        }
        let app_units = self.apps.values().filter_map(|state| state.app_units.as_ref());
        let entries = app_units.flat_map(|(app_units, _)| &app_units.entries);
        let now: BTreeMap<EntryKey, Entry> =
            entries.map(|entry| (entry.to_key(), entry.clone())).collect();
        let before = mem::replace(&mut self.reported, now);
        let removed = before.keys().filter(|key| !self.reported.contains_key(*key));
        let removed = removed.cloned().map(Change::Removed);
        let changed = self.reported.iter().filter(|(key, entry)| before.get(*key) != Some(entry));
        removed.chain(changed.map(|(_, entry)| Change::Set(entry.clone()))).collect()
    }
}

#[cfg(test)]
mod tests;
