//! Finds the processes of replicas by their command lines.

use super::{ProcessContext, child::ProcessIdentity, folder::ReplicaFolder, replica_handle};
use futures_util::future::join_all;
use procfs::process::{FDTarget, Process, all_processes};
use rustix::process::geteuid;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// The argument that names the folder of the replica.
pub(super) const CONFIG_FILE_FLAG: &str = "--config.file=";

/// Number and interval of searches while a process is in `exec` and has no command line.
const MAX_SEARCHES: usize = 10;
const SEARCH_INTERVAL: Duration = Duration::from_millis(10);

/// A process and the folder of its replica.
#[derive(Clone, Debug)]
pub(super) struct FoundProcess {
    pub(super) folder: ReplicaFolder,
    pub(super) identity: ProcessIdentity,
}

/// All processes in folders of replicas below `roots`.
pub(super) fn below(roots: &[PathBuf]) -> Vec<FoundProcess> {
    find(|folder| roots.iter().any(|root| folder.is_below(root)))
}

/// All processes of one instance.
pub(super) fn in_folders(folders: &[PathBuf]) -> Vec<FoundProcess> {
    find(|folder| folders.iter().any(|it| folder.path().parent() == Some(it)))
}

fn find(is_included: impl Fn(&ReplicaFolder) -> bool) -> Vec<FoundProcess> {
    let (mut found, mut is_complete) = search_once(&is_included);
    for _ in 1..MAX_SEARCHES {
        if is_complete {
            break;
        }
        std::thread::sleep(SEARCH_INTERVAL);
        (found, is_complete) = search_once(&is_included);
    }
    found
}

/// Searches once. Also returns whether the result is complete: a process in `exec` has no command
/// line, but its working directory is already the folder of its replica.
fn search_once(is_included: impl Fn(&ReplicaFolder) -> bool) -> (Vec<FoundProcess>, bool) {
    let own_user = geteuid().as_raw();
    let (mut found, mut is_complete) = (Vec::new(), true);
    let Ok(processes) = all_processes() else { return (found, false) };
    for process in processes.filter_map(Result::ok) {
        if process.uid().ok() != Some(own_user) {
            continue;
        }
        let Ok(arguments) = process.cmdline() else { continue };
        if arguments.is_empty() {
            is_complete &= !is_in_folder(&process, &is_included);
            continue;
        }
        let config = arguments.iter().find_map(|argument| argument.strip_prefix(CONFIG_FILE_FLAG));
        let folder = config.and_then(|config| ReplicaFolder::of_config(Path::new(config)));
        let Some(folder) = folder.filter(&is_included) else { continue };
        found.extend(
            ProcessIdentity::of(&process).map(|identity| FoundProcess { folder, identity }),
        );
    }
    (found, is_complete)
}

/// Kernel threads and zombies have no working directory, or one that is not a folder of a replica.
fn is_in_folder(process: &Process, is_included: impl Fn(&ReplicaFolder) -> bool) -> bool {
    process.cwd().is_ok_and(|folder| is_included(&ReplicaFolder::at(folder)))
}

/// Whether the process listens on this port of the loopback interface. The password is only sent if
/// it does.
pub(super) fn listens(identity: ProcessIdentity, port: u16) -> bool {
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

/// Ends all processes in folders of replicas.
pub(super) async fn end_all(context: &ProcessContext) {
    let roots = vec![context.paths.data_dir.clone(), context.paths.tmpfs_dir.clone()];
    let found = tokio::task::spawn_blocking(move || below(&roots)).await.unwrap_or_default();
    let ends = found.into_iter().map(async |found| {
        if replica_handle::end(found.identity, context.timeouts.end_timeout).await.is_err() {
            tracing::error!(pid = found.identity.pid, "prometheus not stopped at shutdown");
        }
    });
    join_all(ends).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::process::CommandExt,
        process::{Child, Command, Stdio},
    };

    /// A process of the same user whose only argument is empty.
    fn without_arguments(folder: &Path) -> Child {
        let mut command = Command::new("cat");
        command.arg0("").current_dir(folder).stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_process_without_a_command_line_does_not_hide_others() {
        let root = tempfile::tempdir().unwrap();
        let folder = ReplicaFolder::new(root.path(), "s", 0);
        folder.make().unwrap();
        let ours =
            format!("{CONFIG_FILE_FLAG}{}", folder.file(super::super::folder::CONFIG).display());
        let mut ours = Command::new("sh")
            .args(["-c", "read line", "sh", &ours])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // A foreign process, and a replica that is being started.
        for place in [Path::new("/"), folder.path()] {
            let mut other = without_arguments(place);
            let found = below(&[root.path().to_owned()]);
            let pids: Vec<_> = found.iter().map(|found| found.identity.pid).collect();
            assert_eq!(pids, [i32::try_from(ours.id()).unwrap()], "{}", place.display());
            other.kill().unwrap();
            // A zombie has no command line either.
            assert_eq!(below(&[root.path().to_owned()]).len(), 1);
            other.wait().unwrap();
        }
        ours.kill().unwrap();
        ours.wait().unwrap();
    }
}
