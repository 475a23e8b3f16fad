//! Every key of promfetcher, and what becomes of it.

use super::{
    document::Document,
    exporters,
    fields::{both_or_none, flag, go_duration, id, pem, raw},
    routes,
};
use crate::{
    config::{
        section::Section,
        values::{self, number},
    },
    domain::{Catalog, PlanId, ServiceId},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The ids that promfetcher has when its file names none. Its BOSH release always names some.
const SERVICE_ID: &str = "75bcebab-cc25-4ef6-89dc-a91b953919f1";
const PLAN_ID: &str = "e2900be3-709b-419e-b63b-de3aabcd9e15";

/// The name of its service and of its plan, which is that of ours.
const SERVICE_NAME: &str = "promfetcher";
const PLAN_NAME: &str = "fetch-app";

/// Ours, where the ids go into.
const CATALOG: &str = include_str!("../../../broker-catalog.json");

/// Reads all keys; gives the catalog unless an id in it is wrong.
pub(super) fn convert(s: &mut Section<'_>, to: &mut Document, catalog: &str) -> Option<String> {
    let tls = listeners(s, to);
    log(s, to);
    store(s, to);
    let ids = broker(s, to, catalog);
    routes::convert(s, to);
    route_times(s, to);
    backends(s, to);
    exporters::convert(s, to);
    without_counterpart(s, to);
    base_url(s, to, tls);
    let (service_id, plan_id) = ids?;
    catalog_with(s, &service_id, &plan_id)
}

/// Whether the main listener speaks TLS.
fn listeners(s: &mut Section<'_>, to: &mut Document) -> bool {
    if let Some(port) = s.value("port", "8085", number(0..=u16::MAX)) {
        to.set(&["listen"], format!("0.0.0.0:{port}"));
    }
    if let Some(port) = s.value("health_check_port", "8080", number(0..=u16::MAX)) {
        to.set(&["health_listen"], format!("0.0.0.0:{port}"));
    }
    let tls = flag(s, "enable_ssl").unwrap_or(false);
    let pair = s.section("tls_pem", |s| {
        let (cert, key) = (pem(s, "cert_chain"), pem(s, "private_key"));
        both_or_none(s, ("cert_chain", cert), ("private_key", key))
    });
    match pair {
        Some(Some((cert, key))) if tls => {
            to.set(&["tls", "cert"], cert);
            to.set(&["tls", "key"], key);
        }
        Some(Some(_)) => to.remark("tls_pem", "left out, since enable_ssl is not true"),
        Some(None) if tls => s.mistake("tls_pem", "is missing, and enable_ssl is true"),
        _ => {}
    }
    tls
}

fn base_url(s: &mut Section<'_>, to: &mut Document, tls: bool) {
    match s.optional("base_url", values::base_url) {
        Some(Some(url)) => to.set(&["base_url"], url),
        Some(None) => {
            let scheme = if tls { "https" } else { "http" };
            to.remark(
                "base_url",
                &format!(
                    "is not set; credentials and documentation then name {scheme}://localhost"
                ),
            );
        }
        None => {}
    }
}

fn log(s: &mut Section<'_>, to: &mut Document) {
    s.section("logging", |s| {
        if let Some(Some(level)) = s.optional("level", level) {
            to.set(&["log", "level"], level);
        }
        if flag(s, "in_json") == Some(true) {
            to.set(&["log", "format"], "json");
        }
        if flag(s, "no_color").is_some() {
            to.lost("logging.no_color", "logs have colours on terminals only");
        }
        Some(())
    });
}

fn level(level: &str) -> Result<&'static str, String> {
    match level.to_ascii_lowercase().as_str() {
        "trace" => Ok("trace"),
        "debug" => Ok("debug"),
        "info" => Ok("info"),
        "warn" | "warning" => Ok("warn"),
        "error" | "fatal" | "panic" => Ok("error"),
        _ => Err("is not one of trace, debug, info, warn, error, fatal, panic".to_owned()),
    }
}

