//! Settings of an installation: read from every source, checked once, proven.
//!
//! ```text
//! file ──► environment ──► Section (typed, key by key) ──► Config
//!                              ├──► every mistake, with its key path
//!                              └──► effective settings, secrets masked
//! ```
//!
//! Behind this room no code asks whether a setting makes sense. The keys and
//! their defaults stand in `keys`; a test keeps docs/CONFIGURATION.md equal.

mod effective;
mod keys;
mod mistake;
mod platform;
mod prometheus;
mod section;
mod sources;
mod values;

pub use effective::Effective;
pub use mistake::{ConfigError, Mistake, Mistakes};

pub mod catalog;
pub mod promfetcher;

use crate::domain::{CallsWithoutEventId, ExternalExporter, prometheus::Allowed};
use secrecy::{ExposeSecret, SecretString};
use section::Section;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

/// Everything an operator can set. Holding one proves that all of it makes sense.
#[derive(Clone, Debug)]
pub struct Config {
    /// Main listener.
    pub listen: SocketAddr,
    /// How users reach the main listener, without a slash at its end.
    pub base_url: String,
    /// Load balancer's listener.
    pub health_listen: Option<SocketAddr>,
    /// HTTPS on the main listener.
    pub tls: Option<Tls>,
    /// How long we go on accepting after a stop was asked for, so that balancers see it.
    pub drain_wait: Duration,
    /// How long running requests may take to finish after that.
    pub shutdown_grace: Duration,
    /// Most connections of clients at once; without it as many as open files allow.
    pub max_connections: Option<usize>,
    /// How long a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// What is logged, and how.
    pub log: Log,
    /// Where bindings are kept; may hold a password.
    pub database_url: SecretString,
    /// Connection pool of the database.
    pub database: Database,
    /// The SQLite file lies on a disk that outlives us.
    pub store_is_durable: bool,
    /// The service broker.
    pub broker: Broker,
    /// Where routes come from.
    pub routes: Routes,
    /// How instances are scraped.
    pub scrape: Scrape,
    /// Connections to instances.
    pub backends: Backends,
    /// Exporters outside of the platform, asked for every app.
    pub external_exporters: Vec<ExternalExporter>,
    /// Provisioned Prometheus instances.
    pub prometheus: Prometheus,
    /// People who may see everything.
    pub operators: Vec<Operator>,
    /// The platform that runs us, if we are run by one.
    pub platform: Option<Platform>,
}

impl Config {
    /// Reads `file` if there is one, then `environment` over it, then what the
    /// platform says in `environment`.
    ///
    /// # Errors
    ///
    /// Every mistake there is, not the first one only.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Ok(Self::load_effective(file, environment)?.0)
    }

    /// As [`load`](Self::load), with the settings in force for printing.
    ///
    /// # Errors
    ///
    /// Every mistake there is, not the first one only.
    pub fn load_effective(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Effective), ConfigError> {
        let environment: BTreeMap<_, _> = environment.into_iter().collect();
        let mut table = file.map(sources::file).transpose()?.unwrap_or_default();
        sources::environment(&mut table, &environment);

        let mut mistakes = Mistakes::default();
        let place = platform::Place::read(&environment, &mut mistakes);
        let mut root = Section::root(table, &mut mistakes);
        let config = keys::config(&mut root, place);
        let effective = Effective(root.finish());
        match config {
            Some(config) if mistakes.0.is_empty() => Ok((config, effective)),
            _ => Err(mistakes.into()),
        }
    }
}

impl Config {
    /// `database_url` without its password.
    pub fn shown_database_url(&self) -> String {
        values::masked_url(self.database_url.expose_secret())
    }
}

/// Certificates or a key in the PEM format.
#[derive(Clone, Debug)]
pub enum Pem {
    /// As text.
    Inline(SecretString),
    /// In a file, which may change.
    File(PathBuf),
}

/// `tls`
#[derive(Clone, Debug)]
pub struct Tls {
    /// Our certificate, with those between it and its CA.
    pub cert: Pem,
    /// Its key.
    pub key: Pem,
    /// Who must have signed the certificates of clients.
    pub client_ca: Option<Pem>,
    /// How long a client may take for a handshake.
    pub handshake_timeout: Duration,
}

