//! Takes the place of the locator `kubernetes` in a program that was built without the cargo feature
//! of this name.

use super::kubernetes_settings::KubernetesSettings;
use crate::query::{LocatedReplica, Locator, LocatorError};
use futures_util::future::LocalBoxFuture;

/// Finds nothing. The configuration rejects the key `kubernetes`, so it is never used.
pub struct KubernetesLocator;

impl KubernetesLocator {
    pub fn new(_: KubernetesSettings) -> Self {
        Self
    }
}

impl Locator for KubernetesLocator {
    fn name(&self) -> String {
        "kubernetes".to_owned()
    }

    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<LocatedReplica>, LocatorError>> {
        let problem = "the program was built without the cargo feature `kubernetes`";
        Box::pin(async { Err(LocatorError(problem.to_owned())) })
    }
}
