//! Replicas that the configuration names.

use crate::{
    domain::BaseUrl,
    query::{LocatedReplica, Locator, LocatorError},
};
use futures_util::future::{LocalBoxFuture, ready};

#[derive(Clone, Debug)]
pub struct StaticUrls(pub Vec<BaseUrl>);

impl Locator for StaticUrls {
    fn name(&self) -> String {
        "static".to_owned()
    }

    fn locate(&mut self) -> LocalBoxFuture<'_, Result<Vec<LocatedReplica>, LocatorError>> {
        Box::pin(ready(Ok(LocatedReplica::of_urls(self.0.clone()))))
    }
}
