//! The desired state of a Prometheus.

use super::{AlertmanagerUrl, Period, Storage};
use serde::{Deserialize, Serialize};

/// The settings of a Prometheus, stored when an instance is created or updated. A later change of the
/// plan takes effect with the next update of the instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// How long samples are kept.
    pub retention: Period,
    /// How many bytes of them are kept.
    pub retention_size: Option<u64>,
    /// Where they are kept.
    pub storage: Storage,
    /// Number of identical servers.
    pub replicas: u8,
    /// Memory limit of one server, in bytes.
    pub memory_limit: u64,
    /// How often targets are scraped.
    pub scrape_interval: Period,
    /// Limit of samples per target; 0: no limit.
    pub sample_limit: u64,
    /// Name of a target of `prometheus.remote_writes`.
    pub remote_write: Option<String>,
    /// The text of a rule file.
    pub rules: Option<String>,
    /// Where alerts go.
    pub alertmanager_url: Option<AlertmanagerUrl>,
}

/// A change that would delete stored samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LossOfData {
    /// Memory is smaller than a disk, and lost with the machine.
    #[error(
        "the plan keeps samples in memory, and this instance has them on disk: they would be lost; create another instance"
    )]
    ToMemory,
    /// Each replica stores its own samples.
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
    /// Whether an instance can change to `next` and keep all stored samples.
    /// `retention_is_said`: the request itself names the retention.
    ///
    /// # Errors
    /// [`LossOfData`] names what would be lost.
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
