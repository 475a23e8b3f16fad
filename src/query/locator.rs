//! Locators find the replicas of a pool.

use crate::domain::BaseUrl;
use futures_util::future::LocalBoxFuture;

/// Finds replicas of a pool. A pool calls each of its locators at the selection interval, and keeps
/// the last result of a locator that fails.
pub trait Locator {
    /// Name in logs, metrics and on the status page, as in `marathon http://10.0.0.1:8080`. It
    /// contains no secrets.
    fn name(&self) -> String;

    /// Returns the base URLs of all replicas that exist now. The caller limits the time: it drops the
    /// future at the deadline.
    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<BaseUrl>, LocatorError>>;
}

/// Why a locator found no replicas, in words for operators, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LocatorError(pub String);
