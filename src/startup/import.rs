//! `scrapebroker import-promfetcher`: the store and the broker, without the rest.

use super::{
    StartError,
    rooms::{broker_failure, store_failure},
};
use crate::{
    broker::{Broker, BrokerError, Import},
    config::{Config, catalog},
    store::{
        Store,
        promfetcher::{self, SourceError},
    },
};
use secrecy::SecretString;

/// Copies the bindings of the database that promfetcher had into ours. A
/// Scrapebroker that runs on the same store has them in force a second later.
///
/// # Errors
/// [`StartError`] tells what to change from what to wait for.
pub async fn import_promfetcher(config: Config, from: SecretString) -> Result<Import, StartError> {
    let endpoints = promfetcher::app_endpoints(&from).await.map_err(|error| match error {
        SourceError::Url(_) => StartError::Configuration(error.into()),
        SourceError::Away(_) | SourceError::NoEndpoints(_) => StartError::Unavailable(error.into()),
    })?;
    let catalog = catalog::read(config.broker.catalog.as_deref(), &config.base_url)
        .map_err(|error| StartError::Configuration(error.into()))?;
    let store = Store::open(&config.database_url, config.database.max_connections)
        .await
        .map_err(store_failure)?;
    let broker = Broker::open(store.clone(), config.broker.token_key.as_ref(), catalog)
        .await
        .map_err(broker_failure)?;
    let imported = broker.import(&endpoints).await;
    store.close().await;
    imported.map_err(|error| match error {
        BrokerError::Store(error) => store_failure(error),
        error => StartError::Configuration(error.into()),
    })
}
