//! Converts promfetcher's configuration.
//!
//! Reads the configuration of both generations: the one that polls routers (`gorouters`) and the
//! one that subscribes to NATS (`nats`). Each known key is converted or reported with the reason
//! why it has no counterpart. Any other key is a mistake: promfetcher ignores unknown keys
//! silently, so it is probably misspelt.

mod exporters;
mod fields;
mod keys;
mod routes;
mod source;
mod store;
mod unsupported;

use super::{ConfigError, Mistakes, document::Document, section::Section};
use std::path::Path;

/// The result of a conversion.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The configuration file of Scrapebroker, with comments. Contains the secrets in plain text.
    pub settings: String,
    /// The catalog with promfetcher's ids and names.
    pub catalog: String,
}

/// Default path of the catalog in the converted settings.
const CATALOG: &str = "promfetcher-catalog.json";

/// Converts the configuration in `file`. `catalog` is the path that the settings name for the
/// catalog.
///
/// # Errors
/// Lists all mistakes, not only the first.
pub fn convert(file: &Path, catalog: Option<&Path>) -> Result<Converted, ConfigError> {
    let table = source::file(file)?;
    let mut mistakes = Mistakes::default();
    let mut root = Section::root(table, &mut mistakes);
    let mut document = Document::new("promfetcher");
    let catalog_path = catalog.unwrap_or(Path::new(CATALOG)).to_string_lossy();
    let catalog = keys::convert(&mut root, &mut document, &catalog_path);
    root.finish();
    match catalog {
        Ok(catalog) if mistakes.0.is_empty() => {
            Ok(Converted { settings: document.to_string(), catalog })
        }
        _ => Err(mistakes.into()),
    }
}

#[cfg(test)]
mod tests;
