//! All keys and their defaults, as listed in docs/CONFIGURATION.md.
//!
//! Each function reads all of its keys before the first `?`, so that one wrong value does not hide
//! other mistakes.

use super::{
    Backends, Broker, Config, ConfigError, Database, Events, Log, LogFormat, Mistake, Mistakes,
    Platform, Provisioner, Routes, Scrape, Telemetry, Tsuru, WebFile, events,
    platform::{PlatformEnv, Port},
    prometheus, query,
    section::{Read, Recorded, Section},
    values::{self, number},
};
use crate::{
    discovery::{self, Gorouter, NatsSettings, RouteFile},
    domain::{
        BaseUrl, CallsWithoutEventId, DatabaseUrl, ExporterHost, ExternalExporter, MetricsPath,
        Template,
    },
    http::access::Operator,
    scrape::{ScrapeLimits, ScrapeTimeouts},
    telemetry::metrics::Namespace,
    tls::{ClientSettings, ListenerSettings, Pem},
};
use std::{net::SocketAddr, time::Duration};

/// The default of `database_url`.
const DEFAULT_DATABASE: &str = "sqlite://scrapebroker.db";

pub(super) fn config(s: &mut Section<'_>, platform_env: PlatformEnv) -> Read<Config> {
    let listen = listen(s, platform_env.port);
    let systemd_socket = s.value("systemd_socket", "false", values::flag);
    let tls = s.section("tls", tls);
    let web_file = web_file(s);
    let has_web_tls = matches!(&web_file, Ok(Some(file)) if file.tls.is_some());
    let has_tls = matches!(&tls, Ok((Some(_), _)));
    if has_tls && has_web_tls {
        s.mistake("web_config_file", "has tls_server_config, and tls is set; use only one of them");
    }
    let scheme = if has_tls || has_web_tls { "https" } else { "http" };
    let base_url = base_url(s, scheme, &listen, platform_env.base_url.clone());
    let health_listen = s.optional("health_listen", values::address);
    // Cloud Foundry kills an app ten seconds after the stop signal.
    let (wait, grace) = match platform_env.platform {
        Some(Platform::CloudFoundry) => ("2s", "7s"),
        _ => ("5s", "15s"),
    };
    let drain_wait = s.value("drain_wait", wait, values::duration);
    let shutdown_grace = s.value("shutdown_grace", grace, values::duration);
    if platform_env.platform == Some(Platform::CloudFoundry) {
        s.default_is_of("drain_wait", "VCAP_APPLICATION");
        s.default_is_of("shutdown_grace", "VCAP_APPLICATION");
    }
    let max_connections = s.optional("max_connections", number(1..=1_000_000));
    let write_timeout = s.value("write_timeout", "15s", values::period);
    let events = s.section("events", |s| events::events(s, &platform_env));
    // Users of oneShotMetricsServer set this variable. Other programs have variables of this name too.
    let log_level = platform_env.log_level.filter(|_| has_listener(&events));
    let log = s.section("log", |s| log(s, log_level));
    let telemetry = s.section("telemetry", |s| telemetry(s, &base_url));
    let database_url = database_url(s, platform_env.database_url);
    let database = s.section("database", |s| {
        let max_connections = s.value("max_connections", "10", number(1..=10_000));
        Ok(Database { max_connections: max_connections? })
    });
    let store_is_durable = s.value("store_is_durable", "false", values::flag);
    let broker = s.section("broker", broker);
    let routes = s.section("routes", routes);
    let scrape = s.section("scrape", scrape);
    let external_exporters = s.list("external_exporters", external_exporter);
    let prometheus = s.section("prometheus", |s| prometheus::prometheus(s, platform_env.search));
    let query = s.section("query", query::query);
    let operators = s.list("operators", operator);
    let backends = s.section("backends", backends);

    if let (Ok(query), Ok(broker), Ok(operators)) = (&query, &broker, &operators)
        && query.operators_only
        && broker.credentials.is_none()
        && operators.is_empty()
    {
        s.mistake(
            "query.access",
            "is operators, but there are neither operators nor broker.username",
        );
    }
    let others = [
        ("query.listen", query.as_ref().ok().and_then(|it| it.listen)),
        ("events.listen", events.as_ref().ok().and_then(|it| it.listen)),
        ("health_listen", health_listen.ok().flatten()),
    ];
    // `listen` is not used if systemd passes the sockets.
    let main = listen.as_deref().ok().filter(|_| !systemd_socket.unwrap_or(false));
    check_ports(s, main.unwrap_or_default(), &others);
    if let (Ok(prometheus), Ok(routes)) = (&prometheus, &routes)
        && prometheus.provisioner == Provisioner::Tsuru
        && routes.tsuru.is_none()
    {
        s.mistake("routes.tsuru.api_url", "is missing: prometheus.provisioner is tsuru");
    }
    if let (Ok(DatabaseUrl::Postgres(_)), Ok(broker)) = (&database_url, &broker)
        && broker.token_key.is_none()
    {
        s.mistake(
            "broker.token_key",
            "is required with PostgreSQL: all replicas must derive the same tokens",
        );
    }
    if let (Ok(events), Ok(broker), Ok(operators)) = (&events, &broker, &operators)
        && events.token_required
        && broker.credentials.is_none()
        && operators.is_empty()
    {
        s.mistake(
            "events.access",
            "is token, but without broker.username and broker.password no tokens can be issued",
        );
    }
    if let (Ok(scrape), Ok(broker), Ok(operators)) = (&scrape, &broker, &operators)
        && scrape.token_required
        && broker.credentials.is_none()
        && operators.is_empty()
    {
        s.mistake(
            "scrape.access",
            "is token, but without broker.username and broker.password no tokens can be issued",
        );
    }

    let (tls, handshake_timeout) = tls?;
    Ok(Config {
        listen: listen?,
        base_url: base_url?,
        health_listen: health_listen?,
        tls,
        handshake_timeout,
        web_file: web_file?,
        drain_wait: drain_wait?,
        shutdown_grace: shutdown_grace?,
        max_connections: max_connections?,
        write_timeout: write_timeout?,
        log: log?,
        telemetry: telemetry?,
        database_url: database_url?,
        database: database?,
        store_is_durable: store_is_durable?,
        broker: broker?,
        routes: routes?,
        scrape: scrape?,
        backends: backends?,
        external_exporters: external_exporters?,
        prometheus: prometheus?,
        query: query?,
        events: events?,
        operators: operators?,
        systemd_socket: systemd_socket?,
        service_manager: platform_env.service_manager,
        platform: platform_env.platform,
    })
}