/// `log`
#[derive(Clone, Debug)]
pub struct Log {
    /// A filter of `tracing-subscriber`, as in `info` or `scrapebroker=debug`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// `database`
#[derive(Clone, Debug)]
pub struct Database {
    /// Most connections at once (PostgreSQL).
    pub max_connections: u32,
}

/// `broker`
#[derive(Clone, Debug)]
pub struct Broker {
    /// The platform's credentials; without them the broker API answers 503.
    pub credentials: Option<Credentials>,
    /// Path of the catalog; none: the built-in one.
    pub catalog: Option<PathBuf>,
    /// Derives tokens and the key that encrypts secrets at rest.
    pub token_key: Option<SecretString>,
    /// Instances that were never seen are taken for ours: for the time of a move.
    pub adopt_unknown_instances: bool,
    /// Which calls of Tsuru's service API need no event id.
    pub tsuru_calls_without_event_id: CallsWithoutEventId,
}

/// A user name and a password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: SecretString,
}

/// `routes`
#[derive(Clone, Debug)]
pub struct Routes {
    /// An endpoint that its source has not named for this long is dropped.
    pub stale_after: Duration,
    /// How long the last table serves while every source is away.
    pub keep: Duration,
    /// Pause between two polls of a source.
    pub refresh_interval: Duration,
    /// Routers to poll.
    pub gorouters: Vec<Gorouter>,
    /// A file in gorouter's format.
    pub file: Option<PathBuf>,
    /// A bus on which routes are registered.
    pub nats: Option<Nats>,
    /// Tsuru's API.
    pub tsuru: Option<Tsuru>,
}

/// `routes.tsuru`, when it is set.
#[derive(Clone, Debug)]
pub struct Tsuru {
    /// As in `https://tsuru.example.com`, without a slash at its end.
    pub api_url: String,
    /// A token that may read the bound apps.
    pub token: SecretString,
}

/// `routes.nats`, when servers are given.
#[derive(Clone, Debug)]
pub struct Nats {
    /// Servers of one bus, as in `nats://10.0.0.1:4222`; at least one.
    pub servers: Vec<String>,
    /// User name and password, when the servers ask for them.
    pub credentials: Option<Credentials>,
    /// For servers that want TLS.
    pub tls: NatsTls,
    /// Say `router.start` and answer `router.greet`, as a router does.
    pub announce: bool,
}

/// `routes.nats.tls`
#[derive(Clone, Debug)]
pub struct NatsTls {
    /// CAs that are trusted beside the system's.
    pub ca: Option<Pem>,
    /// Our certificate, and its key.
    pub identity: Option<(Pem, Pem)>,
}

/// `routes.gorouters[]`
#[derive(Clone, Debug)]
pub struct Gorouter {
    /// Full URL of the route table, as in `http://127.0.0.1:8082/routes`.
    pub url: String,
    /// Basic auth, when the router asks for it.
    pub credentials: Option<Credentials>,
}

/// `scrape`
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Deadline when the scraper announces none.
    pub timeout: Duration,
    /// Longest deadline that a scraper may announce.
    pub max_timeout: Duration,
    /// Subtracted from an announced deadline.
    pub timeout_offset: Duration,
    /// What to answer when no instance answered.
    pub all_failed: AllFailed,
    /// Who may scrape.
    pub access: Access,
    /// Instances asked at once, per request.
    pub concurrency: usize,
    /// Largest body of an instance after decompression, in bytes.
    pub max_instance_body: u64,
    /// Largest answer before compression, in bytes.
    pub max_response: u64,
    /// Largest size of all bodies of all requests at once, in bytes.
    pub max_memory: u64,
    /// Longest line, in bytes.
    pub max_line: usize,
    /// Most samples of an instance; 0: no limit.
    pub max_samples: usize,
    /// Most families of an instance.
    pub max_families: usize,
    /// Most labels of a sample.
    pub max_labels: usize,
}

/// `scrape.all_failed`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllFailed {
    /// A 4xx or 5xx, so that the scraper's `up` falls.
    Error,
    /// 200 with the failure series, as promfetcher does.
    Series,
}

