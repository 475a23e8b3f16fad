//! Converts all keys of promfetcher.

use super::{
    exporters,
    fields::{both_or_none, flag, id, pem, raw},
    routes, store,
    unsupported::{self, Form, is_set},
};
use crate::{
    config::{
        catalog::BUILT_IN,
        document::Document,
        go_values,
        section::{Read, Recorded, Section},
        values::{self, number},
    },
    domain::{BaseUrl, Catalog, PlanId, ServiceId},
};
use serde_json::{Value, json};
use std::time::Duration;

/// promfetcher's default ids. Its BOSH release always sets ids.
const SERVICE_ID: &str = "75bcebab-cc25-4ef6-89dc-a91b953919f1";
const PLAN_ID: &str = "e2900be3-709b-419e-b63b-de3aabcd9e15";

/// Name of promfetcher's service and plan. Scrapebroker's default plan has the same name.
const SERVICE_NAME: &str = "promfetcher";
const PLAN_NAME: &str = "fetch-app";

const MAX_CONNS: &str = "a scrape sends one request per instance; scrape.concurrency limits \
                         the number of parallel requests";
const DEFAULT_CREDENTIAL: &str = "is not set, so this is promfetcher's public default; \
                                  change it with cf update-service-broker";
const DEFAULT_PASSWORD: &str = "password";
const SHORT_PASSWORD: &str = "is shorter than 12 characters, the minimum of broker.password: set a \
                              longer one here and with cf update-service-broker";
const ADOPT: &str = "is needed during the migration only; see docs/MIGRATING.md";
const SKIP_VERIFY: &str = "backends.skip_verify accepts any certificate of an instance";
const IDLE_FOREVER: &str = "0 keeps idle connections forever; Scrapebroker closes them after \
                                backends.idle_timeout";

/// Reads all keys. Returns the catalog unless one of its ids is wrong.
pub(super) fn convert(s: &mut Section<'_>, to: &mut Document, catalog: &str) -> Read<String> {
    let tls = listeners(s, to);
    log(s, to);
    store::convert(s, to);
    let ids = broker(s, to, catalog);
    routes::convert(s, to);
    route_times(s, to);
    backends(s, to);
    exporters::convert(s, to);
    unsupported::convert(s, to);
    base_url(s, to, tls);
    let (service_id, plan_id) = ids?;
    catalog_with(s, &service_id, &plan_id)
}

fn listeners(s: &mut Section<'_>, to: &mut Document) -> bool {
    if let Ok(port) = s.value("port", "8085", number(0..=u16::MAX)) {
        to.set(&["listen"], format!("0.0.0.0:{port}"));
    }
    if let Ok(port) = s.value("health_check_port", "8080", number(0..=u16::MAX)) {
        to.set(&["health_listen"], format!("0.0.0.0:{port}"));
    }
    let tls = flag(s, "enable_ssl").unwrap_or(false);
    let pair = s.section("tls_pem", |s| {
        let (cert, key) = (pem(s, "cert_chain"), pem(s, "private_key"));
        both_or_none(s, ("cert_chain", cert), ("private_key", key))
    });
    match pair {
        Ok(Some((cert, key))) if tls => {
            to.set(&["tls", "cert"], cert);
            to.set(&["tls", "key"], key);
        }
        Ok(Some(_)) => to.remark("tls_pem", "left out, since enable_ssl is not true"),
        Ok(None) if tls => {
            s.mistake("tls_pem", "is missing, and enable_ssl is true");
        }
        _ => {}
    }
    tls
}

fn base_url(s: &mut Section<'_>, to: &mut Document, tls: bool) {
    match s.optional("base_url", str::parse::<BaseUrl>) {
        Ok(Some(url)) => to.set(&["base_url"], url.as_str()),
        Ok(None) => {
            let scheme = if tls { "https" } else { "http" };
            to.remark(
                "base_url",
                &format!("is not set; credentials and documentation contain {scheme}://localhost"),
            );
        }
        Err(_) => {}
    }
}

