//! Converts the locators. mpp uses all of them together, like Scrapebroker.

use crate::{
    config::{
        document::Document,
        go_values,
        query::marathon_hosts,
        section::{Read, Section},
        values,
    },
    domain::BaseUrl,
    query::{DcosLogin, DcosSecret, MarathonAppId},
};
use yaml_rust2::{Yaml, yaml::Hash};

const NONE: &str = "is missing, and so are --kube-service-name, --kube-pod-label-selector and \
                    --marathon-url; set at least one of them";
const NOT_READ: &str = "is in mpp's README, but mpp does not read it; it is converted like ";
const SERVICE_FIRST: &str = "--kube-service-name takes precedence over it";
const NO_KUBERNETES: &str =
    "has no effect without --kube-service-name or --kube-pod-label-selector";
const NO_MARATHON: &str = "has no effect without --marathon-url";
const NO_SECRET: &str = "has no effect without --marathon-principal-secret";
const SELECTOR: &str = "mpp ignores all terms except key=value; Scrapebroker uses all of them";
const PODS: &str = "mpp uses all pods; Scrapebroker uses ready pods only";
const SKIP_VERIFY: &str = "skip_verify accepts any certificate of the login endpoint, and of \
                           Marathon too. ca_file with the CA of DC/OS is safer";

/// The list of locators. If there is none, that is a mistake.
pub(super) fn convert(s: &mut Section<'_>, to: &mut Document) -> Vec<Yaml> {
    let file = s.optional("--endpoints-file", values::control_free);
    let kubernetes = kubernetes(s, to);
    let marathon = marathon(s, to);
    if let (Ok(None), Ok(None), Ok(None)) = (&file, &kubernetes, &marathon) {
        s.mistake("--endpoints-file", NONE);
    }
    let file = file.ok().flatten().map(Yaml::String);
    let found = [
        ("endpoints_file", file),
        ("kubernetes", kubernetes.ok().flatten()),
        ("marathon", marathon.ok().flatten()),
    ];
    let locator = |(kind, settings): (&str, Option<Yaml>)| Some(one_key(kind, settings?));
    found.into_iter().filter_map(locator).collect()
}

fn kubernetes(s: &mut Section<'_>, to: &mut Document) -> Read<Option<Yaml>> {
    let kubeconfig = s.optional("--kubeconfig", values::control_free);
    let service = with_alias(s, to, "--kube-service-name", "--service-name", values::control_free);
    let selector = s.optional("--kube-pod-label-selector", values::control_free);
    let namespace = s.optional("--kube-namespace", values::control_free);
    let port = s.optional("--kube-port", port);
    let (kubeconfig, service, selector) = (kubeconfig?, service?, selector?);
    let (namespace, port) = (namespace?, port?);
    if service.is_none() && selector.is_none() {
        let flags = [
            ("--kubeconfig", kubeconfig.is_some()),
            ("--kube-namespace", namespace.is_some()),
            ("--kube-port", port.is_some()),
        ];
        unsupported(to, &flags, NO_KUBERNETES);
        return Ok(None);
    }
    let selector = match service {
        Some(_) => {
            unsupported(to, &[("--kube-pod-label-selector", selector.is_some())], SERVICE_FIRST);
            None
        }
        None => selector,
    };
    if let Some(selector) = &selector {
        to.remark("--kube-pod-label-selector", PODS);
        if !selector.split(',').all(is_equality) {
            to.remark("--kube-pod-label-selector", SELECTOR);
        }
    }
    Ok(Some(keys([
        ("namespace", Some(namespace.unwrap_or_else(|| "default".to_owned()))),
        ("service", service),
        ("pod_selector", selector),
        ("port", port),
        ("kubeconfig", kubeconfig),
    ])))
}

/// Whether mpp uses this term of a selector.
fn is_equality(term: &str) -> bool {
    term.split_once('=').is_some_and(|(key, value)| !key.contains('!') && !value.contains('='))
}