/// Maximum number of addresses of the main listener. Each has a client for instances per worker.
const MAX_ADDRESSES: usize = 16;

/// The port of the platform takes precedence, because the platform sends requests to no other port.
fn listen(s: &mut Section<'_>, port: Option<Port>) -> Read<Vec<SocketAddr>> {
    let mut listen = s.one_or_more("listen", ":8085", values::address)?;
    if listen.len() > MAX_ADDRESSES {
        return Err(s.mistake("listen", format!("has more than {MAX_ADDRESSES} addresses")));
    }
    if let (Some(port), Some(first)) = (port, listen.first_mut()) {
        first.set_port(port.number);
        // The others keep their origin.
        let key = if listen.len() > 1 { "listen[0]" } else { "listen" };
        s.changed_by(key, port.source);
    }
    s.show_one_or_more("listen", &listen);
    Ok(listen)
}

fn base_url(
    s: &mut Section<'_>,
    scheme: &str,
    listen: &Read<Vec<SocketAddr>>,
    route: Option<BaseUrl>,
) -> Read<BaseUrl> {
    let first = listen.as_ref().ok().and_then(|listen| listen.first());
    let local = || format!("{scheme}://localhost:{}", first.map_or(0, SocketAddr::port));
    let is_of_platform = route.is_some();
    let default = route.map_or_else(local, |route| route.to_string());
    let base_url = s.value("base_url", &default, values::own_base_url)?;
    if is_of_platform {
        s.default_is_of("base_url", "VCAP_APPLICATION");
    }
    s.show("base_url", base_url.as_str());
    Ok(base_url)
}

/// Reads the settings in the file. Each of its mistakes is a mistake of this key.
fn web_file(s: &mut Section<'_>) -> Read<Option<WebFile>> {
    let Some(path) = s.optional("web_config_file", values::path)? else { return Ok(None) };
    match WebFile::read(&path) {
        Ok(file) => Ok(Some(file)),
        Err(ConfigError::Mistakes(Mistakes(mistakes))) => {
            let record = |Mistake { key, problem }| {
                s.mistake("web_config_file", format!("{}: {key} {problem}", path.display()))
            };
            Err(mistakes.into_iter().map(record).fold(Recorded, |_, recorded| recorded))
        }
        Err(ConfigError::Unreadable { path, source }) => {
            Err(s.mistake("web_config_file", format!("cannot read {}: {source}", path.display())))
        }
        Err(error @ ConfigError::NotYaml { .. }) => {
            Err(s.mistake("web_config_file", error.to_string()))
        }
    }
}

