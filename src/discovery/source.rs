//! What a source of routes is.

use super::{Settings, report::Reporter};
use futures_util::future::LocalBoxFuture;
use tokio::sync::watch;

/// A source of routes.
pub trait RouteSource {
    /// Display name without credentials.
    fn name(&self) -> String;

    fn kind(&self) -> SourceKind;

    /// Reports routes until it is dropped. Runs where `tokio::task::spawn_local` works.
    fn run(self: Box<Self>, context: SourceContext) -> LocalBoxFuture<'static, ()>;
}

/// What the sources of a kind have in common. All of them report the same routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceKind {
    /// The configuration key of sources of this kind.
    pub key: &'static str,
    /// Whether the key is that of a list. Its sources then have keys with a position.
    pub is_list: bool,
    /// False: derived from bindings. Listed as a source only if it reports something.
    pub is_configured: bool,
    /// Whether it reports Tsuru apps, which no source of another kind reports.
    pub is_tsuru: bool,
    pub reporting: Reporting,
}

/// How the sources of a kind report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reporting {
    /// All routes. They expire by the age of the last report.
    Full,
    /// Like `Full`. The source relearns its routes after a restart, so a small report may be
    /// incomplete.
    FullAfterWarmUp,
    /// Changes. The source expires its own routes.
    Changes,
}

/// What a running source gets.
pub struct SourceContext {
    pub(super) settings: Settings,
    pub(super) reporter: Reporter,
    /// Changes on SIGHUP.
    pub(super) reload: watch::Receiver<()>,
}

/// Requests sources to read files again, even if these have not changed.
#[derive(Clone, Debug, Default)]
pub struct Reload(watch::Sender<()>);

impl Reload {
    /// Requests a reload, which happens soon after.
    pub fn trigger(&self) {
        self.0.send_replace(());
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
