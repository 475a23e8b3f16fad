//! Location of child processes and their folders, compared between processes that share a database.

use super::ProcessPaths;
use std::{fs, os::unix::fs::MetadataExt, path::Path};

impl ProcessPaths {
    /// Two processes at the same location reach the same servers and files, so that one can take
    /// over from the other: they have the same kernel, network namespace, root folder and
    /// `data_dir`.
    pub fn location(&self) -> String {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let host = text("/proc/sys/kernel/hostname");
        let data_dir =
            std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
        let data_dir = data_dir.canonicalize().unwrap_or(data_dir);
        let boot = text("/proc/sys/kernel/random/boot_id");
        let network = fs::read_link("/proc/self/ns/net").unwrap_or_default();
        let root = fs::metadata(Path::new("/")).map(|it| (it.dev(), it.ino())).unwrap_or_default();
        format!(
            "process on {host} in {}; boot {boot}, network {}, root {}:{}",
            data_dir.display(),
            network.display(),
            root.0,
            root.1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_is_the_same_in_each_process_and_differs_for_another_folder() {
        let paths = |data_dir: &Path| ProcessPaths {
            binary: "prometheus".into(),
            search: Vec::new(),
            data_dir: data_dir.to_owned(),
            tmpfs_dir: "/dev/shm".into(),
            ports: 1..=2,
        };
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        let location = paths(&one).location();
        fs::create_dir(&one).unwrap();
        assert_eq!(paths(&one).location(), location, "before and after the folder is made");
        assert_ne!(paths(&other).location(), location);
        assert!(location.contains(&one.display().to_string()), "{location}");
    }
}
