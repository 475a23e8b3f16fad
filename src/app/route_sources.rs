//! The sources of routes, as the configuration names them.

use super::{StartError, certificates};
use crate::{
    config,
    discovery::{BoundTsuruApps, Nats, RouteSource, TsuruHosts, TsuruUnits},
    tls::ClientSettings,
    tsuru::TsuruApi,
};

/// Tsuru's API, if it is configured.
pub(super) fn tsuru_api(routes: &config::Routes) -> Result<Option<TsuruApi>, StartError> {
    let api = |tsuru: &config::Tsuru| {
        TsuruApi::new(tsuru.api_url.clone(), tsuru.token.clone(), &ClientSettings::default())
    };
    routes.tsuru.as_ref().map(api).transpose().map_err(certificates::failure)
}

/// All sources. If two of them contradict each other and are equally new, the first one wins.
pub(super) fn sources(
    routes: &config::Routes,
    tsuru: Option<TsuruApi>,
    bound_apps: BoundTsuruApps,
) -> Result<Vec<Box<dyn RouteSource>>, StartError> {
    let mut sources: Vec<Box<dyn RouteSource>> = Vec::new();
    if let Some(file) = &routes.file {
        sources.push(Box::new(file.clone()));
    }
    for router in &routes.gorouters {
        sources.push(Box::new(router.clone()));
    }
    if let Some(settings) = &routes.nats {
        let nats = Nats::new(settings.clone()).map_err(certificates::failure)?;
        sources.push(Box::new(nats));
    }
    sources.push(match tsuru {
        Some(api) => Box::new(TsuruUnits { api, apps: bound_apps }),
        None => Box::new(TsuruHosts { apps: bound_apps }),
    });
    Ok(sources)
}
