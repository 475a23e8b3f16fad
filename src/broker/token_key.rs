//! The generated `broker.token_key` in a file next to an SQLite database.

use crate::{secrets::KeyError, store::restrict_permissions};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Why there is no usable token key.
#[derive(Debug, thiserror::Error)]
pub enum TokenKeyError {
    /// Replicas cannot share a file, so with PostgreSQL the operator must set the key.
    #[error("broker.token_key is required with PostgreSQL")]
    Missing,
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file is missing, so the secrets in the database cannot be decrypted.
    #[error(
        "{} is missing: it contains the key of the secrets in the database next to it; \
         put it back, or set broker.token_key to what was in it",
        .0.display()
    )]
    Lost(PathBuf),
    /// The file is empty or no UTF-8 text.
    #[error("{} contains no key; restore the file from a backup", .0.display())]
    Unusable(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
}

/// Reads the key of a database file. Generates it if it is missing and `create` is set.
///
/// A new key is written to another file and then linked, so that neither a crash nor a second
/// process can leave or replace an incomplete key.
pub(super) fn load(database: &Path, create: bool) -> Result<SecretString, TokenKeyError> {
    let path = key_path(database);
    match read(&path) {
        Err(TokenKeyError::Lost(_)) if create => {
            generate(&path).map_err(|source| TokenKeyError::File { path: path.clone(), source })?;
            tracing::info!(path = %path.display(), "broker.token_key generated; include it in backups");
            read(&path)
        }
        found => {
            restrict_permissions(&path);
            found
        }
    }
}

/// Path of the key of a database file.
pub(super) fn key_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".token-key");
    PathBuf::from(name)
}

fn read(path: &Path) -> Result<SecretString, TokenKeyError> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(TokenKeyError::Unusable(path.to_owned())),
        Ok(text) => Ok(text.trim().into()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => TokenKeyError::Lost(path.to_owned()),
            io::ErrorKind::InvalidData => TokenKeyError::Unusable(path.to_owned()),
            _ => TokenKeyError::File { path: path.to_owned(), source: error },
        }),
    }
}

fn generate(path: &Path) -> io::Result<()> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    let draft = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let linked = writeln!(file, "{}", URL_SAFE_NO_PAD.encode(key))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        // Another process has created the key first; it is used.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        // The new directory entry must be durable as well.
        Ok(()) => File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_generated_once_and_readable_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("my.db");
        let key = load(&database, true).unwrap();
        assert!(key.expose_secret().len() >= 43);
        assert_eq!(load(&database, true).unwrap().expose_secret(), key.expose_secret());
        let file = dir.path().join("my.db.token-key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        load(&database, false).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn many_processes_that_start_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("my.db");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| load(&database, true).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let first = keys[0].expose_secret();
        assert!(keys.iter().all(|key| key.expose_secret() == first));
    }

    #[test]
    fn a_lost_or_empty_key_of_a_used_database_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("my.db");
        let lost = load(&database, false).unwrap_err();
        assert!(matches!(lost, TokenKeyError::Lost(_)), "{lost}");
        let file = dir.path().join("my.db.token-key");
        assert!(!file.exists());
        for content in [b"" as &[u8], b" \n", b"\xff"] {
            fs::write(&file, content).unwrap();
            let unusable = load(&database, true).unwrap_err();
            assert!(matches!(unusable, TokenKeyError::Unusable(_)), "{unusable}");
        }
    }
}
