//! Keys of `query`.

mod kubernetes;
mod marathon;
mod provisioned;

pub(super) use marathon::marathon_hosts;

use super::{
    keys::client,
    section::{Read, Recorded, Section},
    values::{self, number},
};
use crate::{
    domain::BaseUrl,
    query::{Affinity, Hedge, LocatorSettings, PoolCredentials, PoolSettings, TryLimits, Writes},
    tls::ClientSettings,
};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

const MIN_SELECTION_INTERVAL: Duration = Duration::from_millis(100);

/// `query`
#[derive(Clone, Debug)]
pub struct Query {
    /// Listener that serves the default pool at its root.
    pub listen: Option<SocketAddr>,
    /// Name of the pool at `listen`. Always set with it.
    pub default_pool: Option<String>,
    /// Whether `listen` requires the credentials of an operator.
    pub operators_only: bool,
    pub pools: Vec<PoolSettings>,
}

pub(super) fn query(s: &mut Section<'_>) -> Read<Query> {
    let listen = s.optional("listen", values::address);
    let default_pool = s.optional("default_pool", values::name);
    let ways = [("open", false), ("operators", true)];
    let operators_only = s.value("access", "open", values::choice(&ways));
    let pools = s.list("pools", pool);
    let (listen, mut default_pool, pools) = (listen?, default_pool?, pools?);
    let mut names = BTreeSet::new();
    for (index, pool) in pools.iter().enumerate() {
        if !names.insert(&*pool.name) {
            let key = format!("pools[{index}].name");
            s.mistake(&key, format!("is used twice: {}", pool.name));
        }
    }
    match (&default_pool, &*pools) {
        (Some(name), _) if !names.contains(&**name) => {
            s.mistake("default_pool", "is not the name of a pool");
        }
        (None, [only]) => {
            s.show("default_pool", &*only.name);
            default_pool = Some(only.name.clone());
        }
        (None, _) if listen.is_some() => {
            s.mistake("default_pool", "is missing: listen serves one of the pools");
        }
        _ => {}
    }
    Ok(Query { listen, default_pool, operators_only: operators_only?, pools })
}

fn pool(s: &mut Section<'_>) -> Read<PoolSettings> {
    let name = s.required("name", pool_name);
    let strategy = s.value("strategy", "single-most-data", str::parse);
    let selection_interval = s.value("selection_interval", "10s", selection_interval);
    let affinity = affinity(s);
    let trusted_proxies = s.texts("trusted_proxies", values::network);
    let timeout = s.value("timeout", "120s", values::period);
    let try_timeout = s.value("try_timeout", "60s", values::period);
    let hedge = s.value("hedge", "auto", hedge);
    let max_concurrent = s.value("max_concurrent", "200", number(1..=100_000));
    let fill_gaps = s.value("gaps", "fill", gaps);
    let writes = [("deny", Writes::Deny), ("allow", Writes::Allow)];
    let writes = s.value("writes", "deny", values::choice(&writes));
    let tls = s.section("tls", |s| {
        let client = client(s);
        let skip_verify = s.value("skip_verify", "false", values::flag);
        Ok(ClientSettings { skip_verify: skip_verify?, ..client? })
    });
    let credentials = credentials(s);
    let locators = s.list("locators", locator);
    if let (Ok(timeout), Ok(try_timeout)) = (timeout, try_timeout)
        && try_timeout > timeout
    {
        s.mistake("try_timeout", "must be at most timeout");
    }
    if let Ok(locators) = &locators
        && locators.is_empty()
    {
        s.mistake("locators", "is missing: it says how the replicas are found");
    }
    Ok(PoolSettings {
        name: name?,
        strategy: strategy?,
        selection_interval: selection_interval?,
        affinity: affinity?,
        trusted_proxies: trusted_proxies?,
        timeout: timeout?,
        limits: TryLimits { try_timeout: Some(try_timeout?), hedge: hedge? },
        max_concurrent: max_concurrent?,
        writes: writes?,
        fill_gaps: fill_gaps?,
        tls: tls?,
        credentials: credentials?,
        locators: locators?,
    })
}

