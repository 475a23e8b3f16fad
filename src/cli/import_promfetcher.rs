//! `scrapebroker import-promfetcher`: copies the bindings of promfetcher's database.

use super::{ConfigFile, Environment, block_on, failure::Failure, log, print};
use crate::{
    app::{StartError, broker_failure, store_failure},
    broker::{Broker, BrokerError, ImportReport},
    config::{Config, catalog},
    store::{
        Store,
        promfetcher::{self, SourceError},
    },
};
use secrecy::SecretString;

#[derive(clap::Args)]
pub(super) struct ImportPromfetcher {
    #[command(flatten)]
    config: ConfigFile,
    /// promfetcher's db_conn: sqlite://…, mysql://… or postgres://…
    #[arg(
        long,
        value_name = "DATABASE_URL",
        env = "SCRAPEBROKER_IMPORT_FROM",
        hide_env_values = true
    )]
    from: String,
}

impl ImportPromfetcher {
    pub(super) fn run(self, environment: Environment) -> Result<(), Failure> {
        let config = self.config.load(environment)?;
        log("warn", config.log.format)?;
        let import = block_on(import(config, self.from.into()))?;
        print(&import)?;
        match import.skipped.len() {
            0 => Ok(()),
            count => Err(Failure::other(anyhow::anyhow!("{count} bindings could not be imported"))),
        }
    }
}

/// A running server with the same database uses the copied bindings within one second.
async fn import(config: Config, from: SecretString) -> Result<ImportReport, StartError> {
    let endpoints = promfetcher::app_endpoints(&from).await.map_err(|error| match error {
        SourceError::Url(_) => StartError::Configuration(error.into()),
        SourceError::Unavailable(_) | SourceError::NoEndpoints(_) => {
            StartError::Unavailable(error.into())
        }
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
