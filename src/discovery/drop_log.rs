//! Log lines about dropped endpoints and messages, at a bounded rate.
//!
//! A router repeats itself every few seconds, and a publisher may send thousands of broken
//! messages a second. So a line is not repeated within an hour, and a source gets a few lines a
//! minute. All drops are counted elsewhere.

use super::error::cause;
use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Lines of one source within [`WINDOW`].
const LINES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Lines that are remembered, so that they are not repeated.
const REMEMBERED: usize = 256;
/// For how long they are remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// Drops of one answer that are described; the others are only counted.
pub(super) const DESCRIBED: usize = 20;

/// An endpoint or a message that was dropped. Texts are short enough for a log line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dropped {
    app: String,
    route: String,
    unit: String,
    reason: String,
}

impl Dropped {
    /// `app` and `route` are foreign texts; empty when they are not known.
    pub(super) fn new(app: &str, route: &str, reason: impl std::fmt::Display) -> Self {
        Self { app: cause(app), route: cause(route), unit: String::new(), reason: cause(reason) }
    }

    /// A unit of a Tsuru app.
    pub(super) fn unit(app: &str, unit: &str, reason: impl std::fmt::Display) -> Self {
        Self { unit: cause(unit), ..Self::new(app, "", reason) }
    }
}

/// The lines of one source.
#[derive(Debug)]
pub(super) struct DropLog {
    source: Arc<str>,
    window: Option<Instant>,
    lines: usize,
    suppressed: usize,
    remembered: BTreeSet<Dropped>,
    remembered_since: Option<Instant>,
}

impl DropLog {
    pub(super) fn new(source: Arc<str>) -> Self {
        Self {
            source,
            window: None,
            lines: 0,
            suppressed: 0,
            remembered: BTreeSet::new(),
            remembered_since: None,
        }
    }

    /// Whether a line may be written now: a caller need not describe what is not logged.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        if self.window.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            (self.window, self.lines) = (Some(now), 0);
        }
        self.lines < LINES
    }

    /// Counts a drop for which there was no room.
    pub(super) fn suppress(&mut self) {
        self.suppressed += 1;
    }

    /// Logs a drop, unless it was logged before or there is no room.
    pub(super) fn note(&mut self, dropped: Dropped, now: Instant) {
        let is_old = |since: Instant| now.duration_since(since) >= REMEMBERED_FOR;
        if self.remembered_since.is_none_or(is_old) {
            self.remembered.clear();
            self.remembered_since = Some(now);
        }
        if self.remembered.contains(&dropped) {
            return;
        }
        if !self.has_room(now) {
            return self.suppress();
        }
        self.lines += 1;
        let suppressed = mem::take(&mut self.suppressed);
        let known =
            |text: &str| (!text.is_empty()).then(|| tracing::field::display(text.to_owned()));
        tracing::warn!(
            source.name = %self.source,
            app = known(&dropped.app),
            route = known(&dropped.route),
            unit = known(&dropped.unit),
            reason = %dropped.reason,
            suppressed,
            "endpoint dropped"
        );
        if self.remembered.len() < REMEMBERED {
            self.remembered.insert(dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_not_repeated_and_bounded_per_minute() {
        let mut log = DropLog::new("source".into());
        let start = Instant::now();
        let dropped = |n: usize| Dropped::new("app", &n.to_string(), "reason");
        for _ in 0..3 {
            log.note(dropped(0), start);
        }
        assert_eq!((log.lines, log.suppressed), (1, 0));
        for n in 0..100 {
            log.note(dropped(n), start);
        }
        assert_eq!((log.lines, log.suppressed), (LINES, 100 - LINES));
        assert!(!log.has_room(start));
        log.note(dropped(50), start + WINDOW);
        assert_eq!(
            (log.lines, log.suppressed),
            (1, 0),
            "the next line tells how many were not logged"
        );
        for n in 0..10_000 {
            log.note(dropped(n), start + WINDOW * u32::try_from(n).unwrap());
        }
        assert!(log.remembered.len() <= REMEMBERED);
    }

    #[test]
    fn texts_are_one_short_line() {
        let dropped = Dropped::new("a\nb", &"x".repeat(10_000), "why");
        assert_eq!(dropped.app, "a b");
        assert!(dropped.route.len() <= 200);
    }
}
