//! Detects folders that overlap under different paths.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

/// Whether `a` and `b` are the same folder or one contains the other.
///
/// Resolves symlinks, `..` and bind mounts. The folders need not exist: for a missing folder, the
/// nearest existing parent and the rest of the path are compared.
pub(super) fn overlap(a: &Path, b: &Path) -> io::Result<bool> {
    let (a, b) = (positions(a)?, positions(b)?);
    Ok(a.iter().any(|(place, below)| {
        b.iter().any(|(other, below_other)| {
            place == other && (below.starts_with(below_other) || below_other.starts_with(below))
        })
    }))
}

type Inode = (u64, u64);

/// The folder and all its existing parents, each with the rest of the path.
fn positions(path: &Path) -> io::Result<Vec<(Inode, PathBuf)>> {
    let path = resolved(path)?;
    let mut positions = Vec::new();
    for parent in path.ancestors() {
        let below = path.strip_prefix(parent).unwrap_or(Path::new("")).to_owned();
        if let Some(metadata) = found(fs::metadata(parent))? {
            positions.push(((metadata.dev(), metadata.ino()), below));
        }
    }
    Ok(positions)
}

/// The absolute path without symlinks. Missing parts are used as written.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::from("/");
    for component in std::path::absolute(path)?.components() {
        match component {
            Component::ParentDir => drop(resolved.pop()),
            Component::Normal(name) => {
                let next = resolved.join(name);
                resolved = found(fs::canonicalize(&next))?.unwrap_or(next);
            }
            _ => {}
        }
    }
    Ok(resolved)
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn one_folder_is_recognized_behind_every_path_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("disk/below")).unwrap();
        fs::create_dir(at("memory")).unwrap();
        symlink(at("disk"), at("link")).unwrap();
        symlink("missing-target", at("dangling")).unwrap();
        let cases = [
            ("disk", "memory", false),
            ("disk", "disk2", false),
            ("new", "other", false),
            ("disk/new", "memory/new", false),
            ("disk", "disk", true),
            ("disk", "link", true),
            ("disk", "memory/../disk", true),
            ("disk", "link/../disk/.", true),
            ("new", "missing/../new", true),
            ("link/new", "disk/new", true),
            ("disk", "disk/below", true),
            ("link/below", "disk", true),
            ("new", "new/below", true),
            ("link/new/below", "disk/new", true),
            ("dangling", "disk", false),
        ];
        for (a, b, expected) in cases {
            assert_eq!(overlap(&at(a), &at(b)).unwrap(), expected, "{a} {b}");
            assert_eq!(overlap(&at(b), &at(a)).unwrap(), expected, "{b} {a}");
        }
        assert!(overlap(Path::new("."), &std::env::current_dir().unwrap()).unwrap());
    }
}
