//! Finds processes by their command lines, which name the folders of ours.

use super::{Tools, child::Identity, folder::Folder, slot};
use futures_util::future::join_all;
use procfs::process::{FDTarget, Process, all_processes};
use rustix::process::geteuid;
use std::path::{Path, PathBuf};

/// How the argument begins that names the folder.
pub(super) const CONFIG_FILE: &str = "--config.file=";

/// A process with a folder of ours.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) folder: Folder,
    pub(super) identity: Identity,
}

/// All in folders of replicas below one of `roots`.
pub(super) fn below(roots: &[PathBuf]) -> Vec<Found> {
    find(|folder| roots.iter().any(|root| folder.is_below(root)))
}

/// All of one instance, whose folders these are.
pub(super) fn in_folders(folders: &[PathBuf]) -> Vec<Found> {
    find(|folder| folders.iter().any(|it| folder.path().parent() == Some(it)))
}

fn find(is_ours: impl Fn(&Folder) -> bool) -> Vec<Found> {
    let Ok(processes) = all_processes() else { return Vec::new() };
    let own_user = geteuid().as_raw();
    let found = |process: Process| {
        let arguments = process.cmdline().ok()?;
        let config = arguments.iter().find_map(|argument| argument.strip_prefix(CONFIG_FILE))?;
        let folder = Folder::of_config(Path::new(config))?;
        if !is_ours(&folder) || process.uid().ok()? != own_user {
            return None;
        }
        Some(Found { folder, identity: Identity::of(&process)? })
    };
    processes.filter_map(Result::ok).filter_map(found).collect()
}

/// Whether a process listens on a port of the loopback interface. Only then may
/// it be shown the password.
pub(super) fn listens(identity: Identity, port: u16) -> bool {
    let Ok(sockets) = procfs::net::tcp() else { return false };
    let inode = sockets.iter().find_map(|socket| {
        let is_it = socket.local_address.port() == port
            && socket.local_address.ip().is_loopback()
            && socket.state == procfs::net::TcpState::Listen;
        is_it.then_some(socket.inode)
    });
    let Some(inode) = inode else { return false };
    let Ok(files) = Process::new(identity.pid).and_then(|process| process.fd()) else {
        return false;
    };
    files
        .filter_map(Result::ok)
        .any(|file| matches!(file.target, FDTarget::Socket(it) if it == inode))
}

/// Ends whatever runs in folders of ours.
pub(super) async fn end_all(tools: &Tools) {
    let roots = vec![tools.places.data_dir.clone(), tools.places.tmpfs_dir.clone()];
    let found = tokio::task::spawn_blocking(move || below(&roots)).await.unwrap_or_default();
    let ends = found.into_iter().map(async |found| {
        if slot::end(found.identity, tools.patience.end).await.is_err() {
            tracing::error!(pid = found.identity.pid, "a Prometheus cannot be ended");
        }
    });
    join_all(ends).await;
}
