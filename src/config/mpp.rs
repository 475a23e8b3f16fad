//! Converts the flags and variables of mpp (github.com/matt-deboer/mpp).
//!
//! Flags take precedence over variables. Each known setting is converted or reported with the reason
//! why it has no counterpart. Names that only mpp's README has are accepted. Any other flag or
//! `MPP_…` variable is a mistake.

mod arguments;
mod locators;
mod pool;

use super::{ConfigError, Mistakes, document::Document, section::Section};
use std::collections::BTreeMap;

/// Converts the flags in `arguments` and the variables in `environment` to a configuration file
/// with comments. It contains the secrets in plain text.
///
/// # Errors
/// Lists all mistakes, not only the first.
pub fn convert(
    arguments: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<String, ConfigError> {
    let mut mistakes = Mistakes::default();
    let table = arguments::table(arguments, environment, &mut mistakes);
    let mut root = Section::root(table, &mut mistakes);
    let mut document = Document::new("mpp");
    pool::convert(&mut root, &mut document);
    root.finish();
    match mistakes.0.is_empty() {
        true => Ok(document.to_string()),
        false => Err(mistakes.into()),
    }
}

#[cfg(test)]
mod tests;
