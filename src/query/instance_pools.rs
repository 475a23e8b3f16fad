//! The pools of provisioned instances with several replicas.

use super::Pool;
use crate::domain::InstanceId;
use arc_swap::ArcSwap;
use std::{collections::HashMap, sync::Arc};

/// Pools by instance; clones share them. One writer replaces all of them, and readers never wait.
#[derive(Clone, Debug, Default)]
pub struct InstancePools(Arc<ArcSwap<HashMap<InstanceId, Pool>>>);

impl InstancePools {
    /// The pool of an instance, if it has one.
    pub fn get(&self, instance: &InstanceId) -> Option<Pool> {
        self.0.load().get(instance).cloned()
    }

    pub fn all(&self) -> Arc<HashMap<InstanceId, Pool>> {
        self.0.load_full()
    }

    pub fn replace(&self, pools: HashMap<InstanceId, Pool>) {
        self.0.store(Arc::new(pools));
    }
}
