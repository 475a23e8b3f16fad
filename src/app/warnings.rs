//! Warnings at startup about settings that are valid but unusual.

use crate::{
    config::{Config, Platform, Provisioner, catalog},
    discovery::RouteTable,
    domain::DatabaseUrl,
    query::Writes,
};
use std::time::Duration;
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
    let routes = &config.routes;
    let has_sources = !routes.gorouters.is_empty()
        || routes.file.is_some()
        || routes.nats.is_some()
        || routes.tsuru.is_some();
    let is_open = !config.scrape.token_required
        && config.listen.iter().any(|address| !address.ip().is_loopback());
    let query = &config.query;
    let queries_open =
        !query.operators_only && query.listen.is_some_and(|it| !it.ip().is_loopback());
    let events_open = !config.events.token_required
        && config.events.listen.is_some_and(|it| !it.ip().is_loopback());
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
    for warning in known.into_iter().flatten() {
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
