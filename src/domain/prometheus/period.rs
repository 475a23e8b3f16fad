//! Durations in Prometheus' syntax.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// A duration in the syntax of Prometheus: `15d`, `1h30m`, `500ms`.
///
/// There are no fractions. Each unit occurs at most once, and larger units come first
/// (prometheus/common, `model.ParseDuration`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(Duration);

/// Units from the largest to the smallest, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// 100 years. A longer duration is assumed to be a typing mistake.
const MAX_MILLISECONDS: u64 = 100 * 365 * 24 * 3_600_000;

impl Period {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub fn duration(self) -> Duration {
        self.0
    }
}

/// The error of an invalid duration. Its text continues a sentence that starts with the name of the
/// setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration like 30s, 6h or 15d")]
pub struct InvalidPeriod;

impl FromStr for Period {
    type Err = InvalidPeriod;

    fn from_str(text: &str) -> Result<Self, InvalidPeriod> {
        let (mut rest, mut units, mut total) = (text, UNITS.as_slice(), 0_u64);
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidPeriod)?;
            let (number, tail) = rest.split_at(end);
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(unit_end);
            let at = units.iter().position(|(name, _)| *name == unit).ok_or(InvalidPeriod)?;
            let (_, milliseconds) = units.get(at).ok_or(InvalidPeriod)?;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*milliseconds));
            total = part.and_then(|part| total.checked_add(part)).ok_or(InvalidPeriod)?;
            units = units.get(at + 1..).unwrap_or_default();
            rest = tail;
        }
        match total {
            1..=MAX_MILLISECONDS => Ok(Self(Duration::from_millis(total))),
            _ => Err(InvalidPeriod),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut remaining = u64::try_from(self.0.as_millis()).unwrap_or(MAX_MILLISECONDS);
        for (unit, milliseconds) in UNITS {
            // Prometheus does the same: 90d is printed in days, not as a mix of weeks and years.
            let may_use_unit = !matches!(unit, "y" | "w") || remaining.is_multiple_of(milliseconds);
            if remaining >= milliseconds && may_use_unit {
                write!(f, "{}{unit}", remaining / milliseconds)?;
                remaining %= milliseconds;
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Period {
    type Error = InvalidPeriod;

    fn try_from(text: String) -> Result<Self, InvalidPeriod> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}
