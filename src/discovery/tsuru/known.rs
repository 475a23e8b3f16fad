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
        drop_log::DropLog,
        error::SourceError,
        sources::{Changes, Report, Standing},
    },
    domain::TsuruApp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
    time::Duration,
};
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
    /// What it has, and when that was told.
    told: Option<(Told, Instant)>,
}

#[derive(Debug)]
pub(super) struct Known {
    ages: Ages,
    drop_log: DropLog,
    apps: BTreeMap<String, State>,
    /// The turns of all apps, the next one first.
    turns: BTreeSet<(Instant, String)>,
    /// Apps whose last answer was a failure.
    failing: BTreeSet<String>,
    /// How many apps were told of by their last answer.
    well: usize,
    /// What the writer was told.
    reported: BTreeMap<Key, Entry>,
    /// Something may differ from that.
    has_changed: bool,
    /// The last failure that was not reported, while the API is away.
    failure: Option<SourceError>,
    /// Failures that were not reported.
    failed: u64,
    is_away: bool,
    /// Every app that was bound then has had its turn once.
    is_filled: bool,
    /// Since when it is here.
    here_since: Option<Instant>,
    last_answer: Option<Instant>,
    /// When the writer is told that all is as it was.
    report_again: Instant,
    has_news: bool,
}

impl Known {
    pub(super) fn new(ages: Ages, drop_log: DropLog, now: Instant) -> Self {
        Self {
            ages,
            drop_log,
            apps: BTreeMap::new(),
            turns: BTreeSet::new(),
            failing: BTreeSet::new(),
            well: 0,
            reported: BTreeMap::new(),
            has_changed: false,
            failure: None,
            failed: 0,
            is_away: false,
            is_filled: false,
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
            if self.apps.contains_key(&app.name) {
                continue;
            }
            let state = match before.remove(&app.name) {
                Some(state) if state.app == *app => state,
                Some(state) => State { app: app.clone(), turn: Some(now), ..state },
                None => State { app: app.clone(), turn: Some(now), told: None },
            };
            self.apps.insert(app.name.clone(), state);
        }
        let turns = self.apps.iter().filter_map(|(name, state)| Some((state.turn?, name.clone())));
        self.turns = turns.collect();
        self.failing.retain(|name| self.apps.contains_key(name));
        let told = self.apps.iter().filter(|(_, state)| state.told.is_some());
        self.well = told.filter(|(name, _)| !self.failing.contains(*name)).count();
        self.has_changed |= before.values().any(|gone| gone.told.is_some());
        self.has_news |= self.has_changed || bound.is_empty();
        self.judge(now);
    }

    /// The next app to ask for, if it is its turn by now.
    pub(super) fn next_to_ask(&mut self, now: Instant) -> Option<TsuruApp> {
        if self.next_turn()? > now {
            return None;
        }
        let (_, name) = self.turns.pop_first()?;
        let state = self.apps.get_mut(&name)?;
        state.turn = None;
        Some(state.app.clone())
    }

    /// When it is the next app's turn.
    pub(super) fn next_turn(&self) -> Option<Instant> {
        self.turns.first().map(|(turn, _)| *turn)
    }

