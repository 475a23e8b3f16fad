//! The desired state of a Prometheus instance.

use super::{AlertmanagerUrl, Period, Storage};
use serde::{Deserialize, Serialize};

/// The settings of a Prometheus instance. They are stored when the instance is created or updated.
/// A later change of the plan takes effect with the next update of the instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Retention time of samples.
    pub retention: Period,
    /// Maximum size of stored samples, in bytes.
    pub retention_size: Option<u64>,
    /// The storage for samples.
    pub storage: Storage,
    /// Number of identical servers.
    pub replicas: u8,
    /// Memory limit of one server, in bytes.
    pub memory_limit: u64,
    /// Interval between scrapes of a target.
    pub scrape_interval: Period,
    /// Maximum number of samples per target. 0 means no limit.
    pub sample_limit: u64,
    /// Name of an entry of `prometheus.remote_writes`.
    pub remote_write: Option<String>,
    /// Recording and alerting rules, in the format of a rule file.
    pub rules: Option<String>,
    /// The Alertmanager that receives alerts.
    pub alertmanager_url: Option<AlertmanagerUrl>,
}

/// A change that would delete stored samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataLoss {
    /// A change from disk to memory.
    #[error(
        "the plan keeps samples in memory, and this instance has them on disk: they would be lost; create another instance"
    )]
    ToMemory,
    /// Each replica has its own samples.
    #[error(
        "the plan has {to} replicas instead of {from}: what the others have stored would be lost; create another instance"
    )]
    FewerReplicas {
        /// Current number.
        from: u8,
        /// Requested number.
        to: u8,
    },
    /// The new plan has a shorter retention time, and the request does not set one.
    #[error(
        "samples are kept for {to} instead of {from} with this plan: older ones would be lost; if that is what you want, say it with the parameter retention"
    )]
    ShorterRetention {
        /// Current retention time.
        from: Period,
        /// Requested retention time.
        to: Period,
    },
    /// Prometheus would delete the oldest samples immediately.
    #[error(
        "the plan keeps {to} bytes of samples instead of {from}: the oldest would be lost; create another instance"
    )]
    SmallerRetention {
        /// Current size in bytes.
        from: u64,
        /// Requested size in bytes.
        to: u64,
    },
}

impl Spec {
    /// Checks whether an instance can be changed to `next` without losing samples.
    /// `retention_is_explicit` means that the request itself sets the retention time.
    ///
    /// # Errors
    /// [`DataLoss`] describes which samples would be lost.
    pub fn check_change(&self, next: &Self, retention_is_explicit: bool) -> Result<(), DataLoss> {
        if (self.storage, next.storage) == (Storage::Disk, Storage::Tmpfs) {
            return Err(DataLoss::ToMemory);
        }
        if next.replicas < self.replicas {
            return Err(DataLoss::FewerReplicas { from: self.replicas, to: next.replicas });
        }
        if next.retention < self.retention && !retention_is_explicit {
            return Err(DataLoss::ShorterRetention { from: self.retention, to: next.retention });
        }
        let size = |spec: &Self| spec.retention_size.unwrap_or(u64::MAX);
        let (from, to) = (size(self), size(next));
        if to < from && from != u64::MAX {
            return Err(DataLoss::SmallerRetention { from, to });
        }
        Ok(())
    }
}
