//! promfetcher's configuration, read to make ours of it.
//!
//! Both generations are read: the one that polls routers (`gorouters`) and the
//! one that listens on NATS (`nats`). Every key of theirs is either translated
//! or named with the reason why it has no counterpart; any other key is a
//! mistake, since what promfetcher ignored in silence was not meant to be ignored.

mod document;
mod exporters;
mod fields;
mod keys;
mod lost;
mod routes;
mod source;
mod store;

use super::{ConfigError, Mistakes, section::Section};
use document::Document;
use std::path::Path;

/// What promfetcher's configuration becomes.
#[derive(Clone, Debug)]
pub struct Converted {
    /// Our configuration file, with comments; secrets stand in it as they were given.
    pub settings: String,
    /// The catalog, with promfetcher's ids and names.
    pub catalog: String,
}

/// Where the settings say that the catalog lies, when nobody says where it will.
const CATALOG: &str = "promfetcher-catalog.json";

/// Reads promfetcher's configuration in `file`. `catalog` is where the catalog will lie.
///
/// # Errors
/// Every mistake there is, not the first one only.
pub fn convert(file: &Path, catalog: Option<&Path>) -> Result<Converted, ConfigError> {
    let table = source::file(file)?;
    let mut mistakes = Mistakes::default();
    let mut root = Section::root(table, &mut mistakes);
    let mut document = Document::default();
    let catalog_path = catalog.unwrap_or(Path::new(CATALOG)).to_string_lossy();
    let catalog = keys::convert(&mut root, &mut document, &catalog_path);
    root.finish();
    match catalog {
        Some(catalog) if mistakes.0.is_empty() => {
            Ok(Converted { settings: document.to_string(), catalog })
        }
        _ => Err(mistakes.into()),
    }
}

#[cfg(test)]
mod tests;
