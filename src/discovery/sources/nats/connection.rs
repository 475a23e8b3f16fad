//! The NATS connection, and checks that its client lacks.
//!
//! The client reconnects forever and renews the subscription. It does not limit the size of a
//! message, and it drops messages that arrive faster than they are processed. This module detects
//! both.

use super::Expiry;
use crate::{
    discovery::{address, drop_log::cause},
    domain::BasicAuth,
    net::Resolver,
    tls::{ClientConfig, ClientSettings, TlsError},
};
use async_nats::{
    Client, ClientError, ConnectErrorKind, ConnectOptions, Event, Server, ServerAddr, Subject,
    Subscriber, connection::State,
};
use secrecy::ExposeSecret;
use serde_json::json;
use std::{
    fmt,
    net::{IpAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch};

/// All messages between routers and emitters. One subscription, because NATS preserves the order
/// only within a subscription.
const SUBJECT: &str = "router.*";
/// Timeout of a connection attempt, up to the server's first response.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum ping interval. After three unanswered pings the connection is closed.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum delay between two connection attempts.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(4);
/// Capacity of the queue. At ten thousand messages per second it covers short delays of this
/// thread.
const QUEUE_CAPACITY: usize = 32 << 10;
/// Maximum size of an incomplete message in bytes. NATS allows 1 MiB per message by default.
const MAX_INCOMPLETE: u64 = 4 << 20;

/// A NATS cluster to subscribe to.
#[derive(Clone, Debug)]
pub struct NatsSettings {
    /// Its servers, for example `nats://10.0.0.1:4222`. `tls://` requires TLS.
    pub servers: Vec<String>,
    pub credentials: Option<BasicAuth>,
    /// TLS is required if any of these is set, whatever the server offers.
    pub tls: ClientSettings,
    /// Whether to publish `router.start` and answer `router.greet`, as a router does.
    pub announce: bool,
}

/// The same with its certificates.
#[derive(Clone)]
pub struct Nats {
    pub(super) settings: NatsSettings,
    tls: Arc<ClientConfig>,
    /// Identifies this process to emitters if `announce` is set.
    pub(super) id: String,
}

impl Nats {
    /// # Errors
    /// A certificate cannot be used.
    pub fn new(settings: NatsSettings) -> Result<Self, TlsError> {
        let tls = Arc::new(settings.tls.config()?);
        Ok(Self { settings, tls, id: uuid::Uuid::new_v4().to_string() })
    }
}

// The configuration of TLS contains a private key.
impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("servers", &self.settings.servers).finish_non_exhaustive()
    }
}

/// A client and the state of its connection.
pub(super) struct NatsConnection {
    client: Client,
    pub(super) messages: Subscriber,
    cause: watch::Receiver<Option<Arc<str>>>,
    /// Number of messages that were dropped because the queue was full.
    dropped_messages: Arc<AtomicUsize>,
    /// Number of connections so far.
    connects: u64,
    /// Number of complete messages, and of bytes received until the last of them.
    completed: (u64, u64),
}

