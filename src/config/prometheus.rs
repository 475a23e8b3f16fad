//! The section `prometheus`: provisioned instances.

mod folders;
mod tsuru;

use super::{
    Prometheus, Provisioner,
    section::{Read, Section},
    values,
};
use crate::{
    domain::http_url,
    provisioner::{PolicySettings, RemoteWrite, process::ProcessPaths},
};
use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

pub(super) fn prometheus(s: &mut Section<'_>, search: Vec<PathBuf>) -> Read<Prometheus> {
    let provisioners = [Provisioner::Process, Provisioner::Tsuru, Provisioner::None];
    let provisioners = provisioners.map(|it| (it.as_str(), it));
    let provisioner = s.value("provisioner", "process", values::choice(&provisioners));
    let binary = s.value("binary", "prometheus", values::path);
    let promtool = s.value("promtool", "promtool", values::path);
    let data_dir = s.value("data_dir", "prometheus-instances", values::path);
    let tmpfs_dir = s.value("tmpfs_dir", "/dev/shm/scrapebroker", values::path);
    let ports = s.value("ports", "19100-19999", ports);
    let max_instances = s.value("max_instances", "100", values::number(0..=100_000));
    let max_instances_per_space =
        s.value("max_instances_per_space", "5", values::number(0..=100_000));
    let operation_timeout = s.value("operation_timeout", "5m", values::period);
    let alertmanager_allow = s.texts("alertmanager_allow", str::parse);
    let remote_writes = s.named("remote_writes", remote_write);
    let tsuru = s.section("tsuru", tsuru::tsuru);
    if let (Ok(Provisioner::Tsuru), Ok(None)) = (provisioner, &tsuru) {
        s.mistake("tsuru.image", "is missing: the image that deploy/tsuru/prometheus makes");
    }
    let process = ProcessPaths {
        binary: binary?,
        search: search.clone(),
        data_dir: match provisioner {
            Ok(Provisioner::Process) => separate_folders(s, data_dir?, tmpfs_dir.as_deref().ok())?,
            _ => data_dir?,
        },
        tmpfs_dir: tmpfs_dir?,
        ports: ports?,
    };
    Ok(Prometheus {
        provisioner: provisioner?,
        process,
        tsuru: tsuru?,
        policy: PolicySettings {
            promtool: promtool?,
            search,
            alertmanager_allow: alertmanager_allow?,
        },
        max_instances: max_instances?,
        max_instances_per_space: max_instances_per_space?,
        operation_timeout: operation_timeout?,
        remote_writes: remote_writes?,
    })
}

/// The folders must not overlap: the provisioner deletes unknown folders, so each cleanup would
/// delete the samples in the other.
fn separate_folders(
    s: &mut Section<'_>,
    data_dir: PathBuf,
    tmpfs_dir: Option<&Path>,
) -> Read<PathBuf> {
    let Some(tmpfs_dir) = tmpfs_dir else { return Ok(data_dir) };
    match folders::overlap(&data_dir, tmpfs_dir) {
        Ok(false) => Ok(data_dir),
        Ok(true) => Err(s.mistake(
            "tmpfs_dir",
            "must be another folder than data_dir, and neither may lie within the other \
                 (symlinks and mounts are followed)",
        )),
        Err(error) => {
            Err(s.mistake("tmpfs_dir", format!("cannot be compared with data_dir: {error}")))
        }
    }
}

/// Parses a port range such as `19100-19999`, both ends included.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (0 < first && first <= last).then_some(first..=last)
    });
    range.ok_or_else(|| "is not a range of ports; write it like 19100-19999".to_owned())
}

fn remote_write(s: &mut Section<'_>) -> Read<RemoteWrite> {
    let url = s.required("url", |text| http_url(text).map(String::from));
    let username = s.text_or_file("username", values::username);
    let password = s.secret("password");
    let credentials = s.basic_auth(username, password);
    let bearer_token = s.secret("bearer_token");
    let headers = s.secrets("headers");
    if let (Ok(Some(_)), Ok(Some(_))) = (&credentials, &bearer_token) {
        return Err(s.mistake("bearer_token", "cannot be used together with username and password"));
    }
    Ok(RemoteWrite {
        url: url?,
        basic_auth: credentials?,
        bearer_token: bearer_token?,
        headers: headers?,
    })
}
