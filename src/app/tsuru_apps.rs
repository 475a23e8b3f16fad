//! Tsuru's API, and Prometheus instances as its apps, as the configuration names them.

use crate::{
    config::{Config, Tsuru, TsuruTeam},
    provisioner::tsuru::{Team, TsuruPolicy, TsuruProvisioner, TsuruSettings},
    tls::{ClientConfig, ClientSettings, TlsError},
    tsuru::TsuruApi,
};
use std::sync::Arc;

/// The policy of the provisioner `tsuru`.
pub(super) fn policy(config: &Config) -> TsuruPolicy {
    let tsuru = &config.prometheus.tsuru;
    TsuruPolicy { has_tmpfs: tsuru.tmpfs_plan.is_some(), storage_is_kept: tsuru.storage_is_kept }
}

/// Tsuru's API, if it is configured.
pub(super) fn api(config: &Config) -> Result<Option<TsuruApi>, TlsError> {
    let api = |tsuru: &Tsuru| {
        TsuruApi::new(tsuru.api_url.clone(), tsuru.token.clone(), &ClientSettings::default())
    };
    config.routes.tsuru.as_ref().map(api).transpose()
}

/// The provisioner; `None` without an image, which the configuration requires for `tsuru`. `tls`
/// verifies the apps.
pub(super) fn provisioner(
    config: &Config,
    api: &TsuruApi,
    tls: Arc<ClientConfig>,
) -> Option<TsuruProvisioner> {
    let tsuru = config.prometheus.tsuru.clone();
    let settings = TsuruSettings {
        image: tsuru.image?,
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
    Some(TsuruProvisioner::new(settings, api, tls))
}
