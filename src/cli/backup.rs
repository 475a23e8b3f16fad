//! `scrapebroker backup`: copies the SQLite database while the broker runs.

use super::{ConfigFile, Environment, block_on, failure::Failure, log, print};
use crate::{
    broker::{self, BackupError},
    config::LogFormat,
    store::StoreError,
};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Backup {
    #[command(flatten)]
    config: ConfigFile,
    /// The copy; its key is written beside it, with .token-key at the end of its name
    #[arg(value_name = "FILE")]
    copy: PathBuf,
}

impl Backup {
    pub(super) fn run(self, environment: Environment) -> Result<(), Failure> {
        let config = self.config.load(environment)?;
        log("warn", LogFormat::Text)?;
        let key = config.broker.token_key.as_ref();
        let backup = block_on(broker::backup(&config.database_url, key, &self.copy));
        let broker::Backup { database, token_key } = backup.map_err(failure)?;
        let database = database.display();
        match token_key {
            Some(key) => print(&format_args!("{database}\n{}", key.display())),
            None => print(&format_args!(
                "{database}\nIts secrets need the broker.token_key of this configuration: keep it, too."
            )),
        }
    }
}

fn failure(error: BackupError) -> Failure {
    match error {
        BackupError::Store(StoreError::Unavailable { .. }) => Failure::unavailable(error),
        BackupError::NotSqlite | BackupError::OtherKey | BackupError::TokenKey(_) => {
            Failure::usage(error)
        }
        error => Failure::other(error),
    }
}
