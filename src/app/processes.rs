//! Prometheus instances as child processes, as the settings have it.

use crate::{
    config::Config,
    provisioner::process::{
        ProcessMetrics, ProcessPaths, ProcessPolicy, ProcessProvisioner, Timeouts,
    },
};

use std::{os::unix::fs::PermissionsExt, path::Path};

/// Default of `PATH`, as in the C library.
const PATH: &str = "/bin:/usr/bin";

pub(super) fn policy(config: &Config) -> ProcessPolicy {
    ProcessPolicy::new(paths(config))
}

pub(super) fn provisioner(config: &Config, metrics: ProcessMetrics) -> ProcessProvisioner {
    ProcessProvisioner::new(paths(config), Timeouts::default(), metrics)
}

/// Location of the processes, compared with that of other processes that share the database.
pub(super) fn location(config: &Config) -> String {
    paths(config).location()
}

/// Whether the configured Prometheus can be started.
pub(super) fn has_binary(config: &Config) -> bool {
    let ProcessPaths { binary, search, .. } = paths(config);
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
    };
    // As `execvp` does it: a name with a slash is a path.
    match binary.components().count() > 1 || binary.is_absolute() {
        true => is_program(&binary),
        false => search.iter().any(|folder| is_program(&folder.join(&binary))),
    }
}

fn paths(config: &Config) -> ProcessPaths {
    let prometheus = &config.prometheus;
    // Where a shell would find programs, too.
    let search = std::env::var_os("PATH").unwrap_or_else(|| PATH.into());
    ProcessPaths {
        binary: prometheus.binary.clone(),
        search: std::env::split_paths(&search).collect(),
        data_dir: prometheus.data_dir.clone(),
        tmpfs_dir: prometheus.tmpfs_dir.clone(),
        ports: prometheus.ports.clone(),
    }
}
