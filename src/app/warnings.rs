//! Warnings at startup about settings that are valid but unusual.

use crate::{
    config::{Config, Platform, Provisioner, catalog},
    discovery::RouteTable,
    domain::DatabaseUrl,
    query::Writes,
};
use std::{net::SocketAddr, time::Duration};
use tokio_util::sync::CancellationToken;

/// The local disk of a platform is lost at a restart, and SQLite stores data on it.
const NOT_DURABLE: &str = "bindings and events are kept in SQLite on a disk that this platform deletes at a restart; \
     set database_url to a PostgreSQL, or store_is_durable if the file lies on a mounted volume";
const SKIP_VERIFY: &str = "backends.skip_verify is set: certificates of instances are not verified, so metrics may come \
     from another host, and credentials of bindings may go to it";
const NO_SOURCES: &str = "no route source is configured, so no app can be scraped; \
     set routes.gorouters, routes.nats, routes.file or routes.tsuru";
const OPEN: &str = "scrape.access is open and listen has an address that is not a loopback address: any client that reaches it may scrape \
     any app; set scrape.access to token unless the network is trusted";
const OPEN_QUERIES: &str = "query.access is open and query.listen is not a loopback address: any client that reaches it may \
     query all metrics of the pools; set query.access to operators unless the network is trusted";
const OPEN_EVENTS: &str = "events.access is open and events.listen is not a loopback address: any client that reaches it may \
     post events and scrape them; set events.access to token unless the network is trusted";
const OPEN_WRITES: &str = "query.access is open and writes is allow for a pool of query.pools: any client that reaches \
     query.listen may write samples and read the configuration of the replicas; set query.access to operators unless \
     the network is trusted";
const SKIP_VERIFY_QUERIES: &str = "skip_verify is set for a pool of query.pools: certificates of its replicas are not verified, so \
     its credentials may go to another host";
const ADOPTION: &str = "service instances that were never seen are adopted; \
     unset broker.adopt_unknown_instances when the move is done";
const CATALOG: &str = "broker-catalog.json in the working folder is not used; \
     set broker.catalog to its path, or remove it";

/// A warning that is also shown on pages: bindings may be lost.
pub(super) fn not_durable(config: &Config) -> Option<&'static str> {
    let on_platform = matches!(config.platform, Some(Platform::CloudFoundry | Platform::Tsuru));
    let sqlite = matches!(config.database_url, DatabaseUrl::Sqlite(_));
    (on_platform && sqlite && !config.store_is_durable).then_some(NOT_DURABLE)
}

/// Logs warnings about the settings.
pub(super) fn log(config: &Config) {
    for warning in warnings(config) {
        tracing::warn!("{warning}");
    }
    if config.prometheus.provisioner == Provisioner::Process
        && !config.prometheus.process.has_program()
    {
        tracing::warn!(
            binary = %config.prometheus.process.binary.display(),
            "prometheus.binary is not found, so plans with a Prometheus are refused; install \
             Prometheus, set its path, or set prometheus.provisioner to none"
        );
    }
}

fn warnings(config: &Config) -> impl Iterator<Item = &'static str> {
    // Then not every client that reaches a listener may use it.
    let has_logins = config.has_web_users() || config.requires_client_certificates();
    let is_open_at = |address: &SocketAddr| !has_logins && !address.ip().is_loopback();
    let routes = &config.routes;
    let has_sources = !routes.gorouters.is_empty()
        || routes.file.is_some()
        || routes.nats.is_some()
        || routes.tsuru.is_some();
    let is_open = !config.scrape.token_required && config.listen.iter().any(is_open_at);
    let query = &config.query;
    let queries_open = !query.operators_only && query.listen.as_ref().is_some_and(is_open_at);
    let events_open =
        !config.events.token_required && config.events.listen.as_ref().is_some_and(is_open_at);
    let known = [
        not_durable(config),
        config.backends.tls.skip_verify.then_some(SKIP_VERIFY),
        (!has_sources).then_some(NO_SOURCES),
        is_open.then_some(OPEN),
        queries_open.then_some(OPEN_QUERIES),
        events_open.then_some(OPEN_EVENTS),
        (queries_open && query.pools.iter().any(|it| it.writes == Writes::Allow))
            .then_some(OPEN_WRITES),
        config.query.pools.iter().any(|it| it.tls.skip_verify).then_some(SKIP_VERIFY_QUERIES),
        config.broker.adopt_unknown_instances.then_some(ADOPTION),
        catalog::is_ignored(config.broker.catalog.as_deref()).then_some(CATALOG),
    ];
    known.into_iter().flatten()
}