fn store(s: &mut Section<'_>, to: &mut Document) {
    let import = "scrapebroker import-promfetcher --from takes over what is in it";
    let url = raw(s, "db_conn").flatten();
    let scheme = url.as_deref().and_then(|url| url.split_once(':')).map(|(scheme, _)| scheme);
    let postgres = match (url.as_deref(), scheme) {
        (None, _) => {
            to.remark(
                "db_conn",
                "is not set: promfetcher refused bindings then; we keep them in SQLite",
            );
            false
        }
        (Some(_), Some("mysql" | "mariadb")) => {
            to.lost("db_conn", &format!("MySQL is no store of ours, bindings are kept in SQLite; set database_url to a PostgreSQL for several replicas. {import}"));
            false
        }
        (Some(_), Some("sqlite")) => {
            to.lost("db_conn", &format!("the file is not ours, bindings are kept in one of our own. {import}; promfetcher takes its path as one from its working directory"));
            false
        }
        (Some(url), Some("postgres" | "postgresql")) => {
            match values::database_url(url) {
                Ok(_) => to.set(&["database_url"], url),
                Err(problem) => s.mistake("db_conn", problem),
            }
            // Required with PostgreSQL; two random UUIDs have 244 bits of it.
            let random = || uuid::Uuid::new_v4().simple().to_string();
            to.set(&["broker", "token_key"], format!("{}{}", random(), random()));
            to.remark(
                "db_conn",
                &format!("our tables stand beside promfetcher's in the same database. {import}"),
            );
            to.remark("broker.token_key", "was made just now; keep it, the same for all replicas: another one could not read the store");
            true
        }
        _ => {
            s.mistake("db_conn", "must begin with mysql:, mariadb:, sqlite: or postgres:");
            false
        }
    };
    pool(s, to, postgres);
}

fn pool(s: &mut Section<'_>, to: &mut Document, postgres: bool) {
    match s.optional("sql_cnx_max_open", number(i64::MIN..=i64::MAX)).flatten() {
        Some(most) if postgres && (1..=10_000).contains(&most) => {
            to.set(&["database", "max_connections"], u32::try_from(most).unwrap_or(10));
        }
        Some(_) if postgres => {
            to.lost(
                "sql_cnx_max_open",
                "no limit; ours is database.max_connections, 10 when not set",
            );
        }
        Some(_) => to.lost("sql_cnx_max_open", "SQLite needs none"),
        None => {}
    }
    if s.optional("sql_cnx_max_idle", number(i64::MIN..=i64::MAX)).flatten().is_some() {
        to.lost("sql_cnx_max_idle", "idle connections to the database are kept for five minutes");
    }
    if s.optional("sql_cnx_max_life", go_duration).flatten().is_some() {
        to.lost(
            "sql_cnx_max_life",
            "connections to the database are checked before use, whatever their age",
        );
    }
    if flag(s, "not_exit_when_conn_failed").is_some() {
        to.lost("not_exit_when_conn_failed", "we never exit because the database is away; scraping goes on, bindings get 503 until it is back");
    }
}

/// The ids of service and plan.
fn broker(s: &mut Section<'_>, to: &mut Document, catalog: &str) -> Option<(String, String)> {
    let (service_id, plan_id, user, pass) = s.section("broker", |s| {
        let service_id = s.value("broker_service_id", SERVICE_ID, id::<ServiceId>);
        let plan_id = s.value("broker_plan_id", PLAN_ID, id::<PlanId>);
        let (user, pass) = (raw(s, "user"), raw(s, "pass"));
        if let Some(Some(user)) = &user
            && let Err(problem) = values::username(user)
        {
            s.mistake("user", problem);
        }
        Some((service_id, plan_id, user, pass))
    })?;
    let mut credential = |key: &str, default: &str, given: Option<Option<String>>| {
        let Some(given) = given else { return };
        if given.is_none() {
            let name = if key == "username" { "broker.user" } else { "broker.pass" };
            to.remark(name, &format!("is not set, so broker.{key} is promfetcher's default, which everybody knows; change it with cf update-service-broker"));
        }
        to.set(&["broker", key], given.unwrap_or_else(|| default.to_owned()));
    };
    credential("username", "user", user);
    credential("password", "password", pass);
    to.set(&["broker", "catalog"], catalog);
    to.set(&["broker", "adopt_unknown_instances"], true);
    to.remark(
        "broker.adopt_unknown_instances",
        "is for the time of the move only; see docs/MIGRATING.md",
    );
    Some((service_id?, plan_id?))
}

