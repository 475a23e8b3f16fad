//! What an instance should be like.

use super::{AlertmanagerUrl, Period, Storage};
use crate::domain::InstanceId;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Everything that makes one Prometheus differ from another, as it is stored
/// when an instance is made or changed: what the operator does to the plan
/// afterwards reaches the instance with its next update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// How long samples are kept.
    pub retention: Period,
    /// How many bytes of them are kept.
    pub retention_size: Option<u64>,
    /// Where they are kept.
    pub storage: Storage,
    /// Equal instances that scrape the same.
    pub replicas: u8,
    /// Memory that one of them may take, in bytes.
    pub memory_limit: u64,
    /// How often targets are scraped.
    pub scrape_interval: Period,
    /// Most samples of one target; 0: no limit.
    pub sample_limit: u64,
    /// Name of a target of `prometheus.remote_writes`.
    pub remote_write: Option<String>,
    /// The text of a rule file.
    pub rules: Option<String>,
    /// Where alerts go.
    pub alertmanager_url: Option<AlertmanagerUrl>,
}

/// Why a change is refused: stored samples would be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossOfData {
    /// Memory is smaller than disks, and gone with the machine.
    #[error(
        "the plan keeps samples in memory, and this instance has them on disk: they would be lost; create another instance"
    )]
    ToMemory,
    /// Replicas scrape each for itself.
    #[error(
        "the plan has {to} replicas instead of {from}: what the others have stored would be lost; create another instance"
    )]
    FewerReplicas {
        /// Now.
        from: u8,
        /// Then.
        to: u8,
    },
    /// Without a word of the user's.
    #[error(
        "samples are kept for {to} instead of {from} with this plan: older ones would be lost; if that is what you want, say it with the parameter retention"
    )]
    ShorterRetention {
        /// Now.
        from: Period,
        /// Then.
        to: Period,
    },
    /// The oldest would go at once.
    #[error(
        "the plan keeps {to} bytes of samples instead of {from}: the oldest would be lost; create another instance"
    )]
    SmallerRetention {
        /// Now.
        from: u64,
        /// Then.
        to: u64,
    },
}

impl Spec {
    /// Whether an instance can become like `next` with all that it has stored.
    /// `retention_is_said` if the request itself names the retention.
    ///
    /// # Errors
    /// [`LossOfData`] tells what would be lost.
    pub fn check_change(&self, next: &Self, retention_is_said: bool) -> Result<(), LossOfData> {
        if (self.storage, next.storage) == (Storage::Disk, Storage::Tmpfs) {
            return Err(LossOfData::ToMemory);
        }
        if next.replicas < self.replicas {
            return Err(LossOfData::FewerReplicas { from: self.replicas, to: next.replicas });
        }
        if next.retention < self.retention && !retention_is_said {
            return Err(LossOfData::ShorterRetention { from: self.retention, to: next.retention });
        }
        let size = |spec: &Self| spec.retention_size.unwrap_or(u64::MAX);
        let (from, to) = (size(self), size(next));
        if to < from && from != u64::MAX {
            return Err(LossOfData::SmallerRetention { from, to });
        }
        Ok(())
    }
}

/// The name of an instance in the path under which it is found: its id, as long as
/// that needs no encoding, else its [`slug`].
///
/// Prometheus writes this path into its pages and redirects, decoded; so it has
/// to be the same encoded and decoded. The ids of Cloud Foundry are.
pub fn segment(id: &InstanceId, hash: impl FnOnce(&[u8]) -> [u8; 32]) -> String {
    let text = id.as_str();
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    match text.bytes().all(unreserved) && !text.starts_with('.') {
        true => text.to_owned(),
        false => slug(id, hash),
    }
}

/// Longest readable part of a slug, in bytes.
const READABLE: usize = 12;

/// A name for folders and apps that belong to an instance: lower-case letters,
/// digits and dashes, at most 29 of them. The same id has the same, and two
/// ids have different ones (64 bits of a hash; `hash` is SHA-256).
pub fn slug(id: &InstanceId, hash: impl FnOnce(&[u8]) -> [u8; 32]) -> String {
    let safe = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let readable: String = id.as_str().chars().map(safe).collect();
    // The end, since all ids of Tsuru begin alike.
    let start = readable.len().saturating_sub(READABLE);
    let readable = readable.get(start..).unwrap_or_default().trim_matches('-');
    let mut slug = match readable {
        "" => String::new(),
        readable => format!("{readable}-"),
    };
    for byte in hash(id.as_str().as_bytes()).iter().take(8) {
        // Writing to a text cannot fail.
        let _ = write!(slug, "{byte:02x}");
    }
    slug
}
