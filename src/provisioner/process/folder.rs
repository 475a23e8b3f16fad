//! The folder of one replica.

use rustix::{fs::statvfs, process::geteuid};
use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What it is told.
pub(super) const CONFIG: &str = "prometheus.yml";
/// Who may ask it.
pub(super) const WEB: &str = "web.yml";
/// What it has stored.
pub(super) const DATA: &str = "data";
/// The port that it was given.
pub(super) const PORT: &str = "port";
/// Which process it is.
pub(super) const PID: &str = "pid";
/// What it says.
pub(super) const LOG: &str = "prometheus.log";
/// What it said before that.
pub(super) const OLD_LOG: &str = "prometheus.log.1";

/// `<root>/<slug>/<number>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ReplicaFolder(PathBuf);

impl ReplicaFolder {
    pub(super) fn new(root: &Path, slug: &str, number: u8) -> Self {
        Self(root.join(slug).join(number.to_string()))
    }

    /// The folder at a path that a process names.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Of a process that has this file on its command line.
    pub(super) fn of_config(config: &Path) -> Option<Self> {
        (config.file_name()? == CONFIG).then(|| config.parent().map(Path::to_owned))?.map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The number of its replica.
    pub(super) fn number(&self) -> Option<u8> {
        self.0.file_name()?.to_str()?.parse().ok()
    }

    /// A name that no other folder of this machine has, for what lies elsewhere.
    pub(super) fn unique_name(&self) -> io::Result<String> {
        let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
        let slug = self.0.parent().map(name).unwrap_or_default();
        let metadata = fs::metadata(&self.0)?;
        Ok(format!("{slug}-{}-{:x}-{:x}", name(&self.0), metadata.dev(), metadata.ino()))
    }

    pub(super) fn is_below(&self, root: &Path) -> bool {
        self.0.parent().and_then(Path::parent) == Some(root)
    }

    /// Whether it is there. An error if it, or the folder of its instance, is something else: behind
    /// a symlink lies what is not ours to remove.
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

    /// Makes it and what it lies in; others cannot look into it.
    pub(super) fn make(&self) -> io::Result<()> {
        if let Some(root) = self.0.parent().and_then(Path::parent) {
            make_root(root)?;
        }
        for path in [self.0.parent(), Some(&self.0)].into_iter().flatten() {
            match DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => owned(path)?,
                made => made?,
            }
        }
        Ok(())
    }

    /// Writes a file whole or not at all. Whether that changed anything.
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

/// Makes a folder for instances.
pub(super) fn make_root(root: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(root)?;
    // Whoever owns it could put other folders in the place of ours.
    let owner = fs::metadata(root)?.uid();
    if owner != geteuid().as_raw() && owner != 0 {
        return Err(io::Error::other("the folder for instances belongs to another user"));
    }
    Ok(())
}

/// How many bytes can be written below it.
pub(super) fn room(path: &Path) -> io::Result<u64> {
    let room = statvfs(path)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

fn owned(path: &Path) -> io::Result<()> {
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
