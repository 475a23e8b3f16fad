//! Moves and removes stored samples. After a crash `data` is complete or absent.
//!
//! A random id in both folders proves that one is a copy of the other. If both folders contain
//! samples and the ids differ, neither is removed: a changed `data_dir` or `tmpfs_dir` may contain
//! older samples.

use super::{
    file_lock::CancelFlag,
    folder::{DATA, ReplicaFolder},
};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

/// Incomplete copy.
const DRAFT: &str = "data.draft";
/// Data that is being removed.
const GONE: &str = "data.gone";
/// Random id of a copy, in the original folder and in the folder of the copy.
const COPY_ID: &str = "copy-id";

/// Moves `data` and removes `from`. No process may run in either folder.
pub(super) fn move_data(
    from: &ReplicaFolder,
    to: &ReplicaFolder,
    cancel: &CancelFlag,
) -> io::Result<()> {
    if !from.exists()? {
        return to.remove(COPY_ID);
    }
    check_apart(from.path(), to.path())?;
    let (source, target) = (from.file(DATA), to.file(DATA));
    match (exists(&source)?, exists(&target)?) {
        (false, _) => {}
        (true, false) => copy_data(from, to, cancel)?,
        (true, true) if is_copy(from, to) => {}
        (true, true) => {
            tracing::error!(
                one = %source.display(),
                other = %target.display(),
                "both folders hold samples of one Prometheus and neither is a copy; move one away"
            );
            return Err(io::Error::other(
                "there are samples of it on disk and in memory, and neither is a copy of the other",
            ));
        }
    }
    remove_folder(from)?;
    to.remove(COPY_ID)
}

/// Fails if both paths are the same folder.
pub(super) fn check_apart(one: &Path, other: &Path) -> io::Result<()> {
    let inode = |path: &Path| match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        metadata => metadata.map(|metadata| Some((metadata.dev(), metadata.ino()))),
    };
    match (inode(one)?, inode(other)?) {
        (Some(one), Some(other)) if one == other => {
            Err(io::Error::other("prometheus.data_dir and prometheus.tmpfs_dir are one folder"))
        }
        _ => Ok(()),
    }
}

/// The id is written before the data, so that it proves a complete copy as soon as `data` exists.
fn copy_data(from: &ReplicaFolder, to: &ReplicaFolder, cancel: &CancelFlag) -> io::Result<()> {
    let (target, draft) = (to.file(DATA), to.file(DRAFT));
    let id = uuid::Uuid::new_v4().to_string();
    from.write(COPY_ID, &id)?;
    to.write(COPY_ID, &id)?;
    remove_tree(&draft)?;
    copy(&from.file(DATA), &draft, cancel)?;
    fs::rename(&draft, &target)?;
    File::open(to.path())?.sync_all()
}

fn is_copy(from: &ReplicaFolder, to: &ReplicaFolder) -> bool {
    let (one, other) = (from.read(COPY_ID), to.read(COPY_ID));
    one.is_some_and(|id| !id.is_empty() && other.as_ref() == Some(&id))
}

/// A dangling symlink counts as existing: its target may be on a disk that is not mounted.
fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        metadata => metadata.map(|_| true),
    }
}

/// Removes the folder of a replica with its samples.
pub(super) fn remove_folder(folder: &ReplicaFolder) -> io::Result<()> {
    remove_tree(&folder.file(GONE))?;
    match fs::rename(folder.file(DATA), folder.file(GONE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    remove_tree(folder.path())?;
    if let Some(parent) = folder.path().parent() {
        remove_empty(parent)?;
    }
    Ok(())
}

pub(super) fn remove_instance(path: &Path) -> io::Result<()> {
    remove_tree(path)
}

/// The folders of the replicas of an instance.
pub(super) fn replicas(root: &Path, slug: &str) -> io::Result<Vec<ReplicaFolder>> {
    let entries = match fs::read_dir(root.join(slug)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        folders.extend(number.map(|number| ReplicaFolder::new(root, slug, number)));
    }
    Ok(folders)
}

fn copy(from: &Path, to: &Path, cancel: &CancelFlag) -> io::Result<()> {
    cancel.check()?;
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        cancel.check()?;
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, cancel)?;
        } else {
            fs::copy(entry.path(), &target)?;
            // The original is removed next, so the copy must be durable.
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

/// Retries and pause when a folder gets new entries while it is removed.
const REMOVE_RETRIES: (usize, Duration) = (20, Duration::from_millis(50));

fn remove_tree(path: &Path) -> io::Result<()> {
    let (mut tries, pause) = REMOVE_RETRIES;
    loop {
        tries -= 1;
        return match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // The name is reserved for Scrapebroker, whatever the entry is.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
            // The last writes of an ended process may appear with a delay.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries > 0 => {
                std::thread::sleep(pause);
                continue;
            }
            removed => removed,
        };
    }
}

fn remove_empty(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        removed => removed,
    }
}