/// The certificates, and the timeout of a handshake.
fn tls(s: &mut Section<'_>) -> Read<(Option<ListenerSettings>, Duration)> {
    let (cert, key) = (s.pem("cert"), s.pem("key"));
    let client_ca = s.pem("client_ca");
    let handshake_timeout = s.value("handshake_timeout", "5s", values::period);
    let identity = identity(s, cert?, key?)?;
    let (client_ca, handshake_timeout) = (client_ca?, handshake_timeout?);
    match (identity, client_ca) {
        (Some((cert, key)), client_ca) => {
            Ok((Some(ListenerSettings { cert, key, client_ca }), handshake_timeout))
        }
        (None, Some(_)) => Err(s.mistake("client_ca", "requires cert and key")),
        (None, None) => Ok((None, handshake_timeout)),
    }
}

fn backends(s: &mut Section<'_>) -> Read<Backends> {
    let client = client(s);
    let skip_verify = s.value("skip_verify", "false", values::flag);
    let idle_timeout = s.value("idle_timeout", "90s", values::period);
    let max_connections = s.optional("max_connections", number(1..=1_000_000));
    Ok(Backends {
        tls: ClientSettings { skip_verify: skip_verify?, ..client? },
        idle_timeout: idle_timeout?,
        max_connections: max_connections?,
    })
}

/// Certificates for connections to servers.
pub(super) fn client(s: &mut Section<'_>) -> Read<ClientSettings> {
    let ca = s.pem("ca");
    let (cert, key) = (s.pem("cert"), s.pem("key"));
    let identity = identity(s, cert?, key?);
    Ok(ClientSettings { ca: ca?, identity: identity?, skip_verify: false })
}

pub(super) fn identity(
    s: &mut Section<'_>,
    cert: Option<Pem>,
    key: Option<Pem>,
) -> Read<Option<(Pem, Pem)>> {
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(s.mistake("key", "is missing, and cert is set")),
        (None, Some(_)) => Err(s.mistake("cert", "is missing, and key is set")),
    }
}

