//! Reloads the catalog, the route file, the certificates and the web configuration, on SIGHUP and for `POST /-/reload`.

use super::{components::Components, service_manager::ServiceManager, web_config::WebConfig};
use crate::{
    broker::Broker,
    config::{Config, catalog},
    discovery::Reload,
    domain::BaseUrl,
    tls,
};
use std::path::PathBuf;

#[derive(Clone)]
pub struct Reloader {
    broker: Broker,
    /// None for the built-in catalog, which does not change.
    catalog: Option<PathBuf>,
    base_url: BaseUrl,
    may_offer_prometheus: bool,
    routes: Reload,
    certificates: Vec<tls::Reloader>,
    web_config: WebConfig,
    service_manager: ServiceManager,
}

impl Reloader {
    pub(super) fn new(
        config: &Config,
        components: &Components,
        service_manager: ServiceManager,
    ) -> Self {
        Self {
            broker: components.broker.clone(),
            catalog: config.broker.catalog.clone(),
            base_url: config.base_url.clone(),
            may_offer_prometheus: components.may_offer_prometheus,
            routes: components.discovery.reload.clone(),
            certificates: components.certificates.clone(),
            web_config: components.web_config.clone(),
            service_manager,
        }
    }

    /// Reads the catalog, and makes the other files be read again. What is
    /// invalid is logged, and its previous content remains active.
    ///
    /// # Errors
    /// Returns why the catalog was not reloaded.
    pub fn reload(&self) -> Result<(), String> {
        self.service_manager.reloading(|| self.reload_all())
    }

    fn reload_all(&self) -> Result<(), String> {
        self.routes.trigger();
        self.certificates.iter().for_each(tls::Reloader::trigger);
        self.web_config.trigger();
        let reloaded = self.reload_catalog();
        match &reloaded {
            Ok(()) => tracing::info!("catalog reloaded"),
            Err(error) => {
                tracing::error!(%error, "catalog not reloaded; keeping the previous one");
            }
        }
        reloaded
    }

    fn reload_catalog(&self) -> Result<(), String> {
        let Some(path) = &self.catalog else { return Ok(()) };
        let catalog = catalog::read(Some(path), &self.base_url).map_err(|it| it.to_string())?;
        if catalog.offers_prometheus() && !self.may_offer_prometheus {
            return Err(
                "the first plans of Prometheus need a restart, which checks that no other \
                        Scrapebroker provisions with this database"
                    .to_owned(),
            );
        }
        self.broker.replace_catalog(catalog);
        Ok(())
    }
}
