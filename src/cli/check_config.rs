//! `scrapebroker check-config`: prints the effective settings, or every mistake.

use super::{ConfigFile, Environment, SettingFlags, failure::Failure, print};
use crate::{
    app::check_certificates,
    config::{Config, Flags, catalog, mpp, promfetcher},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    setting_flags: SettingFlags,
    /// promfetcher's configuration, which is converted; secrets are printed as they are
    #[arg(long, value_name = "FILE", conflicts_with = "SettingFlags")]
    promfetcher: Option<PathBuf>,
    /// Where to write the catalog [default: printed after the settings, as a second document]
    #[arg(long, value_name = "FILE", requires = "promfetcher")]
    catalog: Option<PathBuf>,
    /// Convert mpp's MPP_… variables and the flags after --; secrets are printed as they are
    #[arg(long, conflicts_with_all = ["promfetcher", "SettingFlags"])]
    mpp: bool,
    /// Flags of mpp, as in --endpoints-file=FILE
    #[arg(last = true, value_name = "FLAGS", requires = "mpp")]
    flags: Vec<String>,
}

impl CheckConfig {
    pub(super) fn run(self, environment: Environment) -> Result<(), Failure> {
        match self.promfetcher {
            Some(file) => convert(&file, self.catalog),
            None if self.mpp => {
                print(&mpp::convert(&self.flags, &environment).map_err(Failure::usage)?)
            }
            None => check(&self.config, environment, &self.setting_flags.into()),
        }
    }
}

fn check(config: &ConfigFile, environment: Environment, flags: &Flags) -> Result<(), Failure> {
    let loaded = Config::load_effective(config.file.as_deref(), environment, flags);
    let (config, effective) = loaded.map_err(Failure::usage)?;
    check_certificates(&config, &effective).map_err(Failure::usage)?;
    catalog::read(config.broker.catalog.as_deref(), &config.base_url).map_err(Failure::usage)?;
    print(&effective.with_origins())
}

fn convert(file: &Path, catalog: Option<PathBuf>) -> Result<(), Failure> {
    let converted = promfetcher::convert(file, catalog.as_deref()).map_err(Failure::usage)?;
    let Some(path) = catalog else {
        return print(&format_args!("{}\n---\n{}", converted.settings, converted.catalog));
    };
    fs::write(&path, format!("{}\n", converted.catalog)).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Failure::other(anyhow::Error::from(error).context(what))
    })?;
    print(&converted.settings)
}
