//! Every key of promfetcher, and what becomes of it.

use super::{
    document::Document,
    exporters,
    fields::{both_or_none, flag, go_duration, id, pem, raw},
    lost::{self, Form, is_set},
    routes, store,
};
use crate::{
    config::catalog::BUILT_IN,
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

const MAX_CONNS: &str = "a scrape asks an instance once; scrape.concurrency bounds how many \
                         instances it asks at a time";
const DEFAULT_CREDENTIAL: &str = "is not set, so this is promfetcher's default, which everybody \
                                  knows; change it with cf update-service-broker";
const DEFAULT_PASSWORD: &str = "password";
const SHORT_PASSWORD: &str = "is shorter than the 12 characters that broker.password needs: put a \
                              longer one here, and tell the platform by cf update-service-broker";
const ADOPT: &str = "is for the time of the move only; see docs/MIGRATING.md";
const SKIP_VERIFY: &str = "backends.skip_verify takes any certificate for that of an instance";
const IDLE_FOR_EVER: &str = "0 keeps idle connections for ever; ours are closed after \
                             backends.idle_timeout";

/// Reads all keys; gives the catalog unless an id in it is wrong.
pub(super) fn convert(s: &mut Section<'_>, to: &mut Document, catalog: &str) -> Option<String> {
    let tls = listeners(s, to);
    log(s, to);
    store::convert(s, to);
    let ids = broker(s, to, catalog);
    routes::convert(s, to);
    route_times(s, to);
    backends(s, to);
    exporters::convert(s, to);
    lost::convert(s, to);
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
        if is_set(s, "no_color", Form::Flag) {
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
    let password = pass.as_ref().map(|given| given.as_deref().unwrap_or(DEFAULT_PASSWORD));
    if password.is_some_and(|it| it.chars().count() < values::SHORTEST_PASSWORD) {
        to.remark("broker.pass", SHORT_PASSWORD);
    }
    let mut credential = |key: &str, old: &str, default: &str, given: Option<Option<String>>| {
        let Some(given) = given else { return };
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
}

fn backends(s: &mut Section<'_>, to: &mut Document) {
    s.section("backends", |s| {
        let (cert, key) = (pem(s, "cert_chain"), pem(s, "private_key"));
        if let Some(Some((cert, key))) = both_or_none(s, ("cert_chain", cert), ("private_key", key))
        {
            to.set(&["backends", "cert"], cert);
            to.set(&["backends", "key"], key);
        }
        if is_set(s, "max_conns", Form::Number) {
            to.lost("backends.max_conns", MAX_CONNS);
        }
        Some(())
    });
    if let Some(Some(ca)) = pem(s, "ca_certs") {
        to.set(&["backends", "ca"], ca);
    }
    if flag(s, "skip_ssl_validation") == Some(true) {
        to.set(&["backends", "skip_verify"], true);
        to.remark("skip_ssl_validation", SKIP_VERIFY);
    }
    match s.optional("idle_conn_timeout", number(0..=u32::MAX)).flatten() {
        Some(0) => to.lost("idle_conn_timeout", IDLE_FOR_EVER),
        Some(seconds) => to.set(&["backends", "idle_timeout"], format!("{seconds}s")),
        None => {}
    }
}

/// Our catalog with promfetcher's ids and name, so that the platform keeps every instance.
fn catalog_with(s: &mut Section<'_>, service_id: &str, plan_id: &str) -> Option<String> {
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
        return None;
    }
    serde_json::to_string_pretty(&catalog).ok()
}
