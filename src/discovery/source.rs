//! What a source of routes is.

use super::{Settings, report::Reporter};
use futures_util::future::LocalBoxFuture;
use std::{path::Path, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// A source of routes.
pub trait RouteSource {
    /// Display name without credentials.
    fn name(&self) -> String;

    fn kind(&self) -> SourceKind;

    /// The file that the source reads, if it is one. It serves the requests of a reload.
    fn file(&self) -> Option<&Path> {
        None
    }

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
    pub(super) reload: mpsc::Receiver<ReloadRequest>,
}

/// Requests the route file to be read again, even if it has not changed.
#[derive(Clone, Debug, Default)]
pub struct Reload {
    file: Option<(Arc<Path>, mpsc::Sender<ReloadRequest>)>,
}

/// Receives the outcome of a reload.
pub(super) type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Maximum number of queued requests.
const MAX_REQUESTS: usize = 16;

impl Reload {
    /// The requests that a source receives, which reads `path` if it is a file.
    pub(super) fn requests_of(&mut self, path: Option<&Path>) -> mpsc::Receiver<ReloadRequest> {
        let (sender, requests) = mpsc::channel(MAX_REQUESTS);
        if let Some(path) = path {
            self.file = Some((path.into(), sender));
        }
        requests
    }

    /// The route file, and a reload of it. The error of the reload is one line, which the log
    /// contains too.
    pub fn file(&self) -> Option<(&Path, impl Future<Output = Result<(), String>> + Send + use<>)> {
        let (path, sender) = self.file.as_ref()?;
        let sender = sender.clone();
        let reload = async move {
            let ended = || "the program stops".to_owned();
            let (request, outcome) = oneshot::channel();
            sender.send(request).await.map_err(|_| ended())?;
            outcome.await.unwrap_or_else(|_| Err(ended()))
        };
        Some((path, reload))
    }
}