/// The number or the name of a port.
fn port(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        values::number(1..=u16::MAX)(text)?;
    }
    values::control_free(text)
}

fn marathon(s: &mut Section<'_>, to: &mut Document) -> Read<Option<Yaml>> {
    let urls = marathon_hosts(s, "--marathon-url");
    let apps = s.separated("--marathon-apps", str::parse::<MarathonAppId>);
    let secret = s.optional("--marathon-principal-secret", |json| {
        json.parse::<DcosSecret>().map(|secret| (json.to_owned(), secret))
    });
    let endpoint = s.optional("--marathon-auth-endpoint", str::parse::<BaseUrl>);
    let insecure = with_alias(s, to, "--insecure-certs", "--insecure", go_values::flag);
    let (urls, apps, secret, endpoint) = (urls?, apps?, secret?, endpoint?);
    let is_insecure = insecure? == Some(true);
    if urls.is_empty() {
        let flags = [
            ("--marathon-apps", !apps.is_empty()),
            ("--marathon-principal-secret", secret.is_some()),
            ("--marathon-auth-endpoint", endpoint.is_some()),
            ("--insecure-certs", is_insecure),
        ];
        unsupported(to, &flags, NO_MARATHON);
        return Ok(None);
    }
    if apps.is_empty() {
        return Err(s.mistake("--marathon-apps", "is missing, and --marathon-url is set"));
    }
    let mut settings = Hash::new();
    let mut set = |key: &str, value: Yaml| settings.insert(Yaml::String(key.to_owned()), value);
    set("url", texts(urls.iter().map(BaseUrl::to_string)));
    set("apps", texts(apps.iter().map(MarathonAppId::to_string)));
    match secret {
        None => {
            let flags = [
                ("--marathon-auth-endpoint", endpoint.is_some()),
                ("--insecure-certs", is_insecure),
            ];
            unsupported(to, &flags, NO_SECRET);
        }
        Some((json, secret)) => {
            if DcosLogin::new(secret, endpoint.clone()).is_none() {
                return Err(s.mistake(
                    "--marathon-auth-endpoint",
                    "is missing, and --marathon-principal-secret has no login_endpoint",
                ));
            }
            set("principal_secret", Yaml::String(json));
            if let Some(endpoint) = endpoint {
                set("auth_endpoint", Yaml::String(endpoint.to_string()));
            }
            if is_insecure {
                set("skip_verify", Yaml::Boolean(true));
                to.remark("--insecure-certs", SKIP_VERIFY);
            }
        }
    }
    Ok(Some(Yaml::Hash(settings)))
}

/// Reads a flag that mpp's README calls `alias`.
fn with_alias<T>(
    s: &mut Section<'_>,
    to: &mut Document,
    flag: &str,
    alias: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Read<Option<T>> {
    let value = s.optional(flag, &parse);
    let of_alias = s.optional(alias, &parse);
    match (value?, of_alias?) {
        (None, Some(value)) => {
            to.remark(alias, &format!("{NOT_READ}{flag}"));
            Ok(Some(value))
        }
        (value, _) => Ok(value),
    }
}

/// Comments on each of these flags that is set.
fn unsupported(to: &mut Document, flags: &[(&str, bool)], why: &str) {
    for (flag, _) in flags.iter().filter(|(_, is_set)| *is_set) {
        to.unsupported(flag, why);
    }
}

fn keys<const N: usize>(keys: [(&str, Option<String>); N]) -> Yaml {
    let set = keys.into_iter().filter_map(|(key, value)| Some((key, value?)));
    Yaml::Hash(
        set.map(|(key, value)| (Yaml::String(key.to_owned()), Yaml::String(value))).collect(),
    )
}

fn one_key(key: &str, value: Yaml) -> Yaml {
    Yaml::Hash(Hash::from_iter([(Yaml::String(key.to_owned()), value)]))
}

fn texts(texts: impl Iterator<Item = String>) -> Yaml {
    Yaml::Array(texts.map(Yaml::String).collect())
}
