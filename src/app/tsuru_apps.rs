//! Instances of Prometheus that are apps of TsuruProvisioner, as the configuration has them.

use crate::{
    config::{Config, TsuruTeam},
    provisioner::tsuru::{Team, TsuruPolicy, TsuruProvisioner, TsuruSettings},
    tls::{ClientSettings, TlsError},
};
use std::sync::Arc;

/// The policy of the provisioner `tsuru`.
pub(super) fn policy(config: &Config) -> TsuruPolicy {
    let tsuru = &config.prometheus.tsuru;
    TsuruPolicy { has_tmpfs: tsuru.tmpfs_plan.is_some(), storage_is_kept: tsuru.storage_is_kept }
}

/// The provisioner; `None` without an API or an image, which the configuration requires for
/// `tsuru`.
pub(super) fn provisioner(config: &Config) -> Result<Option<TsuruProvisioner>, TlsError> {
    let tsuru = config.prometheus.tsuru.clone();
    let (Some(api), Some(image)) = (&config.routes.tsuru, tsuru.image) else { return Ok(None) };
    let tls = Arc::new(ClientSettings::default().config()?);
    let settings = TsuruSettings {
        api_url: api.api_url.to_string(),
        token: api.token.clone(),
        image,
        app_prefix: tsuru.app_prefix,
        pool: tsuru.pool,
        plan: tsuru.plan,
        tmpfs_plan: tsuru.tmpfs_plan,
        router: tsuru.router,
        platform: tsuru.platform,
        team: match tsuru.team {
            TsuruTeam::FromRequest => Team::FromRequest,
            TsuruTeam::Named(team) => Team::Fixed(team),
        },
        scheme: tsuru.scheme.to_owned(),
        storage_path: tsuru.storage_path,
        timeout: tsuru.timeout,
        deploy_timeout: tsuru.deploy_timeout,
        ready_timeout: tsuru.ready_timeout,
        observe_interval: tsuru.observe_interval,
    };
    Ok(Some(TsuruProvisioner::new(settings, tls)))
}
