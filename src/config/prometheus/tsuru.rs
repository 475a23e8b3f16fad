//! The section `prometheus.tsuru`: instances that run as Tsuru apps.

use crate::{
    config::{
        section::{Read, Section},
        values,
    },
    provisioner::tsuru::{Team, TsuruSettings},
};

/// Tsuru limits app names to 40 characters. The rest of the name is a hash and a number.
const MAX_PREFIX_LENGTH: usize = 22;

/// Value of `team` for the team that requested the instance.
const FROM_REQUEST: &str = "from-request";

/// Returns none if no image is set.
pub(super) fn tsuru(s: &mut Section<'_>) -> Read<Option<TsuruSettings>> {
    let image = s.optional("image", values::control_free);
    let app_prefix = s.value("app_prefix", "prometheus-", app_prefix);
    let pool = s.optional("pool", values::control_free);
    let plan = s.optional("plan", values::control_free);
    let tmpfs_plan = s.optional("tmpfs_plan", values::control_free);
    let router = s.optional("router", values::control_free);
    let team = s.value("team", FROM_REQUEST, team);
    let platform = s.optional("platform", values::control_free);
    let scheme = s.value("scheme", "http", values::choice(&[("http", "http"), ("https", "https")]));
    let storage_path = s.value("storage_path", "/prometheus", storage_path);
    let storage_is_kept = s.value("storage_is_kept", "false", values::flag);
    let timeout = s.value("timeout", "30s", values::period);
    let deploy_timeout = s.value("deploy_timeout", "3m", values::period);
    let ready_timeout = s.value("ready_timeout", "1m", values::period);
    let observe_interval = s.value("observe_interval", "15s", values::period);
    let settings = TsuruSettings {
        image: String::new(),
        app_prefix: app_prefix?,
        pool: pool?.unwrap_or_default(),
        plan: plan?.unwrap_or_default(),
        tmpfs_plan: tmpfs_plan?,
        router: router?.unwrap_or_default(),
        team: team?,
        platform: platform?.unwrap_or_default(),
        scheme: scheme?.to_owned(),
        storage_path: storage_path?,
        storage_is_kept: storage_is_kept?,
        timeout: timeout?,
        deploy_timeout: deploy_timeout?,
        ready_timeout: ready_timeout?,
        observe_interval: observe_interval?,
    };
    Ok(image?.map(|image| TsuruSettings { image, ..settings }))
}

fn app_prefix(text: &str) -> Result<String, String> {
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_prefix = text.len() <= MAX_PREFIX_LENGTH
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(is_fine);
    is_prefix.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "must begin with a lower-case letter, have only those, digits and dashes, and at most {MAX_PREFIX_LENGTH} of them"
        )
    })
}

fn team(text: &str) -> Result<Team, String> {
    match text {
        FROM_REQUEST => Ok(Team::FromRequest),
        team => values::control_free(team).map(Team::Fixed),
    }
}

fn storage_path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => values::control_free(text),
        false => Err("must begin with a slash".to_owned()),
    }
}
