//! What is known of each app, whose turn it is, and what is news.
//!
//! Pure but for memory and log: time comes in as an argument, and nothing here
//! waits.
//!
//! The API is *away* when the last answer about every app was a failure. While
//! it is here, an app that it does not tell of keeps what it had until
//! `stale_after`; while it is away all do, until `keep` since its last answer.

use super::{Answer, Told};
use crate::{
    discovery::{
        claims::{Change, Key},
        document::Entry,
        error::SourceError,
        sources::{Changes, Report, Standing},
    },
    domain::TsuruApp,
};
use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// Pause between two questions about an app.
    pub(super) refresh_interval: Duration,
    /// For an app, while others are told of.
    pub(super) stale_after: Duration,
    /// For everything, while nothing is told.
    pub(super) keep: Duration,
}

#[derive(Debug)]
struct State {
    app: TsuruApp,
    /// When it is its turn. None while it is asked for.
    turn: Option<Instant>,
    told: Option<(Told, Instant)>,
    /// Its last answer was a failure.
    has_failed: bool,
}

impl State {
    fn has_answered(&self) -> bool {
        self.has_failed || self.told.is_some()
    }
}

#[derive(Debug)]
pub(super) struct Known {
    ages: Ages,
    apps: BTreeMap<String, State>,
    /// What the writer was told.
    reported: BTreeMap<Key, Entry>,
    /// Something may differ from that.
    has_changed: bool,
    /// The last failure that was not reported, while the API is away.
    failure: Option<SourceError>,
    is_away: bool,
    /// Since when it is here.
    here_since: Option<Instant>,
    last_answer: Option<Instant>,
    /// When the writer is told that all is as it was.
    report_again: Instant,
    has_news: bool,
}

impl Known {
    pub(super) fn new(ages: Ages, now: Instant) -> Self {
        Self {
            ages,
            apps: BTreeMap::new(),
            reported: BTreeMap::new(),
            has_changed: false,
            failure: None,
            is_away: false,
            here_since: None,
            last_answer: None,
            report_again: now,
            has_news: false,
        }
    }

    /// These apps are bound now, and no others.
    pub(super) fn bind(&mut self, bound: &[TsuruApp], now: Instant) {
        let mut before = mem::take(&mut self.apps);
        for app in bound {
            let state = match before.remove(&app.name) {
                Some(state) if state.app == *app => state,
                Some(state) => State { app: app.clone(), turn: Some(now), ..state },
                None => State { app: app.clone(), turn: Some(now), told: None, has_failed: false },
            };
            self.apps.insert(app.name.clone(), state);
        }
        self.has_changed |= before.values().any(|gone| gone.told.is_some());
        self.has_news |= self.has_changed || bound.is_empty();
        self.judge(now);
    }

    /// The next app to ask for, if it is its turn by now.
    pub(super) fn next_to_ask(&mut self, now: Instant) -> Option<TsuruApp> {
        let is_due = |state: &&mut State| state.turn.is_some_and(|turn| turn <= now);
        let next = self.apps.values_mut().filter(is_due).min_by_key(|state| state.turn)?;
        next.turn = None;
        Some(next.app.clone())
    }

