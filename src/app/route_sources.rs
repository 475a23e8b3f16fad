//! The sources of routes, as the configuration names them.

use super::{StartError, certificates};
use crate::{
    config,
    discovery::{BoundTsuruApps, Nats, RouteSource, TsuruApi, TsuruHosts, TsuruUnits},
    tls,
};

/// All sources. If two of them contradict each other and are equally new, the first one wins.
pub(super) fn sources(
    routes: &config::Routes,
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
    sources.push(match &routes.tsuru {
        Some(tsuru) => Box::new(TsuruUnits { api: tsuru_api(tsuru)?, apps: bound_apps }),
        None => Box::new(TsuruHosts { apps: bound_apps }),
    });
    Ok(sources)
}

pub(super) fn tsuru_api(tsuru: &config::Tsuru) -> Result<TsuruApi, StartError> {
    let tls = tls::ClientSettings::default();
    let api = TsuruApi::new(tsuru.api_url.as_str(), tsuru.token.clone(), &tls);
    api.map_err(certificates::failure)
}
