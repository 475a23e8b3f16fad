//! What whoever carries something out has at hand.

use super::{
    Provisioner,
    wanted::{OwnAddress, RemoteWrites},
};
use crate::{secrets::Keys, store::Store};
use std::{rc::Rc, sync::Arc, time::Duration};

/// What all errands share.
#[derive(Debug)]
pub struct Settings {
    /// Where plans copy samples to.
    pub remote_writes: RemoteWrites,
    /// Where we are.
    pub own: OwnAddress,
    /// What takes longer has failed.
    pub operation_timeout: Duration,
}

/// What errands need.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) store: Store,
    pub(super) keys: Arc<Keys>,
    pub(super) provisioner: Rc<dyn Provisioner>,
    pub(super) settings: Settings,
}
