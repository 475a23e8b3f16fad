//! Moves and removes what replicas have stored, so that a kill leaves either
//! all of it or nothing that could be taken for it.

use super::{
    folder::{DATA, Folder},
    turn::Over,
};
use std::{
    fs::{self, File},
    io,
    path::Path,
    time::Duration,
};

/// Half a copy.
const DRAFT: &str = "data.draft";
/// Half removed.
const GONE: &str = "data.gone";

/// Copies what lies in `from` to `to`, where it is from now on, and removes
/// `from`. Nothing runs in either.
pub(super) fn move_data(from: &Folder, to: &Folder, over: &Over) -> io::Result<()> {
    if !from.path().try_exists()? {
        return Ok(());
    }
    let (source, target, draft) = (from.file(DATA), to.file(DATA), to.file(DRAFT));
    if source.try_exists()? && !target.try_exists()? {
        remove_tree(&draft)?;
        copy(&source, &draft, over)?;
        fs::rename(&draft, &target)?;
        File::open(to.path())?.sync_all()?;
    }
    remove_folder(from)
}

/// Removes the folder of a replica with all that it has stored.
pub(super) fn remove_folder(folder: &Folder) -> io::Result<()> {
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

/// Removes all that is left of an instance.
pub(super) fn remove_instance(path: &Path) -> io::Result<()> {
    remove_tree(path)
}

/// Replicas that have a folder.
pub(super) fn replicas(root: &Path, slug: &str) -> io::Result<Vec<Folder>> {
    let entries = match fs::read_dir(root.join(slug)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        folders.extend(number.map(|number| Folder::new(root, slug, number)));
    }
    Ok(folders)
}

fn copy(from: &Path, to: &Path, over: &Over) -> io::Result<()> {
    over.check()?;
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        over.check()?;
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, over)?;
        } else {
            fs::copy(entry.path(), &target)?;
            // Where it came from is removed next.
            File::open(&target)?.sync_all()?;
        }
    }
    File::open(to)?.sync_all()
}

/// How often a folder is emptied again into which something was put meanwhile, and when.
const AGAIN: (usize, Duration) = (20, Duration::from_millis(50));

fn remove_tree(path: &Path) -> io::Result<()> {
    let (mut tries, pause) = AGAIN;
    loop {
        tries -= 1;
        return match fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Something else has its name, which is ours.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
            // What a process wrote last may become visible only now.
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
