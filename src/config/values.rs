//! Parses single values of settings.
//!
//! Error texts follow the key and a colon. They quote the value only if it cannot be a secret:
//! never for URLs, which may contain passwords.

use crate::domain::{BaseUrl, MASK, http_url};
use ipnet::IpNet;
use secrecy::SecretString;
use std::{
    fmt::Display,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};
use url::Url;

/// Longer durations are typing mistakes and overflow clocks.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// 1 PiB. Larger sizes are typing mistakes.
const MAX_SIZE: u64 = 1 << 50;

/// Quotes a value for a one-line error text.
fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Parses `0.0.0.0:8085`, `[::]:8085` or `:8085` for all IPv4 and IPv6 addresses, or a name that is
/// resolved now, as in `localhost:8085`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    if let Ok(address) = full.parse() {
        return Ok(address);
    }
    let wrong = || {
        format!(
            "{} is not an IP address or name and a port; write 0.0.0.0:8085 or :8085",
            quoted(text)
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    // A text without letters is a mistyped address. The resolver accepts some of them.
    let is_name = host.bytes().any(|b| b.is_ascii_alphabetic())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !is_name {
        return Err(wrong());
    }
    let resolved = (host, port).to_socket_addrs();
    let addresses: Vec<_> = resolved
        .map_err(|error| format!("{} cannot be resolved: {error}", quoted(host)))?
        .collect();
    // Go programs prefer IPv4, too.
    let preferred = addresses.iter().find(|it| it.is_ipv4()).or(addresses.first());
    preferred.copied().ok_or_else(|| format!("{} has no address", quoted(host)))
}

/// Parses `500ms`, `30s` or `1h30m`. Accepts `0s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|_| {
        format!("{} is not a duration; write it like 30s, 500ms or 1h30m", quoted(text))
    })?;
    match duration <= MAX_DURATION {
        true => Ok(duration),
        false => Err(format!("{} is longer than a year", quoted(text))),
    }
}

pub(super) fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        period => Ok(period),
    }
}

/// Parses bytes: `64MiB`, `1.5GB` or a number. Rejects zero.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text
        .parse()
        .map_err(|_| format!("{} is not a size; write it like 64MiB or 4GiB", quoted(text)))?;
    match size.as_u64() {
        0 => Err("must be more than 0".to_owned()),
        bytes if bytes > MAX_SIZE => Err(format!("{} is more than 1PiB", quoted(text))),
        bytes => Ok(bytes),
    }
}

/// Parses a [`size`] that fits into the address space.
pub(super) fn memory_size(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?).map_err(|_| format!("{} is more than memory", quoted(text)))
}

pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + Display,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "{} is not a whole number from {} to {}",
            quoted(text),
            range.start(),
            range.end()
        )),
    }
}

pub(super) fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{} is neither true nor false", quoted(text)))
}

pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("{} is not one of: {}", quoted(text), words.join(", "))
        })
    }
}

/// Parses a network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(address)
        .ok_or_else(|| "is not an IP address or network, as in 10.0.0.0/8".to_owned())
}

/// Parses a path without accessing the file.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match text.contains('\0') {
        true => Err("contains a NUL character".to_owned()),
        false => Ok(PathBuf::from(text)),
    }
}

/// A user name for basic auth (RFC 7617, section 2).
pub(super) fn username(text: &str) -> Result<String, String> {
    if text.contains(':') {
        return Err("must not contain a colon".to_owned());
    }
    control_free(text)
}

/// Rejects control characters.
pub(super) fn control_free(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("contains a control character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

pub(super) fn bearer_token(text: &str) -> Result<SecretString, String> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.into()),
        false => Err("must be one word of ASCII characters".to_owned()),
    }
}