/// Time for other sources to provide a table after the first one.
const GRACE: Duration = Duration::from_secs(5);
/// Interval of checks of the route table.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Logs when the first route table arrives, and then the sources without a table.
pub(super) async fn log_first_table(table: RouteTable, shutdown: CancellationToken) {
    let logging = async {
        if table.snapshot().is_complete() {
            return;
        }
        while !table.snapshot().has_table() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        tracing::info!("ready");
        tokio::time::sleep(GRACE).await;
        for source in table.snapshot().waiting_for() {
            let error = source.failure.as_deref().map(tracing::field::display);
            tracing::warn!(
                source.name = %source.name,
                key = %source.key,
                error,
                "ready without this route source: it has given no table yet"
            );
        }
    };
    shutdown.run_until_cancelled(logging).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// Warnings with all listeners open at addresses that are not loopback addresses.
    fn open_listeners(web_file: &str, more: &[(&str, String)]) -> Vec<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        std::fs::write(&path, web_file).unwrap();
        let pools = r#"[{"name": "p", "writes": "allow", "locators": [{"static": ["http://127.0.0.1:1"]}]}]"#;
        let settings = [
            ("WEB_CONFIG_FILE", path.display().to_string()),
            ("LISTEN", "10.0.0.1:1".to_owned()),
            ("QUERY__LISTEN", "10.0.0.1:2".to_owned()),
            ("QUERY__POOLS", pools.to_owned()),
            ("EVENTS__LISTEN", "10.0.0.1:3".to_owned()),
        ];
        let variables = settings.iter().chain(more);
        let variables =
            variables.map(|(name, value)| (format!("SCRAPEBROKER__{name}"), value.clone()));
        let config = Config::load(None, variables).unwrap();
        let open = [OPEN, OPEN_QUERIES, OPEN_EVENTS, OPEN_WRITES];
        warnings(&config).filter(|warning| open.contains(warning)).collect()
    }

    #[test]
    fn open_listeners_are_reported_unless_clients_need_a_password_or_certificate() {
        let hash = "$2y$10$bwLzfBQd41SbKrw4Xb7F/ePOYfMyvayo5EWdTf9cgW8..QLaNhW62";
        let users = format!("basic_auth_users: {{ alice: {hash} }}");
        let tls = |auth: &str| {
            format!("tls_server_config: {{ cert_file: c, key_file: k, client_auth_type: {auth} }}")
        };
        let verified = tls("RequireAndVerifyClientCert, client_ca_file: a");
        let key = |name: &str| (format!("TLS__{name}_FILE"), "x".to_owned());
        let own = [key("CERT"), key("KEY"), key("CLIENT_CA")];
        let own: Vec<_> = own.iter().map(|(name, value)| (&**name, value.clone())).collect();
        let all = [OPEN, OPEN_QUERIES, OPEN_EVENTS, OPEN_WRITES];
        for (web_file, more, expected) in [
            ("", &[][..], &all[..]),
            ("rate_limit: { interval: 1s, burst: 1 }", &[], &all),
            // Every certificate is accepted.
            (&*tls("RequireAnyClientCert"), &[], &all),
            (&*verified, &[], &[]),
            (&*users, &[], &[]),
            ("", &own[..2], &all),
            ("", &own, &[]),
        ] {
            assert_eq!(open_listeners(web_file, more), expected, "{web_file} {more:?}");
        }
    }
}
