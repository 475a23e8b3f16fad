//! Size of the stored samples of instances, measured in their folders.
//!
//! Prometheus' metric of its blocks is 0 until the first block is written, two hours after the
//! start, and only newer versions export the size of the write-ahead log. Both count for
//! `retention_size`.

use super::{ProcessPaths, data, folder::DATA};
use crate::domain::{InstanceId, prometheus::slug};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Mutex, task::spawn_blocking, time::Instant};

/// A folder is measured again after this long.
const KEPT: Duration = Duration::from_secs(10);

/// Measures and caches sizes. Clones share the cache.
#[derive(Clone, Debug)]
pub struct StoredSizes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `data_dir` and `tmpfs_dir`.
    roots: [PathBuf; 2],
    /// It is locked while folders are measured, so concurrent viewers share the result.
    measured: Mutex<HashMap<InstanceId, Measured>>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    /// `None` if there is no folder.
    size: Option<u64>,
}

impl StoredSizes {
    pub fn new(paths: ProcessPaths) -> Self {
        let ProcessPaths { data_dir, tmpfs_dir, .. } = paths.absolute();
        Self(Arc::new(Inner { roots: [data_dir, tmpfs_dir], measured: Mutex::default() }))
    }

    /// The sizes in bytes, in the order of `instances`: of each the largest of its replicas, because
    /// the limit is for one replica. `None` without a folder on this machine.
    pub async fn of(&self, instances: &[InstanceId]) -> Vec<Option<u64>> {
        let mut measured = self.0.measured.lock().await;
        measured.retain(|_, it| it.at.elapsed() < KEPT);
        let missing = instances.iter().filter(|id| !measured.contains_key(*id));
        let missing: Vec<_> = missing.cloned().collect();
        if !missing.is_empty() {
            let roots = self.0.roots.clone();
            let measure = move || {
                let size = |id: InstanceId| (size_of_instance(&roots, &slug(&id)), id);
                missing.into_iter().map(size).collect::<Vec<_>>()
            };
            // It fails only while the program ends.
            let sizes = spawn_blocking(measure).await.unwrap_or_default();
            let at = Instant::now();
            measured.extend(sizes.into_iter().map(|(size, id)| (id, Measured { at, size })));
        }
        instances.iter().map(|id| measured.get(id).and_then(|it| it.size)).collect()
    }
}

fn size_of_instance(roots: &[PathBuf], slug: &str) -> Option<u64> {
    let replicas = roots.iter().filter_map(|root| data::replicas(root, slug).ok()).flatten();
    replicas.filter_map(|folder| size_of_folder(&folder.file(DATA)).ok()).max()
}

/// Links are not followed. What disappears meanwhile, as a compaction removes blocks, has no size.
fn size_of_folder(folder: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)?.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        size += match metadata.is_dir() {
            true => size_of_folder(&entry.path()).unwrap_or_default(),
            false => metadata.len(),
        };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(folder: &Path) -> StoredSizes {
        StoredSizes::new(ProcessPaths {
            binary: "prometheus".into(),
            search: Vec::new(),
            data_dir: folder.join("disk"),
            tmpfs_dir: folder.join("memory"),
            ports: 1..=2,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_replica_counts_with_blocks_and_log() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = sizes(folder.path());
        let ids = ["own", "other"].map(|id| id.parse::<InstanceId>().unwrap());
        assert_eq!(sizes.of(&ids).await, [None, None]);
        let instance = folder.path().join("memory").join(slug(&ids[0]));
        for (replica, bytes) in [("0", 100), ("1", 3_000)] {
            let data = instance.join(replica).join(DATA);
            fs::create_dir_all(data.join("wal")).unwrap();
            fs::create_dir_all(data.join("01ABC/chunks")).unwrap();
            fs::write(data.join("wal/00000000"), vec![0; bytes]).unwrap();
            fs::write(data.join("01ABC/chunks/000001"), vec![0; 20]).unwrap();
            std::os::unix::fs::symlink("/", data.join("root")).unwrap();
            // Other files of the replica are no samples.
            fs::write(instance.join(replica).join("prometheus.log"), vec![0; 9_000]).unwrap();
        }
        assert_eq!(sizes.of(&ids).await, [None, None], "the result is kept");
        tokio::time::advance(KEPT).await;
        let [Some(size), None] = sizes.of(&ids).await[..] else { panic!("not measured") };
        // The length of a link is that of its target's path.
        assert!((3_020..3_030).contains(&size), "{size}");
    }
}
