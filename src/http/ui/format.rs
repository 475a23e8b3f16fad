//! Values as text for people. Templates pass variables as references.

use crate::{
    domain::App,
    scrape::{Explanation, Platform, ScrapeFailure},
};
use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

/// Maximum length of a text of users on a page, in characters.
const MAX_TEXT: usize = 200;

/// A text that clients or apps chose: control characters replaced, and cut if it is long. Templates
/// put it into `<bdi>`, so that characters that change the direction of writing affect nothing else.
pub fn text(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(MAX_TEXT).map(visible).collect();
    if text.chars().nth(MAX_TEXT).is_some() {
        shown.push('…');
    }
    shown
}

/// Splits a text at backticks. Parts between two of them are commands.
pub fn commands(text: &str) -> impl Iterator<Item = (bool, &str)> {
    text.split('`').enumerate().map(|(index, part)| (index % 2 == 1, part))
}

/// What a failure of an app's instance means, and what to do about it, with commands for the app.
pub fn explanation(failure: &ScrapeFailure, app: &App) -> Explanation {
    let explanation = failure.explain(Platform::of(&app.id));
    match &*app.name {
        "" => explanation,
        name => explanation.for_app(shell_word(name)),
    }
}

/// A word of a shell command. Control characters are replaced, because a terminal would interpret
/// them when the command is pasted.
pub fn shell_word(text: &str) -> String {
    let text = text.replace(char::is_control, "\u{fffd}");
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A size in bytes, as in `1.5 MiB`.
pub fn size(bytes: &u64) -> String {
    bytesize::ByteSize::b(*bytes).display().iec().to_string()
}

/// An integer, with thousands separated by spaces that do not break.
pub fn count(number: impl Display) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// The number and the noun, in the plural if it is not 1.
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = count(number);
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The duration of a request, with three significant digits: `3.21 ms`, `1.50 s`.
pub fn seconds(duration: &Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (value, unit) = if seconds < 1.0 { (seconds * 1e3, "ms") } else { (seconds, "s") };
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}")
}

/// A long duration with at most two units, as in `3 days 2 h`.
pub fn long(duration: &Duration) -> String {
    let total = duration.as_secs();
    let units = [("days", total / 86_400), ("h", total / 3600 % 24), ("min", total / 60 % 60)];
    let shown = units.into_iter().skip_while(|(_, number)| *number == 0).take(2);
    let parts: Vec<_> = shown
        .filter(|(_, number)| *number > 0)
        .map(|(unit, number)| match (unit, number) {
            ("days", 1) => "1 day".to_owned(),
            (unit, number) => format!("{number} {unit}"),
        })
        .collect();
    if parts.is_empty() { format!("{total} s") } else { parts.join(" ") }
}

/// How long ago `at` was, as in `12 s ago`. The script of the pages has the same units.
pub fn ago(at: &SystemTime) -> String {
    let seconds = SystemTime::now().duration_since(*at).unwrap_or_default().as_secs();
    match seconds {
        0 => "now".to_owned(),
        1..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

/// As in `2026-01-31T12:00:00Z`.
pub fn rfc3339(at: &SystemTime) -> String {
    humantime::format_rfc3339_seconds(*at).to_string()
}

/// The time of day in UTC, as in `12:00:00`.
pub fn time_of_day(at: &SystemTime) -> String {
    let text = rfc3339(at);
    text.get(11..19).unwrap_or_default().to_owned()
}

/// `part` of `all` in percent, at most 100.
pub fn percent(part: u64, all: u64) -> u64 {
    let percent = u128::from(part.min(all)) * 100 / u128::from(all.max(1));
    u64::try_from(percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_readable() {
        let s = |seconds| seconds_of(seconds);
        for (duration, text) in [
            (s(0.0), "0.00 ms"),
            (s(0.003_214), "3.21 ms"),
            (s(0.0123), "12.3 ms"),
            (s(0.5), "500 ms"),
            (s(1.5), "1.50 s"),
            (s(123.4), "123 s"),
        ] {
            assert_eq!(seconds(&duration), text);
        }
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min"),
            (3600, "1 h"),
            (3660, "1 h 1 min"),
            (86_400, "1 day"),
            (90_061, "1 day 1 h"),
            (200_000, "2 days 7 h"),
        ] {
            assert_eq!(long(&Duration::from_secs(seconds)), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(count(number).replace('\u{202f}', " "), text);
        }
        assert_eq!(counted(1, "instance"), "1 instance");
        assert_eq!(counted(0, "instance"), "0 instances");
        assert_eq!((percent(1, 3), percent(5, 0), percent(9, 3)), (33, 0, 100));
        assert_eq!(time_of_day(&(SystemTime::UNIX_EPOCH + s(3723.0))), "01:02:03");
    }

    #[test]
    fn texts_are_cut_and_have_no_control_characters() {
        assert_eq!(text("a\n\u{0}b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(text(&"ä".repeat(200)), "ä".repeat(200));
        assert_eq!(text(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
    }

    #[test]
    fn ages_have_one_unit() {
        for (seconds, text) in [
            (0, "now"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7200, "2 h ago"),
            (90_000, "1 d ago"),
        ] {
            assert_eq!(ago(&(SystemTime::now() - Duration::from_secs(seconds))), text);
        }
        assert_eq!(ago(&(SystemTime::now() + Duration::from_secs(60))), "now");
    }

    fn seconds_of(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }
}
