//! Settings of a Prometheus plan: `metadata.prometheus` in the catalog.

use super::Period;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// The Prometheus settings of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusPlan {
    /// Retention time of samples.
    pub retention: Bounds,
    /// Maximum size of stored samples, in bytes. Prometheus deletes the oldest samples first.
    pub retention_size: Option<u64>,
    /// The storage for samples.
    pub storage: Storage,
    /// Number of identical servers that scrape the same targets.
    pub replicas: u8,
    /// Memory limit of one server, in bytes.
    pub memory_limit: u64,
    /// Interval between scrapes of a target.
    pub scrape_interval: Bounds,
    /// Maximum number of samples per target. 0 means no limit.
    pub sample_limit: u64,
    /// Name of an entry of `prometheus.remote_writes` that receives all samples.
    pub remote_write: Option<String>,
}

/// Allowed range and default of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub min: Period,
    pub default: Period,
    pub max: Period,
}

/// The storage for samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// Memory. Samples are lost when the machine stops.
    Tmpfs,
    Disk,
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tmpfs => "tmpfs",
            Self::Disk => "disk",
        })
    }
}

/// Minimum memory limit with which a Prometheus starts, in bytes.
const MIN_MEMORY: u64 = 32 << 20;

/// Maximum number of replicas.
pub const MAX_REPLICAS: u8 = 5;

const KNOWN_KEYS: [&str; 8] = [
    "retention",
    "retention_size",
    "storage",
    "replicas",
    "memory_limit",
    "scrape_interval",
    "sample_limit",
    "remote_write",
];

impl PrometheusPlan {
    /// Parses `metadata.prometheus` of a plan.
    ///
    /// # Errors
    /// Returns all problems: the key below `metadata.prometheus`, and what to change.
    pub fn parse(metadata: &Value) -> Result<Self, Vec<(String, String)>> {
        let Some(map) = metadata.as_object() else {
            return Err(vec![(String::new(), "must be an object".to_owned())]);
        };
        let mut reader = Reader { map, mistakes: Vec::new() };
        for key in map.keys().filter(|key| !KNOWN_KEYS.contains(&key.as_str())) {
            reader.mistake::<()>(key, format!("is unknown; known are {}", KNOWN_KEYS.join(", ")));
        }
        let retention = reader.bounds("retention");
        let scrape_interval = reader.bounds("scrape_interval");
        let retention_size = reader.size("retention_size");
        let memory_limit = reader.size("memory_limit");
        let memory_limit = match memory_limit {
            Ok(None) => reader.mistake("memory_limit", "is missing; write it like 512MiB"),
            Ok(Some(limit)) if limit < MIN_MEMORY => {
                reader.mistake("memory_limit", "must be at least 32MiB")
            }
            limit => limit.ok().flatten(),
        };
        let storage = match reader.get("storage").map(Value::as_str) {
            Some(Some("tmpfs")) => Some(Storage::Tmpfs),
            Some(Some("disk")) => Some(Storage::Disk),
            _ => reader.mistake("storage", "must be tmpfs or disk"),
        };
        if storage == Some(Storage::Tmpfs) && retention_size == Ok(None) {
            reader.mistake::<()>("retention_size", "is missing: memory storage needs a limit");
        }
        let replicas = match reader.get("replicas").map_or(Some(1), Value::as_u64) {
            Some(replicas) if (1..=MAX_REPLICAS.into()).contains(&replicas) => {
                u8::try_from(replicas).ok()
            }
            _ => reader
                .mistake("replicas", format!("must be a whole number from 1 to {MAX_REPLICAS}")),
        };
        let sample_limit = match reader.get("sample_limit").map_or(Some(0), Value::as_u64) {
            None => reader.mistake("sample_limit", "must be a whole number; 0 is no limit"),
            limit => limit,
        };
        let remote_write = match reader.get("remote_write") {
            None => Some(None),
            Some(Value::String(name)) if !name.is_empty() => Some(Some(name.clone())),
            Some(_) => reader.mistake("remote_write", "must be a name of prometheus.remote_writes"),
        };
        let plan = || {
            Some(Self {
                retention: retention?,
                retention_size: retention_size.ok()?,
                storage: storage?,
                replicas: replicas?,
                memory_limit: memory_limit?,
                scrape_interval: scrape_interval?,
                sample_limit: sample_limit?,
                remote_write: remote_write?,
            })
        };
        match plan() {
            Some(plan) if reader.mistakes.is_empty() => Ok(plan),
            _ => Err(reader.mistakes),
        }
    }
}

/// A mistake was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded;

struct Reader<'a> {
    map: &'a Map<String, Value>,
    mistakes: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn mistake<T>(&mut self, key: &str, problem: impl Into<String>) -> Option<T> {
        self.mistakes.push((key.to_owned(), problem.into()));
        None
    }

    /// Parses `{"min": …, "default": …, "max": …}`.
    fn bounds(&mut self, key: &str) -> Option<Bounds> {
        let Some(map) = self.get(key).and_then(Value::as_object) else {
            return self.mistake(key, "must be an object with min, default and max");
        };
        let mut bound = |name: &str| {
            let period = map.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
            if period.is_none() {
                self.mistake::<()>(&format!("{key}.{name}"), "must be a duration like 30s or 15d");
            }
            period
        };
        let (min, default, max) = (bound("min"), bound("default"), bound("max"));
        let bounds = Bounds { min: min?, default: default?, max: max? };
        match bounds.min <= bounds.default && bounds.default <= bounds.max {
            true => Some(bounds),
            false => self.mistake(key, "must have min, default and max in this order"),
        }
    }

    /// Parses a size such as `512MiB`, or a number of bytes.
    fn size(&mut self, key: &str) -> Result<Option<u64>, Recorded> {
        let size = match self.get(key) {
            None => return Ok(None),
            Some(Value::String(text)) => {
                text.parse::<bytesize::ByteSize>().ok().map(|it| it.as_u64())
            }
            Some(value) => value.as_u64(),
        };
        match size {
            Some(size @ 1..) => Ok(Some(size)),
            _ => {
                self.mistake::<()>(key, "must be a size like 512MiB");
                Err(Recorded)
            }
        }
    }
}
