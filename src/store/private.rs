//! Restricts access to files with secrets to their owner.

use rustix::process::geteuid;
use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Mode of files that only their owner may access.
const OWNER_ONLY: u32 = 0o600;

/// Creates an empty file that only its owner may access. Does not change an existing file.
pub(super) fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// Removes the permissions of group and others from a file, and logs a warning. Ignores a missing
/// file.
pub fn restrict_permissions(path: &Path) {
    let Ok(metadata) = fs::metadata(path) else { return };
    let mode = metadata.mode() & 0o777;
    if !metadata.is_file() || mode & 0o077 == 0 {
        return;
    }
    let before = format!("{mode:o}");
    let path_shown = path.display();
    let is_ours = metadata.uid() == geteuid().as_raw();
    match fs::set_permissions(path, Permissions::from_mode(mode & OWNER_ONLY)) {
        Ok(()) => {
            tracing::warn!(path = %path_shown, before, "removed access of group and others to a file with secrets");
        }
        Err(error) => {
            tracing::warn!(path = %path_shown, before, is_ours, %error, "cannot restrict access to a file with secrets");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_keeps_access() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let mode = || fs::metadata(&file).unwrap().mode() & 0o777;
        restrict_permissions(&file);
        create(&file).unwrap();
        assert_eq!(mode(), 0o600);
        fs::write(&file, "x").unwrap();
        create(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
        for (before, after) in [(0o644, 0o600), (0o777, 0o600), (0o440, 0o400), (0o600, 0o600)] {
            fs::set_permissions(&file, Permissions::from_mode(before)).unwrap();
            restrict_permissions(&file);
            assert_eq!(mode(), after, "{before:o}");
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        restrict_permissions(folder.path());
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o755, "no file");
    }
}
