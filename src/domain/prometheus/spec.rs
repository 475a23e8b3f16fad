//! What an instance should be like.

use super::{AlertmanagerUrl, Period, Storage};
use serde::{Deserialize, Serialize};

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
