//! Validation of instances that run as child processes.

use super::{
    ProcessPaths,
    folder::{free_space, make_root},
};
use crate::domain::prometheus::{ProvisionPolicy, Refusal, Spec, Storage};
use bytesize::ByteSize;
use futures_util::future::LocalBoxFuture;
use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};

/// Disk space for a replica whose plan has no `retention_size`, in bytes.
const DEFAULT_RETENTION_SIZE: u64 = 512 << 20;

/// Checks the program, the storage folder and its free space.
#[derive(Clone, Debug)]
pub struct ProcessPolicy(ProcessPaths);

impl ProcessPolicy {
    pub fn new(paths: ProcessPaths) -> Self {
        Self(paths.absolute())
    }

    fn check(&self, spec: &Spec, before: Option<&Spec>) -> Result<(), String> {
        program(&self.0)?;
        let (key, root) = match spec.storage {
            Storage::Disk => ("prometheus.data_dir", &self.0.data_dir),
            Storage::Tmpfs => ("prometheus.tmpfs_dir", &self.0.tmpfs_dir),
        };
        let cannot = |reason: String| {
            tracing::error!(path = %root.display(), reason, "storage folder not usable");
            format!("{key}: no folder can be made there: {reason}; ask the operator")
        };
        make_root(root).map_err(|error| cannot(error.to_string()))?;
        access(root, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| cannot(error.to_string()))?;
        let needed = additional_space(spec, before);
        let free = free_space(root).map_err(|error| cannot(error.to_string()))?;
        if free < needed {
            let size = |bytes| ByteSize(bytes).display().iec().to_string();
            let (free, needed) = (size(free), size(needed));
            return Err(format!("{key}: {needed} are needed, and {free} are free"));
        }
        Ok(())
    }
}

impl ProvisionPolicy for ProcessPolicy {
    fn validate<'a>(
        &'a self,
        spec: &'a Spec,
        before: Option<&'a Spec>,
    ) -> LocalBoxFuture<'a, Result<(), Refusal>> {
        let (this, spec, before) = (self.clone(), spec.clone(), before.cloned());
        Box::pin(async move {
            let check = tokio::task::spawn_blocking(move || this.check(&spec, before.as_ref()));
            let checked = check.await.unwrap_or_else(|error| Err(error.to_string()));
            checked.map_err(Refusal::Capacity)
        })
    }

    fn capacity(&self) -> Option<u64> {
        Some(self.0.ports.clone().count() as u64)
    }
}

/// Disk space that the instance needs in addition to what it has already.
fn additional_space(spec: &Spec, before: Option<&Spec>) -> u64 {
    let size = |spec: &Spec| {
        spec.retention_size.unwrap_or(DEFAULT_RETENTION_SIZE).saturating_mul(spec.replicas.into())
    };
    let reserved = before.filter(|before| before.storage == spec.storage).map_or(0, size);
    size(spec).saturating_sub(reserved)
}

/// The program to start, or an error for users, who must not see paths of the operator.
pub(super) fn program(paths: &ProcessPaths) -> Result<PathBuf, String> {
    find_program(&paths.binary, &paths.search).map_err(|problem| {
        tracing::error!(problem, "prometheus program not usable");
        "prometheus.binary names no program that can be started; ask the operator".to_owned()
    })
}

/// Resolves a path, or a name in `PATH`.
///
/// # Errors
/// A sentence that names the setting.
pub fn find_program(binary: &Path, search: &[PathBuf]) -> Result<PathBuf, String> {
    let shown = binary.display();
    let is_name = binary.components().count() == 1 && !binary.to_string_lossy().contains('/');
    let candidates: Vec<PathBuf> = match is_name {
        true => search.iter().map(|folder| folder.join(binary)).collect(),
        false => vec![std::path::absolute(binary).unwrap_or_else(|_| binary.to_owned())],
    };
    let mut files = candidates.into_iter().filter(|path| path.is_file()).peekable();
    if files.peek().is_none() {
        let place = if is_name { "is not in PATH" } else { "does not exist, or is no file" };
        return Err(format!("prometheus.binary: {shown} {place}"));
    }
    let program = files.find(|path| access(path, Access::EXEC_OK).is_ok());
    program.ok_or_else(|| format!("prometheus.binary: {shown} is not executable"))
}