/// `listen` are the addresses of the main listener.
fn check_ports(
    s: &mut Section<'_>,
    listen: &[SocketAddr],
    others: &[(&'static str, Option<SocketAddr>)],
) {
    for (index, address) in listen.iter().enumerate() {
        // `[::]` of the main listener leaves the IPv4 addresses to its other addresses.
        let is_taken =
            |it: &SocketAddr| it.is_ipv4() == address.is_ipv4() && share_a_port(*it, *address);
        if listen.iter().take(index).any(is_taken) {
            s.mistake(&format!("listen[{index}]"), format!("{address} is given before"));
        }
    }
    let set = |(key, address): &(&'static str, Option<SocketAddr>)| Some((*key, (*address)?));
    let main = listen.iter().map(|address| ("listen", *address));
    let listeners: Vec<_> = main.chain(others.iter().filter_map(set)).collect();
    for (index, (key, address)) in listeners.iter().enumerate().skip(listen.len()) {
        let taken = listeners.iter().take(index).find(|(_, it)| share_a_port(*it, *address));
        if let Some((other, taken)) = taken {
            s.mistake(key, format!("{address} is taken by {other} ({taken})"));
        }
    }
}

fn share_a_port(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_host
}

fn has_listener(events: &Read<Events>) -> bool {
    events.as_ref().is_ok_and(|it| it.listen.is_some())
}

fn log(s: &mut Section<'_>, of_events: Option<&str>) -> Read<Log> {
    let level = s.value("level", of_events.unwrap_or("info"), values::log_filter);
    if of_events.is_some() {
        s.default_is_of("level", "LOG_LEVEL");
    }
    let formats =
        [("text", LogFormat::Text), ("json", LogFormat::Json), ("logfmt", LogFormat::Logfmt)];
    let format =
        s.value("format", "text", |text| values::choice(&formats)(&text.to_ascii_lowercase()));
    Ok(Log { level: level?, format: format? })
}

fn telemetry(s: &mut Section<'_>, base_url: &Read<BaseUrl>) -> Read<Telemetry> {
    let path = s.value("path", "/metrics", values::telemetry_path);
    let namespace = s.value("namespace", Namespace::DEFAULT, str::parse);
    let promfetcher_names = s.value("promfetcher_names", "true", values::flag);
    if let (Ok(path), Ok(base_url)) = (&path, base_url)
        && !base_url.path().is_empty()
        && values::first_segment(path) == values::first_segment(base_url.path())
    {
        s.mistake("path", "must not begin like the path of base_url, which is removed");
    }
    Ok(Telemetry { promfetcher_names: promfetcher_names?, path: path?, namespace: namespace? })
}

fn database_url(
    s: &mut Section<'_>,
    bound: Option<Result<DatabaseUrl, String>>,
) -> Read<DatabaseUrl> {
    let given = s.shown_as("database_url", DatabaseUrl::to_string, str::parse)?;
    if let Some(given) = given {
        return Ok(given);
    }
    if bound.is_some() {
        s.default_is_of("database_url", "VCAP_SERVICES");
    }
    match bound.unwrap_or_else(|| DEFAULT_DATABASE.parse()) {
        Ok(url) => {
            s.show("database_url", url.to_string());
            Ok(url)
        }
        Err(problem) => Err(s.mistake("VCAP_SERVICES", problem)),
    }
}

fn broker(s: &mut Section<'_>) -> Read<Broker> {
    let username = s.text_or_file("username", values::username);
    let password = s.secret_of("password", values::broker_password);
    let credentials = s.basic_auth(username, password);
    let catalog = s.optional("catalog", values::path);
    let token_key = s.secret("token_key");
    let adopt_unknown_instances = s.value("adopt_unknown_instances", "false", values::flag);
    let calls = [
        ("refuse", CallsWithoutEventId::Refuse),
        ("job-unbinds", CallsWithoutEventId::JobUnbinds),
        ("accept", CallsWithoutEventId::Accept),
    ];
    let tsuru_calls_without_event_id =
        s.value("tsuru_calls_without_event_id", "refuse", values::choice(&calls));
    Ok(Broker {
        credentials: credentials?,
        catalog: catalog?,
        token_key: token_key?,
        adopt_unknown_instances: adopt_unknown_instances?,
        tsuru_calls_without_event_id: tsuru_calls_without_event_id?,
    })
}

fn routes(s: &mut Section<'_>) -> Read<Routes> {
    let stale_after = s.value("stale_after", "120s", values::period);
    let keep = s.value("keep", "1h", values::period);
    let refresh_interval = s.value("refresh_interval", "15s", values::period);
    let gorouters = s.list("gorouters", gorouter);
    let file = s.optional("file", |text| Ok(RouteFile { path: values::path(text)? }));
    let nats = s.section("nats", nats);
    let tsuru = s.section("tsuru", tsuru);
    if let (Ok(keep), Ok(stale_after)) = (keep, stale_after)
        && keep < stale_after
    {
        s.mistake("keep", "must be at least stale_after");
    }
    if let (Ok(refresh_interval), Ok(stale_after)) = (refresh_interval, stale_after)
        && refresh_interval >= stale_after
    {
        s.mistake(
            "refresh_interval",
            "must be shorter than stale_after, or every endpoint is dropped between two polls",
        );
    }
    Ok(Routes {
        settings: discovery::Settings {
            stale_after: stale_after?,
            keep: keep?,
            refresh_interval: refresh_interval?,
            limits: discovery::Limits::default(),
        },
        file: file?,
        gorouters: gorouters?,
        nats: nats?,
        tsuru: tsuru?,
    })
}

/// Requires both keys or none. With only one of them, apps would silently be scraped through their
/// routers.
fn tsuru(s: &mut Section<'_>) -> Read<Option<Tsuru>> {
    let api_url = s.optional("api_url", str::parse);
    let token = s.secret_of("token", values::bearer_token);
    match (api_url?, token?) {
        (Some(api_url), Some(token)) => Ok(Some(Tsuru { api_url, token })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(s.mistake("token", "is missing, and api_url is set")),
        (None, Some(_)) => Err(s.mistake("api_url", "is missing, and token is set")),
    }
}

/// Returns none if no servers are set.
fn nats(s: &mut Section<'_>) -> Read<Option<NatsSettings>> {
    let servers = s.texts("servers", values::nats_server);
    let username = s.text_or_file("username", values::control_free);
    let password = s.secret("password");
    let credentials = s.basic_auth(username, password);
    let tls = s.section("tls", client);
    let announce = s.value("announce", "false", values::flag);
    let nats = NatsSettings {
        servers: servers?,
        credentials: credentials?,
        tls: tls?,
        announce: announce?,
    };
    Ok(Some(nats).filter(|nats| !nats.servers.is_empty()))
}

fn gorouter(s: &mut Section<'_>) -> Read<Gorouter> {
    let url = s.required("url", values::routes_url);
    let username = s.text_or_file("username", values::username);
    let password = s.secret("password");
    let credentials = s.basic_auth(username, password);
    Ok(Gorouter { url: url?, credentials: credentials? })
}

fn external_exporter(s: &mut Section<'_>) -> Read<ExternalExporter> {
    let name = s.optional("name", values::name);
    let schemes = [("http", false), ("https", true)];
    let tls = s.value("scheme", "http", values::choice(&schemes));
    let host = s.required("host", |text| {
        ExporterHost::parse(text, tls.unwrap_or(false)).map_err(|error| error.to_string())
    });
    let path = s.value("metrics_path", "/metrics", |text| {
        text.parse::<MetricsPath>().map_err(|error| error.to_string())
    });
    let template = |text: &str| Template::parse(text).map_err(|error| error.to_string());
    let params = s.lists("params", template);
    let (host, path) = (host?, path?);
    // promfetcher uses the same default.
    let name = name?.unwrap_or_else(|| format!("{host}{path}"));
    tls?;
    Ok(ExternalExporter { name, host, path, params: params? })
}

fn operator(s: &mut Section<'_>) -> Read<Operator> {
    let username = s.text_or_file("username", values::username);
    let password_bcrypt = s.secret_of("password_bcrypt", values::bcrypt_hash);
    let username = username.and_then(|it| it.ok_or_else(|| s.mistake("username", "is missing")));
    let password_bcrypt =
        password_bcrypt.and_then(|it| it.ok_or_else(|| s.mistake("password_bcrypt", "is missing")));
    Ok(Operator { username: username?, password_bcrypt: password_bcrypt? })
}

fn scrape(s: &mut Section<'_>) -> Read<Scrape> {
    let timeout = s.value("timeout", "30s", values::period);
    let max_timeout = s.value("max_timeout", "120s", values::period);
    let timeout_offset = s.value("timeout_offset", "500ms", values::duration);
    let answers = [("error", false), ("series", true)];
    let series_when_all_failed = s.value("all_failed", "error", values::choice(&answers));
    let ways = [("open", false), ("token", true)];
    let token_required = s.value("access", "open", values::choice(&ways));
    let concurrency = s.value("concurrency", "64", number(1..=65_536));
    let max_instance_body = s.value("max_instance_body", "64MiB", values::size);
    let max_response = s.value("max_response", "4GiB", values::size);
    let max_memory = s.value("max_memory", "1GiB", values::size);
    let max_line = s.value("max_line", "1MiB", values::memory_size);
    let max_samples = s.value("max_samples", "0", number(0..=usize::MAX));
    let max_families = s.value("max_families", "100000", number(1..=usize::MAX));
    let max_labels = s.value("max_labels", "64", number(1..=usize::MAX));
    if let (Ok(timeout), Ok(max_timeout)) = (timeout, max_timeout)
        && timeout > max_timeout
    {
        s.mistake("timeout", "must be at most max_timeout");
    }
    if let (Ok(timeout_offset), Ok(timeout)) = (timeout_offset, timeout)
        && timeout_offset >= timeout
    {
        s.mistake("timeout_offset", "must be shorter than timeout");
    }
    if let (Ok(max_instance_body), Ok(max_memory)) = (max_instance_body, max_memory)
        && max_instance_body > max_memory
    {
        s.mistake("max_memory", "must be at least max_instance_body");
    }
    Ok(Scrape {
        timeouts: ScrapeTimeouts { default: timeout?, max: max_timeout?, offset: timeout_offset? },
        limits: ScrapeLimits {
            concurrency: concurrency?,
            max_instance_body: max_instance_body?,
            max_response: max_response?,
            exposition: exposition::Limits {
                max_line: max_line?,
                max_samples: max_samples?,
                max_families: max_families?,
                max_labels: max_labels?,
            },
        },
        max_memory: max_memory?,
        series_when_all_failed: series_when_all_failed?,
        token_required: token_required?,
    })
}