fn route_times(s: &mut Section<'_>, to: &mut Document) {
    if let Some(Some(stale_after)) = s.optional("droplet_stale_threshold", go_duration) {
        let text = |duration| humantime::format_duration(duration).to_string().replace(' ', "");
        to.set(&["routes", "stale_after"], text(stale_after));
        // What our own checks ask for beside it.
        if stale_after > Duration::from_secs(60 * 60) {
            to.set(&["routes", "keep"], text(stale_after));
        }
        if stale_after <= Duration::from_secs(15) {
            to.set(&["routes", "refresh_interval"], text(stale_after / 3));
        }
        to.remark("droplet_stale_threshold", "promfetcher never dropped a stale endpoint; we do");
    }
    if s.optional("start_response_delay_interval", go_duration).flatten().is_some() {
        to.lost(
            "start_response_delay_interval",
            "we are ready once each source of routes has answered, not after a fixed time",
        );
    }
    if s.optional("nats_client_ping_interval", go_duration).flatten().is_some() {
        to.lost(
            "nats_client_ping_interval",
            "the client for NATS keeps its connection alive by itself",
        );
    }
    if s.optional("index", number(0..=u32::MAX)).flatten().is_some() {
        to.lost("index", "replicas need no number");
    }
}

fn backends(s: &mut Section<'_>, to: &mut Document) {
    s.section("backends", |s| {
        let (cert, key) = (pem(s, "cert_chain"), pem(s, "private_key"));
        if let Some(Some((cert, key))) = both_or_none(s, ("cert_chain", cert), ("private_key", key)) {
            to.set(&["backends", "cert"], cert);
            to.set(&["backends", "key"], key);
        }
        if s.optional("max_conns", number(i64::MIN..=i64::MAX)).flatten().is_some() {
            to.lost("backends.max_conns", "a scrape asks an instance once; scrape.concurrency bounds how many instances a scrape asks at once");
        }
        Some(())
    });
    if let Some(Some(ca)) = pem(s, "ca_certs") {
        to.set(&["backends", "ca"], ca);
    }
    if flag(s, "skip_ssl_validation") == Some(true) {
        to.set(&["backends", "skip_verify"], true);
        to.remark(
            "skip_ssl_validation",
            "backends.skip_verify takes any certificate for that of an instance",
        );
    }
    match s.optional("idle_conn_timeout", number(0..=u32::MAX)).flatten() {
        Some(0) => to.lost(
            "idle_conn_timeout",
            "0 keeps idle connections for ever; ours are closed after backends.idle_timeout",
        ),
        Some(seconds) => to.set(&["backends", "idle_timeout"], format!("{seconds}s")),
        None => {}
    }
}

fn without_counterpart(s: &mut Section<'_>, to: &mut Document) {
    if flag(s, "enable_http2").is_some() {
        to.lost(
            "enable_http2",
            "an instance that registers with protocol http2 is spoken to so, any other in HTTP/1.1",
        );
    }
    if flag(s, "disable_keep_alives").is_some() {
        to.lost("disable_keep_alives", "connections to instances are kept; a request that fails on a kept one is repeated on a new one");
    }
    for key in ["max_idle_conns", "max_idle_conns_per_host"] {
        if s.optional(key, number(i64::MIN..=i64::MAX)).flatten().is_some() {
            to.lost(key, "idle connections are bounded by backends.idle_timeout, not by number");
        }
    }
}

/// Our catalog with promfetcher's ids and name, so that the platform keeps every instance.
fn catalog_with(s: &mut Section<'_>, service_id: &str, plan_id: &str) -> Option<String> {
    let mut catalog: Value = serde_json::from_str(CATALOG).unwrap_or_default();
    let service = &mut catalog["services"][0];
    service["id"] = json!(service_id);
    service["name"] = json!(SERVICE_NAME);
    service["plans"][0]["id"] = json!(plan_id);
    service["plans"][0]["name"] = json!(PLAN_NAME);
    if let Err(mistakes) = Catalog::parse(&catalog, "") {
        for mistake in mistakes {
            s.mistake("broker", format!("makes no catalog: {mistake}"));
        }
        return None;
    }
    serde_json::to_string_pretty(&catalog).ok()
}