impl NatsConnection {
    /// Starts a client. It connects in the background.
    pub(super) async fn connect(nats: &Nats, expiry: Expiry) -> Result<Self, String> {
        let servers: Result<Vec<ServerAddr>, _> =
            nats.settings.servers.iter().map(|server| server.parse()).collect();
        let servers = servers.map_err(cause)?;
        let (cause_sender, cause_of_failure) = watch::channel(None);
        let failures = cause_sender.clone();
        let dropped_messages = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&dropped_messages);
        let named: Arc<[ServerAddr]> = servers.clone().into();
        let tls = &nats.settings.tls;
        let is_tls_required = tls.ca.is_some() || tls.identity.is_some();
        let mut options = ConnectOptions::new()
            .name("scrapebroker")
            .retry_on_initial_connect()
            .ignore_discovered_servers()
            .no_echo()
            .connection_timeout(TIMEOUT)
            .ping_interval(
                PING_INTERVAL.min(expiry.stale_after / 6).max(Duration::from_millis(100)),
            )
            .subscription_capacity(QUEUE_CAPACITY)
            .reconnect_delay_callback(retry_after)
            .tls_client_config((*nats.tls).clone())
            .require_tls(is_tls_required)
            .reconnect_to_server_callback(move |servers, _| {
                record_failures(&servers, &failures);
                // The client selects the next server.
                std::future::ready(None)
            })
            .event_callback(move |event| {
                record_event(&event, &cause_sender, &counter);
                let looked_up = is_unknown_name(&event).then(|| Arc::clone(&named));
                let cause_sender = cause_sender.clone();
                async move {
                    if let Some(servers) = looked_up {
                        record_unknown_names(&servers, &cause_sender).await;
                    }
                }
            });
        if let Some(BasicAuth { username, password }) = &nats.settings.credentials {
            options = options.user_and_password(username.clone(), password.expose_secret().into());
        }
        let client = options.connect(servers).await.map_err(cause)?;
        let messages = client.subscribe(SUBJECT).await.map_err(cause)?;
        Ok(Self {
            client,
            messages,
            cause: cause_of_failure,
            dropped_messages,
            connects: 0,
            completed: (0, 0),
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Whether there is a new connection since the last call.
    pub(super) fn has_reconnected(&mut self) -> bool {
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        let is_news = connects != self.connects && self.is_up();
        if is_news {
            self.connects = connects;
        }
        is_news
    }

    /// Why the last attempt failed.
    pub(super) fn cause(&self) -> Option<Arc<str>> {
        self.cause.borrow().clone()
    }

    /// Number of messages dropped since the last call.
    pub(super) fn dropped_messages(&self) -> usize {
        self.dropped_messages.swap(0, Ordering::Relaxed)
    }

    /// Closes the connection if a message exceeds the limit, and returns the reason.
    pub(super) async fn close_on_endless_message(&mut self) -> Option<String> {
        let statistics = self.client.statistics();
        let messages = statistics.in_messages.load(Ordering::Relaxed);
        let bytes = statistics.in_bytes.load(Ordering::Relaxed);
        if messages != self.completed.0 {
            self.completed = (messages, bytes);
            return None;
        }
        if bytes.saturating_sub(self.completed.1) <= MAX_INCOMPLETE {
            return None;
        }
        self.completed.1 = bytes;
        // An error means that the client has ended, which the caller notices.
        let _ = self.client.force_reconnect().await;
        Some(format!("sent more than {MAX_INCOMPLETE} bytes without ending its message"))
    }

    /// Announces a router, so that all emitters register their routes again.
    pub(super) async fn announce(&self, nats: &Nats, expiry: Expiry) {
        let start = router_start(nats, expiry);
        // If it fails, it is repeated after the next connection.
        let _ = self.client.publish("router.start", start.into()).await;
    }

    /// Answers `router.greet`.
    pub(super) async fn answer_greeting(
        &self,
        reply: Option<&Subject>,
        nats: &Nats,
        expiry: Expiry,
    ) {
        if let Some(reply) = reply {
            let _ = self.client.publish(reply.clone(), router_start(nats, expiry).into()).await;
        }
    }
}

/// Records why servers could not be reached. The client's event contains only the kind of the
/// error.
fn record_failures(servers: &[Server], cause_sender: &watch::Sender<Option<Arc<str>>>) {
    let failure = |server: &Server| {
        let error = server.last_error.as_deref()?;
        let error = error.strip_prefix("IO error: ").unwrap_or(error);
        Some(format!("{}:{}: {error}", server.addr.host(), server.addr.port()))
    };
    let mut failures: Vec<String> = servers.iter().filter_map(failure).collect();
    // The client shuffles its servers.
    failures.sort_unstable();
    if !failures.is_empty() {
        cause_sender.send_replace(Some(cause(failures.join("; ")).into()));
    }
}

/// The client keeps no error for a server name that cannot be resolved.
fn is_unknown_name(event: &Event) -> bool {
    let unknown = ConnectErrorKind::Dns.to_string();
    matches!(event, Event::ClientError(ClientError::Other(kind)) if *kind == unknown)
}

/// Resolves the names again to find out which one fails and why.
async fn record_unknown_names(
    servers: &[ServerAddr],
    cause_sender: &watch::Sender<Option<Arc<str>>>,
) {
    let resolver = Resolver::new(Handle::current());
    let mut failures = Vec::new();
    for server in servers {
        let host = server.host().trim_matches(['[', ']']);
        if let Err(error) = resolver.addresses(host, server.port()).await {
            failures.push(format!("{}:{}: {error}", server.host(), server.port()));
        }
    }
    if !failures.is_empty() {
        cause_sender.send_replace(Some(cause(failures.join("; ")).into()));
    }
}

/// Records the cause of an event. Texts of the server are shortened to one line.
fn record_event(
    event: &Event,
    cause_sender: &watch::Sender<Option<Arc<str>>>,
    dropped_messages: &AtomicUsize,
) {
    let text = match event {
        Event::Connected => None,
        Event::ServerError(error) => Some(cause(error).into()),
        Event::SlowConsumer(_) => {
            dropped_messages.fetch_add(1, Ordering::Relaxed);
            return;
        }
        _ => return,
    };
    cause_sender.send_replace(text);
}

fn retry_after(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).clamp(1, 10) - 1;
    MAX_RETRY_INTERVAL.min(Duration::from_millis(100) * 2_u32.pow(doublings))
}

/// The message of a router (gorouter's `common/component.go`).
fn router_start(nats: &Nats, expiry: Expiry) -> String {
    let hosts: Vec<String> = own_address(nats).iter().map(IpAddr::to_string).collect();
    json!({
        "id": nats.id,
        "hosts": hosts,
        "minimumRegisterIntervalInSeconds": expiry.sync_period().as_secs().max(1),
        "pruneThresholdInSeconds": expiry.stale_after.as_secs().max(1),
    })
    .to_string()
}

/// The local address of a connection to the servers, if known. Sends nothing.
fn own_address(nats: &Nats) -> Option<IpAddr> {
    let server: ServerAddr = nats.settings.servers.first()?.parse().ok()?;
    let server = (address::ip(server.host())?, server.port());
    let any = if server.0.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