    /// Takes what was answered when `app` was asked for.
    pub(super) fn take(&mut self, app: &TsuruApp, mut answer: Answer, now: Instant) {
        let Some(state) = self.apps.get_mut(&app.name) else { return };
        // It was bound anew meanwhile, and is asked for again.
        if state.app != *app {
            return;
        }
        let name = &app.name;
        let next = now + self.ages.refresh_interval;
        if let Some(turn) = state.turn.replace(next) {
            self.turns.remove(&(turn, name.clone()));
        }
        self.turns.insert((next, name.clone()));
        self.has_news = true;
        if let Ok(Some(told)) = &mut answer {
            for dropped in mem::take(&mut told.dropped) {
                self.drop_log.note(dropped, now);
            }
        }
        let was_well = state.told.is_some() && !self.failing.contains(name);
        let had_endpoints = state.told.as_ref().is_some_and(|(told, _)| told.has_endpoints());
        let answer = match answer {
            // It has units, and where they are is not known any more.
            Ok(Some(told)) if had_endpoints && told.skipped > 0 && !told.has_endpoints() => {
                Err(SourceError::App("names no address of any unit"))
            }
            answer => answer,
        };
        match answer {
            Ok(told) => {
                let told = told.unwrap_or_default();
                self.well += usize::from(!was_well);
                self.last_answer = Some(now);
                match &mut state.told {
                    Some((known, at)) if *known == told => *at = now,
                    known => {
                        *known = Some((told, now));
                        self.has_changed = true;
                    }
                }
                if self.failing.remove(name) && self.failing.is_empty() {
                    tracing::info!("units of all Tsuru apps are known again");
                }
            }
            Err(error) => {
                self.well -= usize::from(was_well);
                // One line: how many there are is counted.
                if self.failing.is_empty() {
                    tracing::warn!(
                        app = %name,
                        %error,
                        "units of a Tsuru app are unknown; keeping the last known ones"
                    );
                }
                self.failing.insert(name.clone());
                self.failure = Some(error);
                self.failed += 1;
            }
        }
        self.judge(now);
    }

    /// Finds out whether the API is away.
    fn judge(&mut self, now: Instant) {
        let is_away = self.well == 0 && !self.failing.is_empty();
        if !is_away && (self.is_away || self.here_since.is_none()) {
            self.here_since = Some(now);
        }
        self.is_away = is_away;
    }

    /// When something falls due that [`expire`](Self::expire) drops.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = match self.is_away {
            true if self.apps.values().any(|state| state.told.is_some()) => self.kept_until(),
            true => None,
            false => self.failing.iter().filter_map(|name| self.stale_at(name)).min(),
        };
        due.into_iter().chain([self.report_again]).min()
    }

    /// When what an app had is too old, if the API tells of others meanwhile.
    fn stale_at(&self, name: &str) -> Option<Instant> {
        let (_, at) = self.apps.get(name)?.told.as_ref()?;
        (*at).max(self.here_since?).checked_add(self.ages.stale_after)
    }

    /// Drops what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        self.has_news |= self.report_again <= now;
        let due: Vec<String> = match self.is_away {
            true if self.kept_until().is_none_or(|due| due > now) => return,
            true => self.failing.iter().cloned().collect(),
            false => {
                let is_stale = |name: &&String| self.stale_at(name).is_some_and(|due| due <= now);
                self.failing.iter().filter(is_stale).cloned().collect()
            }
        };
        for name in due {
            if self.apps.get_mut(&name).is_some_and(|state| state.told.take().is_some()) {
                (self.has_changed, self.has_news) = (true, true);
            }
        }
    }

    /// How long all that is known counts while the API is away.
    fn kept_until(&self) -> Option<Instant> {
        self.last_answer?.checked_add(self.ages.keep)
    }

    /// Whether there is anything to report.
    pub(super) fn has_news(&self) -> bool {
        self.has_news
    }

    /// What to report.
    pub(super) fn report(&mut self, now: Instant) -> Vec<Report> {
        self.has_news = false;
        self.report_again = now + self.ages.refresh_interval;
        self.is_filled |= self.well + self.failing.len() == self.apps.len();
        let standing = match (self.is_away, self.is_filled) {
            (true, _) => Standing::Away,
            (false, false) => Standing::Filling,
            (false, true) => Standing::Current,
        };
        // It counts as one failed try.
        let failure = self.failure.take().filter(|_| self.is_away);
        let failed = mem::take(&mut self.failed).saturating_sub(failure.is_some().into());
        let changes = self.changes();
        let mut reports = Vec::new();
        if standing != Standing::Away || !changes.is_empty() || failed > 0 {
            let told = self.apps.values().filter_map(|state| state.told.as_ref());
            let skipped: usize = told.map(|(told, _)| told.skipped).sum();
            // Nothing new is known of these.
            let skipped = skipped + self.failing.len();
            let changes = Changes { changes, standing, failed, skipped, without_app: 0 };
            reports.push(Report::Changes(changes));
        }
        reports.extend(failure.map(Report::Failure));
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
