//! Reads the settings from all sources and checks them once.
//!
//! ```text
//! file ──► environment ──► flags ──► Section (typed, key by key) ──► Config
//!                                        ├──► all mistakes, each with its key path
//!                                        └──► effective settings, secrets masked
//! ```
//!
//! The modules that use settings declare them, and this module builds them. They are not checked
//! again. `keys` defines the keys and their defaults. A test
//! compares them with docs/CONFIGURATION.md.

mod document;
mod effective;
mod events;
mod flags;
mod go_values;
mod keys;
mod mistake;
mod platform;
mod prometheus;
mod query;
mod section;
mod sources;
mod values;
mod web_file;

pub use effective::{Effective, WithOrigins};
pub use events::Events;
pub use flags::Flags;
pub use mistake::{ConfigError, Mistake, Mistakes};
pub use query::Query;
pub(crate) use values::address as listen_address;
pub use web_file::WebFile;

pub mod catalog;
pub mod mpp;
pub mod promfetcher;

use crate::{
    discovery::{self, Gorouter, NatsSettings, RouteFile},
    domain::{BaseUrl, BasicAuth, CallsWithoutEventId, DatabaseUrl, ExternalExporter},
    http::access::Operator,
    provisioner::{PolicySettings, RemoteWrites, process::ProcessPaths, tsuru::TsuruSettings},
    scrape::{ScrapeLimits, ScrapeTimeouts},
    telemetry::metrics::Namespace,
    tls::{ClientSettings, ListenerSettings},
};
use secrecy::SecretString;
use section::Section;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// All settings of an operator. They are checked when the struct is built.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses of the main listener. There is at least one.
    pub listen: Vec<SocketAddr>,
    /// URL at which users reach the main listener.
    pub base_url: BaseUrl,
    /// Listener for health checks of a load balancer.
    pub health_listen: Option<SocketAddr>,
    /// Enables HTTPS on the main listener.
    pub tls: Option<ListenerSettings>,
    /// Timeout of a TLS handshake with a client.
    pub handshake_timeout: Duration,
    /// Settings in the format of exporter-toolkit.
    pub web_file: Option<WebFile>,
    /// How long new connections are accepted after a stop signal, so that load balancers notice the
    /// shutdown.
    pub drain_wait: Duration,
    /// How long running requests may take after `drain_wait`.
    pub shutdown_grace: Duration,
    /// Maximum number of client connections. Default: derived from the limit on open files.
    pub max_connections: Option<usize>,
    /// A connection is closed if the client reads nothing of a response for this long.
    pub write_timeout: Duration,
    pub log: Log,
    pub telemetry: Telemetry,
    pub database_url: DatabaseUrl,
    pub database: Database,
    /// Whether the SQLite file is on a disk that survives a restart of the app.
    pub store_is_durable: bool,
    pub broker: Broker,
    pub routes: Routes,
    pub scrape: Scrape,
    pub backends: Backends,
    /// Exporters outside the platform that are scraped for every app.
    pub external_exporters: Vec<ExternalExporter>,
    pub prometheus: Prometheus,
    pub query: Query,
    pub events: Events,
    /// Users who may see all apps.
    pub operators: Vec<Operator>,
    /// Whether systemd passes the sockets of the main listener, in place of `listen`.
    pub systemd_socket: bool,
    pub service_manager: ServiceManagerSettings,
    /// The platform that runs this process as an app, if any.
    pub platform: Option<Platform>,
}

impl Config {
    /// Whether listeners use TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some() || self.web_file.as_ref().is_some_and(|file| file.tls.is_some())
    }

    /// Whether listeners with TLS offer HTTP/2.
    pub fn has_http2(&self) -> bool {
        let file = self.web_file.as_ref().filter(|file| file.tls.is_some());
        file.map_or(self.tls.is_some(), |file| file.has_http2)
    }

    /// Whether requests need credentials because of users in the web configuration file.
    pub fn has_web_users(&self) -> bool {
        self.web_file.as_ref().is_some_and(|file| !file.gate.users.is_empty())
    }

    /// Whether clients of listeners need a certificate that is signed by a configured CA.
    pub fn requires_client_certificates(&self) -> bool {
        let web_tls = self.web_file.as_ref().and_then(|file| file.tls.as_ref());
        let by_web_file =
            web_tls.is_some_and(|it| it.client_auth.is_required() && it.client_auth.verifies());
        by_web_file || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some())
    }

    /// Merges `file`, then the variables of `environment`, then what the platform provides in
    /// `environment`.
    ///
    /// # Errors
    ///
    /// Lists all mistakes, not only the first.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Ok(Self::load_effective(file, environment, &Flags::default())?.0)
    }

    /// Like [`load`](Self::load), then merges `flags`. Also returns the effective settings for
    /// printing.
    ///
    /// # Errors
    ///
    /// Lists all mistakes, not only the first.
    pub fn load_effective(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<(Self, Effective), ConfigError> {
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let mut table = file.map(sources::file).transpose()?.unwrap_or_default();
        sources::environment(&mut table, &environment);
        flags.merge_into(&mut table);

        let mut mistakes = Mistakes::default();
        let mut platform_env = platform::PlatformEnv::read(&environment, &mut mistakes);
        platform_env.port = flags.listen_port(platform_env.port, &mut mistakes);
        let mut root = Section::root(table, &mut mistakes);
        let config = keys::config(&mut root, platform_env);
        let effective = root.finish();
        match config {
            Ok(config) if mistakes.0.is_empty() => Ok((config, effective)),
            _ => Err(mistakes.into()),
        }
    }
}