fn log(s: &mut Section<'_>, to: &mut Document) {
    let _ = s.section("logging", |s| {
        if let Ok(Some(level)) = s.optional("level", level) {
            to.set(&["log", "level"], level);
        }
        if flag(s, "in_json") == Some(true) {
            to.set(&["log", "format"], "json");
        }
        if is_set(s, "no_color", Form::Flag) {
            to.unsupported("logging.no_color", "logs have colours on terminals only");
        }
        Ok(())
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

fn broker(s: &mut Section<'_>, to: &mut Document, catalog: &str) -> Read<(String, String)> {
    let (service_id, plan_id, user, pass) = s.section("broker", |s| {
        let service_id = s.value("broker_service_id", SERVICE_ID, id::<ServiceId>);
        let plan_id = s.value("broker_plan_id", PLAN_ID, id::<PlanId>);
        let (user, pass) = (raw(s, "user"), raw(s, "pass"));
        if let Ok(Some(user)) = &user
            && let Err(problem) = values::username(user)
        {
            s.mistake("user", problem);
        }
        Ok((service_id, plan_id, user, pass))
    })?;
    let password = pass.as_ref().map(|given| given.as_deref().unwrap_or(DEFAULT_PASSWORD));
    if password.is_ok_and(|it| it.chars().count() < values::MIN_PASSWORD_LENGTH) {
        to.remark("broker.pass", SHORT_PASSWORD);
    }
    let mut credential = |key: &str, old: &str, default: &str, given: Read<Option<String>>| {
        let Ok(given) = given else { return };
        if given.is_none() {
            to.remark(old, DEFAULT_CREDENTIAL);
        }
        to.set(&["broker", key], given.unwrap_or_else(|| default.to_owned()));
    };
    credential("username", "broker.user", "user", user);
    credential("password", "broker.pass", DEFAULT_PASSWORD, pass);
    to.set(&["broker", "catalog"], catalog);
    to.set(&["broker", "adopt_unknown_instances"], true);
    to.remark("broker.adopt_unknown_instances", ADOPT);
    Ok((service_id?, plan_id?))
}

fn route_times(s: &mut Section<'_>, to: &mut Document) {
    if let Ok(Some(stale_after)) = s.optional("droplet_stale_threshold", go_values::duration) {
        let text = |duration| humantime::format_duration(duration).to_string().replace(' ', "");
        to.set(&["routes", "stale_after"], text(stale_after));
        // Scrapebroker requires this key in addition.
        if stale_after > Duration::from_secs(60 * 60) {
            to.set(&["routes", "keep"], text(stale_after));
        }
        if stale_after <= Duration::from_secs(15) {
            to.set(&["routes", "refresh_interval"], text(stale_after / 3));
        }
        to.remark(
            "droplet_stale_threshold",
            "promfetcher never dropped stale endpoints; Scrapebroker does",
        );
    }
}

fn backends(s: &mut Section<'_>, to: &mut Document) {
    let _ = s.section("backends", |s| {
        let (cert, key) = (pem(s, "cert_chain"), pem(s, "private_key"));
        if let Ok(Some((cert, key))) = both_or_none(s, ("cert_chain", cert), ("private_key", key)) {
            to.set(&["backends", "cert"], cert);
            to.set(&["backends", "key"], key);
        }
        if is_set(s, "max_conns", Form::Number) {
            to.unsupported("backends.max_conns", MAX_CONNS);
        }
        Ok(())
    });
    if let Ok(Some(ca)) = pem(s, "ca_certs") {
        to.set(&["backends", "ca"], ca);
    }
    if flag(s, "skip_ssl_validation") == Some(true) {
        to.set(&["backends", "skip_verify"], true);
        to.remark("skip_ssl_validation", SKIP_VERIFY);
    }
    match s.optional("idle_conn_timeout", number(0..=u32::MAX)).ok().flatten() {
        Some(0) => to.unsupported("idle_conn_timeout", IDLE_FOREVER),
        Some(seconds) => to.set(&["backends", "idle_timeout"], format!("{seconds}s")),
        None => {}
    }
}

/// Returns Scrapebroker's catalog with promfetcher's ids and name, so that the platform keeps its
/// service instances.
fn catalog_with(s: &mut Section<'_>, service_id: &str, plan_id: &str) -> Read<String> {
    let mut catalog: Value = serde_json::from_str(BUILT_IN).unwrap_or_default();
    let service = &mut catalog["services"][0];
    service["id"] = json!(service_id);
    service["name"] = json!(SERVICE_NAME);
    service["plans"][0]["id"] = json!(plan_id);
    service["plans"][0]["name"] = json!(PLAN_NAME);
    if let Err(mistakes) = Catalog::parse(&catalog, "") {
        for mistake in mistakes {
            s.mistake("broker", format!("makes no catalog: {mistake}"));
        }
        return Err(Recorded);
    }
    serde_json::to_string_pretty(&catalog).map_err(|error| s.mistake("broker", error.to_string()))
}
