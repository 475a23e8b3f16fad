//! Files that hold secrets are for their owner alone.

use rustix::process::geteuid;
use std::{
    fs::{self, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// What only the owner may do with a file.
const OWNER_ONLY: u32 = 0o600;

/// Creates an empty file for its owner only. One that is there stays as it is.
pub(super) fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// Takes away what others may do with a file, and warns of it. A missing file is none of concern.
pub fn protect(path: &Path) {
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
            tracing::warn!(path = %path_shown, before, "others could read or write a file with secrets; it is for its owner only from now on");
        }
        Err(error) => {
            tracing::warn!(path = %path_shown, before, is_ours, %error, "others can read or write a file with secrets");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let mode = || fs::metadata(&file).unwrap().mode() & 0o777;
        protect(&file);
        create(&file).unwrap();
        assert_eq!(mode(), 0o600);
        fs::write(&file, "x").unwrap();
        create(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
        for (before, after) in [(0o644, 0o600), (0o777, 0o600), (0o440, 0o400), (0o600, 0o600)] {
            fs::set_permissions(&file, Permissions::from_mode(before)).unwrap();
            protect(&file);
            assert_eq!(mode(), after, "{before:o}");
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        protect(folder.path());
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o755, "no file");
    }
}
