//! The sources of routes, as the configuration names them.

use super::{StartError, certificates};
use crate::{
    config,
    discovery::{
        BoundTsuruApps, Gorouter, Limits, Nats, RouteFile, RouteSource, Settings, TsuruApi,
        TsuruHosts, TsuruUnits,
    },
    tls,
};

pub(super) fn settings(routes: &config::Routes) -> Settings {
    Settings {
        stale_after: routes.stale_after,
        keep: routes.keep,
        refresh_interval: routes.refresh_interval,
        limits: Limits::default(),
    }
}

/// All sources. If two of them contradict each other and are equally new, the first one wins.
pub(super) fn sources(
    routes: &config::Routes,
    bound_apps: BoundTsuruApps,
) -> Result<Vec<Box<dyn RouteSource>>, StartError> {
    let mut sources: Vec<Box<dyn RouteSource>> = Vec::new();
    if let Some(path) = &routes.file {
        sources.push(Box::new(RouteFile { path: path.clone() }));
    }
    for router in &routes.gorouters {
        sources.push(Box::new(gorouter(router)));
    }
    if let Some(settings) = &routes.nats {
        sources.push(Box::new(nats(settings)?));
    }
    sources.push(match &routes.tsuru {
        Some(tsuru) => Box::new(TsuruUnits { api: tsuru_api(tsuru)?, apps: bound_apps }),
        None => Box::new(TsuruHosts { apps: bound_apps }),
    });
    Ok(sources)
}

fn gorouter(router: &config::Gorouter) -> Gorouter {
    let credentials = router.credentials.as_ref();
    Gorouter {
        url: router.url.clone(),
        credentials: credentials.map(|it| (it.username.clone(), it.password.clone())),
    }
}

fn nats(nats: &config::Nats) -> Result<Nats, StartError> {
    let credentials = nats.credentials.as_ref();
    Ok(Nats {
        servers: nats.servers.clone(),
        credentials: credentials.map(|it| (it.username.clone(), it.password.clone())),
        tls: certificates::nats(&nats.tls).map_err(certificates::failure)?,
        announce: nats.announce,
        id: uuid::Uuid::new_v4().to_string(),
    })
}

pub(super) fn tsuru_api(tsuru: &config::Tsuru) -> Result<TsuruApi, StartError> {
    let tls = tls::ClientSettings::default();
    let api = TsuruApi::new(&tsuru.api_url, tsuru.token.clone(), &tls);
    api.map_err(certificates::failure)
}