/// `scrape.access`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever reaches the listener, as with promfetcher.
    Open,
    /// Who has a token of a binding or service key, for its app or space.
    Token,
}

/// `operators[]`
#[derive(Clone, Debug)]
pub struct Operator {
    /// User name.
    pub username: String,
    /// bcrypt hash of the password, checked to be one.
    pub password_bcrypt: SecretString,
}

/// `prometheus`
#[derive(Clone, Debug)]
pub struct Prometheus {
    /// Who makes them.
    pub provisioner: Provisioner,
    /// The program `prometheus`: a path, or a name to be found in `PATH`.
    pub binary: PathBuf,
    /// The program `promtool`, which checks rules.
    pub promtool: PathBuf,
    /// Instances on disk have their folders here.
    pub data_dir: PathBuf,
    /// Instances in memory have theirs here.
    pub tmpfs_dir: PathBuf,
    /// Loopback ports for child processes.
    pub ports: RangeInclusive<u16>,
    /// Most instances in all.
    pub max_instances: u64,
    /// Most instances of a space.
    pub max_instances_per_space: u64,
    /// How long an operation may take before it has failed.
    pub operation_timeout: Duration,
    /// Inside addresses to which alerts may go.
    pub alertmanager_allow: Vec<Allowed>,
    /// Where plans copy samples to, by name.
    pub remote_writes: BTreeMap<String, RemoteWrite>,
    /// For the provisioner `tsuru`.
    pub tsuru: TsuruApps,
}

/// `prometheus.provisioner`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provisioner {
    /// Child processes of ours.
    Process,
    /// Apps of a Tsuru.
    Tsuru,
    /// The service is not offered.
    None,
}

/// `prometheus.tsuru`
#[derive(Clone, Debug)]
pub struct TsuruApps {
    /// The image of the apps; there is one when this is who makes instances.
    pub image: Option<String>,
    /// What the names of the apps begin with.
    pub app_prefix: String,
    /// Their pool; empty: Tsuru's choice.
    pub pool: String,
    /// Their plan; empty: Tsuru's choice.
    pub plan: String,
    /// The plan of those that keep samples in memory.
    pub tmpfs_plan: Option<String>,
    /// Their router; empty: Tsuru's choice.
    pub router: String,
    /// The team that they belong to.
    pub team: TsuruTeam,
    /// Their platform; images need none.
    pub platform: String,
    /// `http` or `https`, for addresses that do not say.
    pub scheme: &'static str,
    /// Where they keep samples.
    pub storage_path: String,
    /// What lies there outlives a restart.
    pub storage_is_kept: bool,
    /// For calls of Tsuru's API that are answered at once.
    pub timeout: Duration,
    /// For deploys, and other calls that take their time.
    pub deploy_timeout: Duration,
    /// How long an app may take after that until it is ready.
    pub ready_timeout: Duration,
    /// Pause between two looks at an app.
    pub observe_interval: Duration,
}

/// `prometheus.tsuru.team`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TsuruTeam {
    /// The one that asked for the instance.
    FromRequest,
    /// This one.
    Named(String),
}

/// `prometheus.remote_writes.NAME`
#[derive(Clone, Debug)]
pub struct RemoteWrite {
    /// Full URL.
    pub url: String,
    /// Basic auth, when the target asks for it.
    pub credentials: Option<Credentials>,
    /// A token, when the target asks for one.
    pub bearer_token: Option<SecretString>,
    /// Headers, as in `X-Scope-OrgID`.
    pub headers: BTreeMap<String, SecretString>,
}

/// `backends`
#[derive(Clone, Debug)]
pub struct Backends {
    /// CAs that are trusted beside the system's.
    pub ca: Option<Pem>,
    /// Our certificate and its key.
    pub identity: Option<(Pem, Pem)>,
    /// Certificates of instances are not verified.
    pub skip_verify: bool,
    /// An idle connection to an instance is closed after this long.
    pub idle_timeout: Duration,
    /// Most connections at once; without it as many as open files allow.
    pub max_connections: Option<usize>,
}

/// A platform that runs us as an app, where the local disk is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// `VCAP_APPLICATION` is set.
    CloudFoundry,
    /// Tsuru's variables are set.
    Tsuru,
}

#[cfg(test)]
mod tests;