    /// When it is the next app's turn.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        self.apps.values().filter_map(|state| state.turn).min()
    }

    /// Takes what was answered when `app` was asked for.
    pub(super) fn take(&mut self, app: &TsuruApp, answer: Answer, now: Instant) {
        let had_any_failed = self.is_any_failed();
        let Some(state) = self.apps.get_mut(&app.name) else { return };
        // It was bound anew meanwhile, and is asked for again.
        if state.app != *app {
            return;
        }
        state.turn = now.checked_add(self.ages.refresh_interval);
        self.has_news = true;
        match answer {
            Ok(told) => {
                let told = told.unwrap_or_default();
                state.has_failed = false;
                self.last_answer = Some(now);
                match &mut state.told {
                    Some((known, at)) if *known == told => *at = now,
                    known => {
                        *known = Some((told, now));
                        self.has_changed = true;
                    }
                }
                if had_any_failed && !self.is_any_failed() {
                    tracing::info!("all apps of tsuru are told of again");
                }
            }
            Err(error) => {
                state.has_failed = true;
                // One line: how many there are is counted.
                if !had_any_failed {
                    let name = &app.name;
                    tracing::warn!(
                        %error,
                        "the app {name} of tsuru keeps the units it had: {error}; more of these are only counted"
                    );
                }
                self.failure = Some(error);
            }
        }
        self.judge(now);
    }

    fn is_any_failed(&self) -> bool {
        self.apps.values().any(|state| state.has_failed)
    }

    /// Finds out whether the API is away.
    fn judge(&mut self, now: Instant) {
        let mut answered = self.apps.values().filter(|state| state.has_answered()).peekable();
        let is_away = answered.peek().is_some() && answered.all(|state| state.has_failed);
        if !is_away && (self.is_away || self.here_since.is_none()) {
            self.here_since = Some(now);
        }
        self.is_away = is_away;
    }

    /// When something falls due that [`expire`](Self::expire) drops.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = match self.is_away {
            true if self.apps.values().any(|state| state.told.is_some()) => {
                self.last_answer?.checked_add(self.ages.keep)
            }
            true => None,
            false => {
                let failed = self.apps.values().filter(|state| state.has_failed);
                failed.filter_map(|state| self.stale_at(state)).min()
            }
        };
        due.into_iter().chain([self.report_again]).min()
    }

    /// When what an app had is too old, if the API tells of others meanwhile.
    fn stale_at(&self, state: &State) -> Option<Instant> {
        let (_, at) = state.told.as_ref()?;
        (*at).max(self.here_since?).checked_add(self.ages.stale_after)
    }

    /// Drops what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        self.has_news |= self.report_again <= now;
        let keep = self.last_answer.and_then(|at| at.checked_add(self.ages.keep));
        let is_all_due = self.is_away && keep.is_some_and(|due| due <= now);
        let due: Vec<String> = (self.apps.iter())
            .filter(|(_, state)| state.told.is_some() && state.has_failed)
            .filter(|(_, state)| match self.is_away {
                true => is_all_due,
                false => self.stale_at(state).is_some_and(|due| due <= now),
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            if let Some(state) = self.apps.get_mut(&name) {
                state.told = None;
                (self.has_changed, self.has_news) = (true, true);
            }
        }
    }

    /// Whether there is anything to report.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// What to report.
    pub(super) fn report(&mut self, now: Instant) -> Vec<Report> {
        self.has_news = false;
        self.report_again = now + self.ages.refresh_interval;
        let is_waiting = !self.apps.is_empty() && !self.apps.values().any(State::has_answered);
        let standing = match (self.is_away, is_waiting) {
            (true, _) => Standing::Away,
            (false, true) => Standing::Filling,
            (false, false) => Standing::Current,
        };
        let changes = self.changes();
        let mut reports = Vec::new();
        if standing != Standing::Away || !changes.is_empty() {
            let told = self.apps.values().filter_map(|state| state.told.as_ref());
            let skipped: usize = told.map(|(told, _)| told.skipped).sum();
            // Nothing new is known of these.
            let failed = self.apps.values().filter(|state| state.has_failed).count();
            let skipped = skipped + failed;
            let changes = Changes { changes, standing, skipped, without_app: 0 };
            reports.push(Report::Changes(changes));
        }
        let failure = self.failure.take();
        reports.extend(failure.filter(|_| self.is_away).map(Report::Failure));
        reports
    }

    /// How what is known differs from what was reported.
    fn changes(&mut self) -> Vec<Change> {
        if !mem::take(&mut self.has_changed) {
            return Vec::new();
        }
        let told = self.apps.values().filter_map(|state| state.told.as_ref());
        let entries = told.flat_map(|(told, _)| &told.entries);
        let key = |entry: &Entry| {
            let address = entry.endpoint.as_ref().map(|endpoint| endpoint.address);
            (Arc::clone(&entry.route), address)
        };
        let now: BTreeMap<Key, Entry> = entries.map(|entry| (key(entry), entry.clone())).collect();
        let before = mem::replace(&mut self.reported, now);
        let gone = before.keys().filter(|key| !self.reported.contains_key(*key));
        let gone = gone.map(|(route, address)| {
            let route = Arc::clone(route);
            Change::Gone { route, address: *address }
        });
        let said = self.reported.iter().filter(|(key, entry)| before.get(*key) != Some(entry));
        gone.chain(said.map(|(_, entry)| Change::Said(entry.clone()))).collect()
    }
}

#[cfg(test)]
mod tests;
