//! The connection to the bus, and what its client does not do by itself.
//!
//! The client connects again for ever, and renews the subscription. It has no
//! limit for what one message may hold, and drops messages when they come in
//! faster than they are taken; both is watched here.

use super::Ages;
use crate::{
    discovery::{address, error::cause},
    tls::{ClientConfig, ClientSettings, TlsError},
};
use async_nats::{
    Client, ClientError, ConnectErrorKind, ConnectOptions, Event, Server, ServerAddr, Subject,
    Subscriber, connection::State,
};
use secrecy::{ExposeSecret, SecretString};
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
use tokio::{net::lookup_host, sync::watch};

/// All that routers and emitters say to each other. One subscription, since
/// only within one the order of messages is kept.
const SUBJECT: &str = "router.*";
/// For one try to connect, up to the server's first answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause between two pings; three unanswered ones end a connection.
const PING_EVERY: Duration = Duration::from_secs(5);
/// Longest pause between two tries to connect.
const RETRY_EVERY: Duration = Duration::from_secs(4);
/// Messages that may wait. At ten thousand a second, enough for the moments in
/// which this thread does something else.
const WAITING: usize = 32 << 10;
/// Bytes of a message that has not ended. The bus allows 1 MiB a message,
/// unless an operator wants it otherwise.
const MAX_UNFINISHED: u64 = 4 << 20;

/// A bus to listen to.
#[derive(Clone, Debug)]
pub struct Nats {
    /// Its servers, as in `nats://10.0.0.1:4222`; `tls://` asks for TLS.
    pub servers: Vec<String>,
    /// User name and password, when it asks for them.
    pub credentials: Option<(String, SecretString)>,
    /// For servers that want TLS.
    pub tls: NatsTls,
    /// Say `router.start` and answer `router.greet`, as a router does.
    pub announce: bool,
    /// Names us to emitters, if we announce ourselves.
    pub id: String,
}

impl Nats {
    /// What to call it where people read it.
    pub(in crate::discovery) fn name(&self) -> String {
        let host = |server: &String| {
            let (_, rest) = server.split_once("://").unwrap_or(("", server));
            rest.trim_end_matches('/').to_owned()
        };
        format!("nats {}", self.servers.iter().map(host).collect::<Vec<_>>().join(", "))
    }
}

/// How to speak TLS with the servers.
#[derive(Clone)]
pub struct NatsTls {
    config: Arc<ClientConfig>,
    /// Any of its settings was made, so TLS is wanted whatever a server says.
    is_required: bool,
}

// What is inside holds a key.
impl fmt::Debug for NatsTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsTls").field("is_required", &self.is_required).finish_non_exhaustive()
    }
}

impl NatsTls {
    /// Reads the certificates of `settings`.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, TlsError> {
        let is_required = settings.ca.is_some() || settings.identity.is_some();
        Ok(Self { config: Arc::new(settings.config()?), is_required })
    }
}

/// A client, and what it has told.
pub(super) struct Bus {
    client: Client,
    pub(super) messages: Subscriber,
    cause: watch::Receiver<Option<Arc<str>>>,
    /// Messages that were dropped since they came too fast.
    missed: Arc<AtomicUsize>,
    /// Connections so far.
    connects: u64,
    /// Messages that had ended, and bytes that had come by then.
    finished: (u64, u64),
}

