//! Converts promfetcher's route sources: routers (v0.20.0) or NATS (since v1).

use super::fields::{both_or_none, flag, pem, raw, text};
use crate::config::{
    document::Document,
    section::{Read, Section},
    values::{self, number},
};
use yaml_rust2::{Yaml, yaml::Hash};

/// Converts both sources, because Scrapebroker can combine them.
pub(super) fn convert(s: &mut Section<'_>, to: &mut Document) {
    let gorouters = s.list("gorouters", |s| Ok(gorouter(s))).unwrap_or_default();
    let gorouters: Vec<Yaml> = gorouters.into_iter().flatten().collect();
    let polls = !gorouters.is_empty();
    if polls {
        to.set_yaml(&["routes", "gorouters"], Yaml::Array(gorouters));
        to.remark(
            "gorouters",
            "list all routers; each is polled separately, so an unavailable router does \
                 not affect the others",
        );
    }
    let listens = s.section("nats", |s| Ok(nats(s, to))).unwrap_or(false);
    if !polls && !listens {
        to.set_yaml(
            &["routes", "nats", "servers"],
            servers(vec!["nats://localhost:4222".to_owned()]),
        );
        to.remark("nats", "is not set, nor are gorouters: this is promfetcher's default");
    }
    if polls && listens {
        to.remark("nats", "promfetcher uses either nats or gorouters; Scrapebroker combines both");
    }
}

fn gorouter(s: &mut Section<'_>) -> Read<Yaml> {
    let host = s.required("host", self::host);
    let port = s.required("port", number(1..=u16::MAX));
    let (user, pass) = (raw(s, "user"), raw(s, "pass"));
    let credentials = both_or_none(s, ("user", user), ("pass", pass));
    let url = format!("http://{}:{}/routes", host?, port?);
    if let Err(problem) = values::routes_url(&url) {
        return Err(s.mistake("host", problem));
    }
    let mut router = Hash::new();
    let mut set =
        |key: &str, text: String| router.insert(Yaml::String(key.to_owned()), Yaml::String(text));
    set("url", url);
    if let Some((user, pass)) = credentials? {
        set("username", user);
        set("password", pass);
    }
    Ok(Yaml::Hash(router))
}

/// Returns whether NATS is configured.
fn nats(s: &mut Section<'_>, to: &mut Document) -> bool {
    let hosts = s.list("hosts", |s| {
        let (host, port) =
            (s.required("hostname", self::host), s.required("port", number(1..=u16::MAX)));
        Ok(host.ok().zip(port.ok()))
    });
    let (user, pass) = (raw(s, "user"), raw(s, "pass"));
    let credentials = both_or_none(s, ("user", user), ("pass", pass)).ok().flatten();
    let tls = flag(s, "tls_enabled").unwrap_or(false);
    let ca = pem(s, "ca_certs");
    let (cert, key) = (pem(s, "cert_chain"), pem(s, "private_key"));
    let identity = both_or_none(s, ("cert_chain", cert), ("private_key", key)).ok().flatten();
    let ca = ca.ok().flatten();
    let is_set =
        hosts.as_ref().is_ok_and(|hosts| !hosts.is_empty()) || credentials.is_some() || tls;

    let scheme = if tls { "tls" } else { "nats" };
    let hosts: Vec<_> = hosts.unwrap_or_default().into_iter().flatten().collect();
    let urls = match hosts.is_empty() {
        true => vec![format!("{scheme}://localhost:4222")],
        false => hosts.iter().map(|(host, port)| format!("{scheme}://{host}:{port}")).collect(),
    };
    if is_set {
        to.set_yaml(&["routes", "nats", "servers"], servers(urls));
    }
    if let Some((user, pass)) = credentials {
        to.set(&["routes", "nats", "username"], user);
        to.set(&["routes", "nats", "password"], pass);
    }
    if tls {
        if let Some(ca) = ca {
            to.set(&["routes", "nats", "tls", "ca"], ca);
        }
        if let Some((cert, key)) = identity {
            to.set(&["routes", "nats", "tls", "cert"], cert);
            to.set(&["routes", "nats", "tls", "key"], key);
        }
    } else if ca.is_some() || identity.is_some() {
        to.remark(
            "nats.ca_certs, cert_chain, private_key",
            "left out, since tls_enabled is not true",
        );
    }
    is_set
}

fn servers(urls: Vec<String>) -> Yaml {
    Yaml::Array(urls.into_iter().map(Yaml::String).collect())
}

/// Formats a host for a URL.
fn host(host: &str) -> Result<String, String> {
    let host = text(host)?;
    match host.contains(':') && !host.starts_with('[') {
        true => Ok(format!("[{host}]")),
        false => Ok(host),
    }
}
