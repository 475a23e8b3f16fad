//! Locators find the replicas of a pool.

use super::{Authorization, Server};
use crate::domain::BaseUrl;
use futures_util::future::{LocalBoxFuture, pending};
use std::sync::Arc;

/// Finds replicas of a pool. A pool calls each of its locators at the selection interval, and keeps
/// the last result of a locator that fails.
pub trait Locator {
    /// Name in logs, metrics and on the status page, as in `marathon http://10.0.0.1:8080`. It
    /// contains no secrets.
    fn name(&self) -> String;

    /// Returns all replicas that exist now. The caller limits the time: it drops the future at the
    /// deadline.
    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<LocatedReplica>, LocatorError>>;

    /// Waits until [`locate`](Self::locate) may return other replicas than before. By default this
    /// is never known.
    fn changed(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(pending())
    }
}

/// A replica that a locator has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedReplica {
    pub url: BaseUrl,
    /// Name for users; by default the URL without `http://`.
    pub name: Option<Arc<str>>,
    /// Credentials for this replica only; by default those of the pool.
    pub authorization: Option<Authorization>,
}

impl LocatedReplica {
    /// Replicas without names and credentials of their own.
    pub(super) fn of_urls(urls: impl IntoIterator<Item = BaseUrl>) -> Vec<Self> {
        urls.into_iter().map(|url| Self { url, name: None, authorization: None }).collect()
    }

    pub(super) fn server(&self) -> Server {
        let url = self.url.as_str();
        Server {
            name: self.name.clone().unwrap_or_else(|| self.default_name().into()),
            url: url.into(),
            authorization: self.authorization.clone(),
        }
    }

    /// It is different for each URL.
    pub(super) fn default_name(&self) -> &str {
        let url = self.url.as_str();
        url.strip_prefix("http://").unwrap_or(url)
    }
}

/// Why a locator found no replicas, in words for operators, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LocatorError(pub String);
