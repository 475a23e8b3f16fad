//! Reads the broker's catalog at startup and on SIGHUP.

use crate::domain::{BaseUrl, Catalog, CatalogProblem};
use std::{
    borrow::Cow,
    fmt, fs,
    path::{Path, PathBuf},
};

/// Why the catalog cannot be used. `Display` names the file and lists each mistake on its own line.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("broker.catalog: {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("broker.catalog: {} is not JSON: {source}", path.display())]
    NotJson { path: PathBuf, source: serde_json::Error },
    /// Cloud Controller would reject the catalog.
    #[error("broker.catalog: {}: {}", path.display(), Lines(mistakes))]
    Mistakes { path: PathBuf, mistakes: Vec<CatalogProblem> },
}

struct Lines<'a>(&'a [CatalogProblem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

/// The default catalog.
pub const BUILT_IN: &str = include_str!("../../broker-catalog.json");

/// Default path of the catalog in versions without a built-in catalog.
const FORMER_DEFAULT: &str = "broker-catalog.json";

/// Reads and checks the catalog at `path`, or the built-in catalog.
///
/// # Errors
/// The file cannot be read, is not JSON, or contains mistakes. All mistakes are listed.
pub fn read(path: Option<&Path>, base_url: &BaseUrl) -> Result<Catalog, CatalogError> {
    let named = || path.unwrap_or(Path::new("the built-in catalog")).to_owned();
    let text = match path {
        None => BUILT_IN.as_bytes().into(),
        Some(path) => Cow::Owned(
            fs::read(path).map_err(|source| CatalogError::Unreadable { path: named(), source })?,
        ),
    };
    let document = serde_json::from_slice(&text)
        .map_err(|source| CatalogError::NotJson { path: named(), source })?;
    Catalog::parse(&document, base_url.as_str())
        .map_err(|mistakes| CatalogError::Mistakes { path: named(), mistakes })
}

/// Whether the working directory contains a catalog that is not used because `broker.catalog` does
/// not name it.
pub fn is_ignored(path: Option<&Path>) -> bool {
    let found = || fs::read(FORMER_DEFAULT).is_ok_and(|text| text != BUILT_IN.as_bytes());
    path.is_none() && found()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base_url() -> BaseUrl {
        "https://metrics.example.com".parse().unwrap()
    }

    #[test]
    fn the_shipped_catalog_is_read_and_shows_this_installations_urls() {
        let catalog = read(None, &base_url()).unwrap();
        let service = &catalog.document()["services"][0];
        assert_eq!(service["name"], "metrics");
        assert_eq!(service["plans"][0]["name"], "fetch-app");
        assert_eq!(service["metadata"]["documentationUrl"], "https://metrics.example.com/doc");
        assert!(!catalog.document().to_string().contains("{base_url}"));
    }

    #[test]
    fn each_problem_with_a_catalog_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing.json");
        let error = read(Some(&missing), &base_url()).unwrap_err();
        assert!(matches!(error, CatalogError::Unreadable { .. }), "{error}");
        assert!(error.to_string().contains("missing.json cannot be read: No such file"), "{error}");

        let broken = dir.path().join("broken.json");
        fs::write(&broken, "{\"services\": [").unwrap();
        let error = read(Some(&broken), &base_url()).unwrap_err().to_string();
        assert!(error.contains("broken.json is not JSON") && error.contains("line 1"), "{error}");

        let wrong = dir.path().join("wrong.json");
        fs::write(&wrong, r#"{"services": [{"id": "", "name": 1}]}"#).unwrap();
        let error = read(Some(&wrong), &base_url()).unwrap_err().to_string();
        for path in ["services[0].id", "services[0].name", "services[0].plans"] {
            assert!(error.contains(path), "{path} in {error}");
        }
    }
}
