//! Rate-limited log messages about dropped endpoints and messages.
//!
//! A router repeats its routes every few seconds, and a publisher may send thousands of invalid
//! messages per second. The same message is therefore logged once per hour, and each source is
//! limited to a few messages per minute. All drops are also counted in metrics.

use std::{collections::BTreeSet, mem, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Maximum number of messages per source within [`WINDOW`].
const MAX_MESSAGES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum number of messages that are remembered to avoid repetitions.
const MAX_REMEMBERED: usize = 256;
/// How long they are remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60 * 60);

/// Number of drops per response that are described. Others are only counted.
pub(super) const DESCRIBED: usize = 20;

/// A dropped endpoint or message. The texts are short enough for a log message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dropped {
    app: String,
    route: String,
    unit: String,
    reason: String,
}

impl Dropped {
    /// `app` and `route` are untrusted texts. Empty if unknown.
    pub(super) fn new(app: &str, route: &str, reason: impl std::fmt::Display) -> Self {
        Self { app: cause(app), route: cause(route), unit: String::new(), reason: cause(reason) }
    }

    /// A dropped unit of a Tsuru app.
    pub(super) fn unit(app: &str, unit: &str, reason: impl std::fmt::Display) -> Self {
        Self { unit: cause(unit), ..Self::new(app, "", reason) }
    }
}

/// The log messages of one source.
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

    /// Whether a message may be logged now, so that the caller can skip preparing it.
    pub(super) fn has_room(&mut self, now: Instant) -> bool {
        if self.window.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            (self.window, self.lines) = (Some(now), 0);
        }
        self.lines < MAX_MESSAGES
    }

    /// Counts a drop that was not logged because of the limit.
    pub(super) fn suppress(&mut self) {
        self.suppressed += 1;
    }

    /// Logs a drop unless it was logged before or the limit is reached.
    pub(super) fn log(&mut self, dropped: Dropped, now: Instant) {
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
        if self.remembered.len() < MAX_REMEMBERED {
            self.remembered.insert(dropped);
        }
    }
}

/// Maximum length of an error text of a library, in characters.
const MAX_CAUSE: usize = 200;

/// Shortens the text of an error for a log message.
pub(super) fn cause(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CAUSE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_not_repeated_and_limited_per_minute() {
        let mut log = DropLog::new("source".into());
        let start = Instant::now();
        let dropped = |n: usize| Dropped::new("app", &n.to_string(), "reason");
        for _ in 0..3 {
            log.log(dropped(0), start);
        }
        assert_eq!((log.lines, log.suppressed), (1, 0));
        for n in 0..100 {
            log.log(dropped(n), start);
        }
        assert_eq!((log.lines, log.suppressed), (MAX_MESSAGES, 100 - MAX_MESSAGES));
        assert!(!log.has_room(start));
        log.log(dropped(50), start + WINDOW);
        assert_eq!(
            (log.lines, log.suppressed),
            (1, 0),
            "the next message contains the number of suppressed ones"
        );
        for n in 0..10_000 {
            log.log(dropped(n), start + WINDOW * u32::try_from(n).unwrap());
        }
        assert!(log.remembered.len() <= MAX_REMEMBERED);
    }

    #[test]
    fn texts_are_shortened_to_one_line() {
        let dropped = Dropped::new("a\nb", &"x".repeat(10_000), "why");
        assert_eq!(dropped.app, "a b");
        assert!(dropped.route.len() <= 200);
    }
}