fn selection_interval(text: &str) -> Result<Duration, String> {
    match values::period(text)? {
        interval if interval >= MIN_SELECTION_INTERVAL => Ok(interval),
        _ => Err("must be at least 100ms, because each selection probes all replicas".to_owned()),
    }
}

/// Names are part of URLs, cookies and labels.
fn pool_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match text.len() <= 63 && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("must have at most 63 characters of a-z, 0-9 and -".to_owned()),
    }
}

fn affinity(s: &mut Section<'_>) -> Read<Affinity> {
    let kinds = [
        ("cookies", Affinity { cookies: true, source_ip: false }),
        ("source-ip", Affinity { cookies: false, source_ip: true }),
    ];
    let kinds = s.texts_or("affinity", &["cookies"], values::choice(&kinds))?;
    Ok(Affinity {
        cookies: kinds.iter().any(|it| it.cookies),
        source_ip: kinds.iter().any(|it| it.source_ip),
    })
}

fn hedge(text: &str) -> Result<Hedge, String> {
    match text {
        "auto" => Ok(Hedge::Auto),
        // YAML reads `off` as false.
        "off" | "false" => Ok(Hedge::Off),
        _ => values::period(text)
            .map(Hedge::After)
            .map_err(|problem| format!("{problem}; or use auto or off")),
    }
}

/// Whether gaps are filled.
fn gaps(text: &str) -> Result<bool, String> {
    match text {
        "fill" => Ok(true),
        // YAML reads `off` as false.
        "off" | "false" => Ok(false),
        _ => Err("is not one of: fill, off".to_owned()),
    }
}

fn credentials(s: &mut Section<'_>) -> Read<Option<PoolCredentials>> {
    let basic = s.section("basic_auth", |s| {
        let username = s.text_or_file("username", values::username);
        let password = s.secret("password");
        s.basic_auth(username, password)
    });
    let token = s.secret_of("bearer_token", values::bearer_token);
    match (basic?, token?) {
        (Some(_), Some(_)) => Err(s.mistake("bearer_token", "is set, and basic_auth is too")),
        (Some(basic), None) => Ok(Some(PoolCredentials::Basic(basic))),
        (None, Some(token)) => Ok(Some(PoolCredentials::Bearer(token))),
        (None, None) => Ok(None),
    }
}

/// Each item of the list is one locator of one kind.
fn locator(s: &mut Section<'_>) -> Read<LocatorSettings> {
    let urls = s.texts("static", str::parse::<BaseUrl>);
    let urls = urls.map(|urls| (!urls.is_empty()).then_some(LocatorSettings::Static(urls)));
    let file = s.optional("endpoints_file", values::path);
    let file = file.map(|path| path.map(LocatorSettings::EndpointsFile));
    let marathon = s.optional_section("marathon", marathon::marathon);
    let marathon = marathon.map(|it| it.map(|it| LocatorSettings::Marathon(Box::new(it))));
    let kubernetes = s.optional_section("kubernetes", kubernetes::kubernetes);
    let kubernetes = kubernetes.map(|it| it.map(|it| LocatorSettings::Kubernetes(Box::new(it))));
    let found = [urls, file, marathon, kubernetes, provisioned::provisioned(s)];
    let mut found: Vec<_> = found.into_iter().collect::<Result<Vec<_>, Recorded>>()?;
    found.retain(Option::is_some);
    match (found.pop().flatten(), found.is_empty()) {
        (Some(locator), true) => Ok(locator),
        (None, _) => Err(s.mistake("static", "or another kind of locator is missing")),
        (Some(_), false) => {
            Err(s.mistake("static", "and others are set: write each locator as an item of its own"))
        }
    }
}
