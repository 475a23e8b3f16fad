//! Settings as people write them, one text at a time.
//!
//! An error reads after the key and a colon. It shows the text only where that
//! can be no secret: never for URLs, which carry passwords now and then.

use secrecy::SecretString;
use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};
use url::Url;

/// Longer waits are typing mistakes, and clocks overflow on them.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// 1 PiB; larger bodies are typing mistakes.
const LARGEST: u64 = 1 << 50;

/// A text from a configuration, fit for one line of an error.
fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// `0.0.0.0:8085`, `[::]:8085`, or `:8085` for all IPv4 addresses.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| {
        format!("{} is not an IP address and a port; write 0.0.0.0:8085 or :8085", quoted(text))
    })
}

/// `500ms`, `30s`, `1h30m`; `0s` is fine.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|_| {
        format!("{} is not a duration; write it like 30s, 500ms or 1h30m", quoted(text))
    })?;
    match duration <= LONGEST {
        true => Ok(duration),
        false => Err(format!("{} is longer than a year", quoted(text))),
    }
}

/// A duration that is not zero.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        period => Ok(period),
    }
}

/// Bytes: `64MiB`, `1.5GB`, or a bare number; not zero.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let size: bytesize::ByteSize = text
        .parse()
        .map_err(|_| format!("{} is not a size; write it like 64MiB or 4GiB", quoted(text)))?;
    match size.as_u64() {
        0 => Err("must be more than nothing".to_owned()),
        bytes if bytes > LARGEST => Err(format!("{} is more than 1PiB", quoted(text))),
        bytes => Ok(bytes),
    }
}

/// A [`size`] that memory can be asked for.
pub(super) fn memory_size(text: &str) -> Result<usize, String> {
    usize::try_from(size(text)?).map_err(|_| format!("{} is more than memory", quoted(text)))
}

/// A whole number out of `range`.
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

/// `true` or `false`.
pub(super) fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{} is neither true nor false", quoted(text)))
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("{} is not one of: {}", quoted(text), words.join(", "))
        })
    }
}

/// A file's path; what lies there is not looked at.
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

/// A text of one line.
pub(super) fn control_free(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("contains a control character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A token that is sent in a header.
pub(super) fn bearer_token(text: &str) -> Result<SecretString, String> {
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.into()),
        false => Err("must be one word of ASCII characters".to_owned()),
    }
}

/// A name that people read.
pub(super) fn name(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("contains a control character".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Characters of `broker.password` at least. It opens everything, and clients may guess at it.
pub(super) const SHORTEST_PASSWORD: usize = 12;

/// A password that cannot be found by guessing.
pub(super) fn broker_password(text: &str) -> Result<SecretString, String> {
    match text.chars().count() >= SHORTEST_PASSWORD {
        true => Ok(text.into()),
        false => Err(format!(
            "must have at least {SHORTEST_PASSWORD} characters; make one with `openssl rand -hex 24`, and give the platform the same"
        )),
    }
}

/// What bcrypt can do, up to about a second.
const BCRYPT_COSTS: RangeInclusive<u32> = 4..=14;

/// A password as `htpasswd -B` writes it; never shown, not even when it is wrong.
pub(super) fn bcrypt_hash(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    let parts: bcrypt::HashParts = text.parse().map_err(|_| {
        "is not a bcrypt hash; make one with `htpasswd -nBC 10 USER`, and take what follows the colon"
    })?;
    match BCRYPT_COSTS.contains(&parts.get_cost()) {
        true => Ok(text.into()),
        false => Err(format!(
            "has a cost that is not from {} to {}; over that, to check a password takes seconds",
            BCRYPT_COSTS.start(),
            BCRYPT_COSTS.end()
        )),
    }
}

/// Directives `level` or `target=level`, with commas between them.
///
/// The subscriber takes more, such as a bare target; here that would rather be
/// a misspelt level.
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

/// Where something is over HTTP, without credentials.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".to_owned());
    }
    match url.fragment() {
        Some(_) => Err("must not contain a #".to_owned()),
        None => Ok(url),
    }
}

/// Where users reach us, without a slash at its end.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    match url.query() {
        Some(_) => Err("must not contain a query".to_owned()),
        None => Ok(url.as_str().trim_end_matches('/').to_owned()),
    }
}

/// The first parts of our own paths.
const OWN_PATHS: [&str; 14] = [
    "-",
    "apps",
    "broker",
    "doc",
    "events",
    "metrics",
    "pools",
    "prometheus",
    "routes",
    "sd",
    "style.css",
    "tsuru",
    "v1",
    "v2",
];

/// A [`base_url`] of ours. Its path must not look like one of our own paths: whether a proxy has
/// stripped it could not be told.
pub(super) fn own_base_url(text: &str) -> Result<String, String> {
    let base_url = base_url(text)?;
    let url = Url::parse(&base_url).map_err(|error| format!("is not a URL: {error}"))?;
    let first = url.path_segments().and_then(|mut parts| parts.next()).unwrap_or_default();
    match OWN_PATHS.contains(&first) {
        true => Err(format!("must have another path: /{first} is a path of Scrapebroker itself")),
        false => Ok(base_url),
    }
}

/// A router's table. gorouter serves it without TLS, on its loopback address.
pub(super) fn routes_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    match url.scheme() {
        "http" => Ok(url.into()),
        _ => Err("must begin with http://".to_owned()),
    }
}

/// A server of a NATS bus: `host`, `host:port`, or `nats://` or `tls://` before it.
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

/// Whether a checked `database_url` is PostgreSQL's.
pub(super) fn is_postgres(database_url: &str) -> bool {
    database_url.starts_with("postgres://") || database_url.starts_with("postgresql://")
}

/// `sqlite://…` or `postgres://…`.
pub(super) fn database_url(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    if is_postgres(text) {
        let url = Url::parse(text).map_err(|error| {
            format!("is not a URL: {error}; special characters of a password are percent-encoded")
        })?;
        let has_host = url.host_str().is_some_and(|host| !host.is_empty());
        // A socket's directory stands in the query.
        if !has_host && !url.query_pairs().any(|(name, _)| name == "host") {
            return Err("names no host".to_owned());
        }
        return Ok(text.into());
    }
    match text.strip_prefix("sqlite:") {
        Some("" | "//") => Err("names no file; write sqlite://scrapebroker.db".to_owned()),
        Some(_) => Ok(text.into()),
        None => Err("must begin with sqlite:// or postgres://".to_owned()),
    }
}

/// What stands for a secret where settings are shown.
pub(super) const MASK: &str = "************";

/// A URL, or the path of one, with the values of its query masked: one may be a key.
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

/// A `database_url` without its passwords.
pub(super) fn masked_url(text: &str) -> String {
    let is_secret = |name: &str| name.to_ascii_lowercase().contains("password");
    let text = text.trim();
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Ok(mut url) = Url::parse(text) else { return MASK.to_owned() };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let masked = pairs.iter().map(|(name, value)| match is_secret(name) {
            true => (name.as_str(), MASK),
            false => (name.as_str(), value.as_str()),
        });
        url.query_pairs_mut().clear().extend_pairs(masked);
    }
    url.into()
}

#[cfg(test)]
mod tests;