impl Bus {
    /// Starts a client; whether it is connected yet shows later.
    pub(super) async fn join(nats: &Nats, ages: Ages) -> Result<Self, String> {
        let servers: Result<Vec<ServerAddr>, _> =
            nats.servers.iter().map(|server| server.parse()).collect();
        let servers = servers.map_err(cause)?;
        let (cause_sender, cause_of_failure) = watch::channel(None);
        let failures = cause_sender.clone();
        let missed = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&missed);
        let named: Arc<[ServerAddr]> = servers.clone().into();
        let mut options = ConnectOptions::new()
            .name("scrapebroker")
            .retry_on_initial_connect()
            .ignore_discovered_servers()
            .no_echo()
            .connection_timeout(TIMEOUT)
            .ping_interval(PING_EVERY.min(ages.stale_after / 6).max(Duration::from_millis(100)))
            .subscription_capacity(WAITING)
            .reconnect_delay_callback(retry_after)
            .tls_client_config((*nats.tls.config).clone())
            .require_tls(nats.tls.is_required)
            .reconnect_to_server_callback(move |servers, _| {
                note_failures(&servers, &failures);
                // The client chooses the next server itself.
                std::future::ready(None)
            })
            .event_callback(move |event| {
                note(&event, &cause_sender, &counter);
                let looked_up = is_unknown_name(&event).then(|| Arc::clone(&named));
                let cause_sender = cause_sender.clone();
                async move {
                    if let Some(servers) = looked_up {
                        note_unknown_names(&servers, &cause_sender).await;
                    }
                }
            });
        if let Some((username, password)) = &nats.credentials {
            options = options.user_and_password(username.clone(), password.expose_secret().into());
        }
        let client = options.connect(servers).await.map_err(cause)?;
        let messages = client.subscribe(SUBJECT).await.map_err(cause)?;
        Ok(Self {
            client,
            messages,
            cause: cause_of_failure,
            missed,
            connects: 0,
            finished: (0, 0),
        })
    }

    pub(super) fn is_here(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Whether there is another connection than when this was last asked.
    pub(super) fn has_joined_again(&mut self) -> bool {
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        let is_news = connects != self.connects && self.is_here();
        if is_news {
            self.connects = connects;
        }
        is_news
    }

    /// Why the last try failed.
    pub(super) fn cause(&self) -> Option<Arc<str>> {
        self.cause.borrow().clone()
    }

    /// Messages dropped since this was last asked.
    pub(super) fn missed(&self) -> usize {
        self.missed.swap(0, Ordering::Relaxed)
    }

    /// Ends a connection on which a message goes on for too long, and tells so.
    pub(super) async fn cut_endless_message(&mut self) -> Option<String> {
        let statistics = self.client.statistics();
        let messages = statistics.in_messages.load(Ordering::Relaxed);
        let bytes = statistics.in_bytes.load(Ordering::Relaxed);
        if messages != self.finished.0 {
            self.finished = (messages, bytes);
            return None;
        }
        if bytes.saturating_sub(self.finished.1) <= MAX_UNFINISHED {
            return None;
        }
        self.finished.1 = bytes;
        // The client is gone if it does not hear this, and then so is the bus.
        let _ = self.client.force_reconnect().await;
        Some(format!("sent more than {MAX_UNFINISHED} bytes without ending its message"))
    }

    /// Says that a router has started, so that all emitters register anew.
    pub(super) async fn announce(&self, nats: &Nats, ages: Ages) {
        let start = router_start(nats, ages);
        // What cannot be sent is said again after the next connection.
        let _ = self.client.publish("router.start", start.into()).await;
    }

    /// Answers an emitter that asks for routers.
    pub(super) async fn answer_greeting(&self, reply: Option<&Subject>, nats: &Nats, ages: Ages) {
        if let Some(reply) = reply {
            let _ = self.client.publish(reply.clone(), router_start(nats, ages).into()).await;
        }
    }
}

/// Notes why servers could not be reached. The client's event says the kind of the error only.
fn note_failures(servers: &[Server], cause_sender: &watch::Sender<Option<Arc<str>>>) {
    let failure = |server: &Server| {
        let error = server.last_error.as_deref()?;
        let error = error.strip_prefix("IO error: ").unwrap_or(error);
        Some(format!("{}:{}: {error}", server.addr.host(), server.addr.port()))
    };
    let mut failures: Vec<String> = servers.iter().filter_map(failure).collect();
    // The client mixes the order of its servers.
    failures.sort_unstable();
    if !failures.is_empty() {
        cause_sender.send_replace(Some(cause(failures.join("; ")).into()));
    }
}

/// The client keeps no error of a server whose name it cannot look up.
fn is_unknown_name(event: &Event) -> bool {
    let unknown = ConnectErrorKind::Dns.to_string();
    matches!(event, Event::ClientError(ClientError::Other(kind)) if *kind == unknown)
}

/// Looks the names up once more, to tell which one is not known and why.
async fn note_unknown_names(
    servers: &[ServerAddr],
    cause_sender: &watch::Sender<Option<Arc<str>>>,
) {
    let mut failures = Vec::new();
    for server in servers {
        let host = server.host().trim_matches(['[', ']']);
        if let Err(error) = lookup_host((host, server.port())).await {
            failures.push(format!("{}:{}: {error}", server.host(), server.port()));
        }
    }
    if !failures.is_empty() {
        cause_sender.send_replace(Some(cause(failures.join("; ")).into()));
    }
}

/// Never shows more than a line, whatever the server says.
fn note(event: &Event, cause_sender: &watch::Sender<Option<Arc<str>>>, missed: &AtomicUsize) {
    let text = match event {
        Event::Connected => None,
        Event::ServerError(error) => Some(cause(error).into()),
        Event::SlowConsumer(_) => {
            missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        _ => return,
    };
    cause_sender.send_replace(text);
}

fn retry_after(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).clamp(1, 10) - 1;
    RETRY_EVERY.min(Duration::from_millis(100) * 2_u32.pow(doublings))
}

/// What a router says of itself (gorouter's `common/component.go`).
fn router_start(nats: &Nats, ages: Ages) -> String {
    let hosts: Vec<String> = own_address(nats).iter().map(IpAddr::to_string).collect();
    json!({
        "id": nats.id,
        "hosts": hosts,
        "minimumRegisterIntervalInSeconds": ages.round().as_secs().max(1),
        "pruneThresholdInSeconds": ages.stale_after.as_secs().max(1),
    })
    .to_string()
}

/// Our address as the servers see it, if the system can tell; nothing is sent.
fn own_address(nats: &Nats) -> Option<IpAddr> {
    let server: ServerAddr = nats.servers.first()?.parse().ok()?;
    let server = (address::ip(server.host())?, server.port());
    let any = if server.0.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
