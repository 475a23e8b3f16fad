//! The folder of one replica.

use rustix::{fs::statvfs, process::geteuid};
use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub(super) const CONFIG: &str = "prometheus.yml";
/// Basic auth of the web interface.
pub(super) const WEB: &str = "web.yml";
/// Stored samples.
pub(super) const DATA: &str = "data";
/// Port of the process.
pub(super) const PORT: &str = "port";
/// PID, start time and loaded configuration ([`PidFile`](super::child::PidFile)).
pub(super) const PID: &str = "pid";
pub(super) const LOG: &str = "prometheus.log";
/// The rotated log.
pub(super) const OLD_LOG: &str = "prometheus.log.1";

/// The folder of a replica: `<root>/<slug>/<number>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ReplicaFolder(PathBuf);

impl ReplicaFolder {
    pub(super) fn new(root: &Path, slug: &str, number: u8) -> Self {
        Self(root.join(slug).join(number.to_string()))
    }

    /// A working directory of a process, which may be any folder.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder that contains this configuration file.
    pub(super) fn of_config(config: &Path) -> Option<Self> {
        (config.file_name()? == CONFIG).then(|| config.parent().map(Path::to_owned))?.map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn number(&self) -> Option<u8> {
        self.0.file_name()?.to_str()?.parse().ok()
    }

    /// A name that is unique on this machine, for a cgroup.
    pub(super) fn unique_name(&self) -> io::Result<String> {
        let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
        let slug = self.0.parent().map(name).unwrap_or_default();
        let metadata = fs::metadata(&self.0)?;
        Ok(format!("{slug}-{}-{:x}-{:x}", name(&self.0), metadata.dev(), metadata.ino()))
    }

    pub(super) fn is_below(&self, root: &Path) -> bool {
        self.0.parent().and_then(Path::parent) == Some(root)
    }

    /// Whether the folder exists. Fails if it, or the folder of its instance, is no directory: the
    /// target of a symlink must not be removed.
    pub(super) fn exists(&self) -> io::Result<bool> {
        for path in [self.0.parent(), Some(&self.0)].into_iter().flatten() {
            match fs::symlink_metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
                Ok(metadata) if !metadata.is_dir() => return Err(not_a_folder()),
                Ok(_) => {}
            }
        }
        Ok(true)
    }

    /// Creates the folder and its parents, readable for the owner only.
    pub(super) fn make(&self) -> io::Result<()> {
        if let Some(root) = self.0.parent().and_then(Path::parent) {
            make_root(root)?;
        }
        for path in [self.0.parent(), Some(&self.0)].into_iter().flatten() {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_owner(path)?,
                made => made?,
            }
        }
        Ok(())
    }

    /// Writes a file atomically. Returns whether its content changed.
    pub(super) fn write(&self, name: &str, content: &str) -> io::Result<bool> {
        let path = self.file(name);
        if fs::read(&path).is_ok_and(|now| now == content.as_bytes()) {
            return Ok(false);
        }
        let draft = self.file(&format!("{name}.draft"));
        remove_file(&draft)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(content.as_bytes())?;
        drop(file);
        fs::rename(draft, path)?;
        Ok(true)
    }

    pub(super) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok()
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        remove_file(&self.file(name))
    }
}

/// Creates `data_dir` or `tmpfs_dir`.
pub(super) fn make_root(root: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(root)?;
    // The owner of the folder could replace the folders of instances.
    let owner = fs::metadata(root)?.uid();
    if owner != geteuid().as_raw() && owner != 0 {
        return Err(io::Error::other("the folder for instances belongs to another user"));
    }
    Ok(())
}

/// Free space of the file system, in bytes.
pub(super) fn free_space(path: &Path) -> io::Result<u64> {
    let free_space = statvfs(path)?;
    Ok(free_space.f_bavail.saturating_mul(free_space.f_frsize))
}

fn check_owner(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(not_a_folder());
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(io::Error::other("its folder belongs to another user"));
    }
    if metadata.mode() & 0o777 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn not_a_folder() -> io::Error {
    io::Error::other("there is something else where its folder should be")
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