/// Variables of systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceManagerSettings {
    /// Name of the socket for notifications.
    pub notify_socket: Option<String>,
    /// Interval in which systemd expects a notification.
    pub watchdog: Option<Duration>,
}

/// `telemetry`
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// Whether the own metrics contain promfetcher's four.
    pub promfetcher_names: bool,
    /// Path of the own metrics on the main listener.
    pub path: String,
    /// Prefix of the own metrics.
    pub namespace: Namespace,
}

/// `log`
#[derive(Clone, Debug)]
pub struct Log {
    /// A filter of `tracing-subscriber`, as in `info` or `scrapebroker=debug`.
    pub level: String,
    pub format: LogFormat,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    Text,
    /// One JSON object per event.
    Json,
    /// One line of keys and values per event, as of other exporters.
    Logfmt,
}

/// `database`
#[derive(Clone, Debug)]
pub struct Database {
    /// Maximum number of connections (PostgreSQL).
    pub max_connections: u32,
}

/// `broker`
#[derive(Clone, Debug)]
pub struct Broker {
    /// The platform's credentials. If unset, the broker API answers 503.
    pub credentials: Option<BasicAuth>,
    /// Path of the catalog. Default: the built-in catalog.
    pub catalog: Option<PathBuf>,
    /// Key from which tokens and the encryption key of the database are derived.
    pub token_key: Option<SecretString>,
    /// Accept requests for instances that are not in the database. For migrations.
    pub adopt_unknown_instances: bool,
    /// Calls of Tsuru's service API that are accepted without an event id.
    pub tsuru_calls_without_event_id: CallsWithoutEventId,
}

/// `routes`
#[derive(Clone, Debug)]
pub struct Routes {
    pub settings: discovery::Settings,
    pub file: Option<RouteFile>,
    pub gorouters: Vec<Gorouter>,
    pub nats: Option<NatsSettings>,
    pub tsuru: Option<Tsuru>,
}

/// `routes.tsuru`, if set.
#[derive(Clone, Debug)]
pub struct Tsuru {
    /// For example `https://tsuru.example.com`.
    pub api_url: BaseUrl,
    /// An API token with permission to read the bound apps.
    pub token: SecretString,
}

/// `scrape`
#[derive(Clone, Debug)]
pub struct Scrape {
    pub timeouts: ScrapeTimeouts,
    pub limits: ScrapeLimits,
    /// Maximum size of all bodies of all requests together, in bytes.
    pub max_memory: u64,
    /// Whether the response is 200 with the failure series, like promfetcher's, when all instances
    /// failed. Otherwise it is a 4xx or 5xx status, so that the scraper's `up` becomes 0.
    pub series_when_all_failed: bool,
    /// Whether a scrape requires the token of a binding or service key for the app or its space.
    pub token_required: bool,
}

/// `prometheus`
#[derive(Clone, Debug)]
pub struct Prometheus {
    pub provisioner: Provisioner,
    /// Settings of the provisioner `process`.
    pub process: ProcessPaths,
    /// Settings of the provisioner `tsuru`. Always set if it is used.
    pub tsuru: Option<TsuruSettings>,
    pub policy: PolicySettings,
    pub max_instances: u64,
    pub max_instances_per_space: u64,
    /// An operation fails after this long.
    pub operation_timeout: Duration,
    /// Remote write targets of plans, by name.
    pub remote_writes: RemoteWrites,
}

/// `prometheus.provisioner`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisioner {
    /// Child processes of Scrapebroker.
    Process,
    /// Apps on Tsuru.
    Tsuru,
    /// The service is not offered.
    None,
}

impl Provisioner {
    /// As in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Tsuru => "tsuru",
            Self::None => "none",
        }
    }
}

/// `backends`
#[derive(Clone, Debug)]
pub struct Backends {
    pub tls: ClientSettings,
    /// Idle connections to instances are closed after this long.
    pub idle_timeout: Duration,
    /// Maximum number of connections. Default: derived from the limit on open files.
    pub max_connections: Option<usize>,
}

/// A platform that runs this process as an app. The local disk does not survive a restart there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// `VCAP_APPLICATION` is set.
    CloudFoundry,
    /// Tsuru's variables are set.
    Tsuru,
}

#[cfg(test)]
mod tests;
