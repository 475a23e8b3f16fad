//! Finds processes by their command lines, which name the folders of ours.

use super::{Tools, child::Identity, folder::Folder, slot};
use futures_util::future::join_all;
use procfs::process::{FDTarget, Process, StatFlags, all_processes};
use rustix::process::geteuid;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How the argument begins that names the folder.
pub(super) const CONFIG_FILE: &str = "--config.file=";

/// How often is looked again while a process is becoming another program, and the pauses.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(10);

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
    for _ in 0..LOOKS {
        match look(&is_ours) {
            Some(found) => return found,
            None => std::thread::sleep(PAUSE),
        }
    }
    look(&is_ours).unwrap_or_default()
}

/// None while some process is just becoming another program, and may be ours.
fn look(is_ours: impl Fn(&Folder) -> bool) -> Option<Vec<Found>> {
    let own_user = geteuid().as_raw();
    let mut found = Vec::new();
    for process in all_processes().ok()?.filter_map(Result::ok) {
        if process.uid().ok() != Some(own_user) {
            continue;
        }
        let Ok(arguments) = process.cmdline() else { continue };
        if arguments.is_empty() && is_becoming(&process) {
            return None;
        }
        let config = arguments.iter().find_map(|argument| argument.strip_prefix(CONFIG_FILE));
        let folder = config.and_then(|config| Folder::of_config(Path::new(config)));
        let Some(folder) = folder.filter(&is_ours) else { continue };
        found.extend(Identity::of(&process).map(|identity| Found { folder, identity }));
    }
    Some(found)
}

/// It has no command line yet. Threads of the kernel and zombies never have one.
fn is_becoming(process: &Process) -> bool {
    process.stat().is_ok_and(|stat| {
        let is_kernel = stat.flags().is_ok_and(|flags| flags.contains(StatFlags::PF_KTHREAD));
        !is_kernel && !matches!(stat.state, 'Z' | 'X' | 'x')
    })
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