pub(super) fn name(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("contains a control character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Minimum length of `broker.password`, which grants full access and can be guessed online.
pub(super) const MIN_PASSWORD_LENGTH: usize = 12;

pub(super) fn broker_password(text: &str) -> Result<SecretString, String> {
    match text.chars().count() >= MIN_PASSWORD_LENGTH {
        true => Ok(text.into()),
        false => Err(format!(
            "must have at least {MIN_PASSWORD_LENGTH} characters; make one with `openssl rand -hex 24`, and give the platform the same"
        )),
    }
}

/// Accepted costs. A cost of 14 takes about a second.
const BCRYPT_COSTS: RangeInclusive<u32> = 4..=14;

/// Parses a hash of `htpasswd -B`. Errors never quote it.
pub(super) fn bcrypt_hash(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    let parts: bcrypt::HashParts = text.parse().map_err(|_| {
        "is not a bcrypt hash; make one with `htpasswd -nBC 10 USER`, and use the part after the colon"
    })?;
    match BCRYPT_COSTS.contains(&parts.get_cost()) {
        true => Ok(text.into()),
        false => Err(format!(
            "has a cost that is not from {} to {}; with a higher cost, checking a password takes seconds",
            BCRYPT_COSTS.start(),
            BCRYPT_COSTS.end()
        )),
    }
}

/// Parses comma-separated directives `level` or `target=level`.
///
/// `tracing-subscriber` also accepts a bare target. This parser rejects it, because it is more
/// likely a misspelt level.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let is_level = |level: &str| {
        ["off", "error", "warn", "info", "debug", "trace"].contains(&level.to_lowercase().as_str())
    };
    let is_target = |target: &str| {
        !target.is_empty()
            && target.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b))
    };
    let is_directive = |directive: &str| match directive.split_once('=') {
        None => is_level(directive),
        Some((target, level)) => is_target(target) && is_level(level),
    };
    match text.split(',').all(|directive| is_directive(directive.trim())) {
        true => Ok(text.replace(char::is_whitespace, "")),
        false => Err(format!(
            "{} is not a filter; write off, error, warn, info, debug or trace, for one part of the program as in info,scrapebroker=debug",
            quoted(text)
        )),
    }
}

/// First segments of Scrapebroker's paths.
const OWN_PATHS: [&str; 18] = [
    "-",
    "apps",
    "broker",
    "doc",
    "events",
    "health",
    "healthz",
    "metrics",
    "pools",
    "prometheus",
    "routes",
    "scrapebroker.js",
    "scrapebroker.svg",
    "sd",
    "style.css",
    "tsuru",
    "v1",
    "v2",
];

/// Parses the [`BaseUrl`] of Scrapebroker. Its path must not begin like one of Scrapebroker's
/// paths: otherwise the server could not tell whether a proxy has removed it from a request.
pub(super) fn own_base_url(text: &str) -> Result<BaseUrl, String> {
    let base_url: BaseUrl = text.parse()?;
    let first = first_segment(base_url.path());
    match OWN_PATHS.contains(&first) {
        true => Err(format!("must have another path: /{first} is a path of Scrapebroker itself")),
        false => Ok(base_url),
    }
}

/// The text between the first two slashes.
pub(super) fn first_segment(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// Parses the path of the own metrics. It must not begin like another path of Scrapebroker.
pub(super) fn telemetry_path(text: &str) -> Result<String, String> {
    let Some(segments) = text.strip_prefix('/') else {
        return Err("must begin with a slash".to_owned());
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment =
        |it: &str| !it.is_empty() && !matches!(it, "." | "..") && it.bytes().all(is_plain);
    if text.len() > 256 || !segments.split('/').all(is_segment) {
        return Err(
            "is not a path; write letters, digits and -._~ between single slashes, as in /metrics"
                .to_owned(),
        );
    }
    match first_segment(text) {
        "metrics" => Ok(text.to_owned()),
        first if OWN_PATHS.contains(&first) => {
            Err(format!("must be another path: /{first} is a path of Scrapebroker itself"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Parses the path of a server: it begins with a slash. A slash at its end is removed.
pub(super) fn path_prefix(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must begin with a slash".to_owned());
    }
    let url: BaseUrl = format!("http://replica{text}").parse()?;
    Ok(url.path().to_owned())
}

/// Parses the URL of a router's table. gorouter serves it without TLS on its loopback address.
pub(super) fn routes_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    match url.scheme() {
        "http" => Ok(url.into()),
        _ => Err("must begin with http://".to_owned()),
    }
}

/// Parses a NATS server: `host` or `host:port`, with an optional `nats://` or `tls://`.
pub(super) fn nats_server(text: &str) -> Result<String, String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
    let url = Url::parse(&full).map_err(|error| format!("is not a URL: {error}"))?;
    if !["nats", "tls"].contains(&url.scheme()) {
        return Err("must begin with nats:// or tls://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".to_owned());
    }
    match (url.path(), url.query(), url.fragment()) {
        ("" | "/", None, None) => Ok(full),
        _ => Err("must be a host and a port only".to_owned()),
    }
}

/// Masks the values in the query of a URL or path, which may contain keys.
pub(super) fn without_query_values(text: &str) -> String {
    let is_url = ["http://", "https://", "/"].iter().any(|start| text.starts_with(start));
    let (Some((start, query)), true) = (text.split_once('?'), is_url) else {
        return text.to_owned();
    };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={MASK}"),
        None => pair.to_owned(),
    });
    format!("{start}?{}", masked.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests;
