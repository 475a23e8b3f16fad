//! URL and credentials of Tsuru's API.

use super::client::{CallLimits, TsuruClient};
use crate::{
    domain::BaseUrl,
    tls::{ClientConfig, ClientSettings, TlsError},
};
use secrecy::SecretString;
use std::{fmt, sync::Arc};
use tokio::sync::Semaphore;

/// Maximum number of concurrent calls for units of apps, and of concurrent calls of
/// [`TsuruApi::binds_of`].
pub const TSURU_CALLS: usize = 16;

/// URL and credentials of Tsuru's API.
#[derive(Clone)]
pub struct TsuruApi {
    pub(super) url: BaseUrl,
    pub(super) token: SecretString,
    pub(super) tls: Arc<ClientConfig>,
    /// Limits concurrent calls of [`TsuruApi::binds_of`].
    pub(super) calls: Arc<Semaphore>,
}

// The configuration contains a private key.
impl fmt::Debug for TsuruApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TsuruApi").field("url", &self.url).finish_non_exhaustive()
    }
}

impl TsuruApi {
    /// # Errors
    /// A certificate in `tls` cannot be used.
    pub fn new(url: BaseUrl, token: SecretString, tls: &ClientSettings) -> Result<Self, TlsError> {
        let tls = Arc::new(tls.config()?);
        let calls = Arc::new(Semaphore::new(TSURU_CALLS));
        Ok(Self { url, token, tls, calls })
    }

    /// Display name, for example `tsuru tsuru.example.com:8080`.
    pub fn name(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("tsuru {}{port}", self.url.host())
    }

    /// A client for the current thread.
    pub fn client(&self, limits: CallLimits) -> TsuruClient {
        TsuruClient::new(self, limits)
    }
}
