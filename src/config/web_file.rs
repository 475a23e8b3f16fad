//! Reads a web configuration file in the format of exporter-toolkit
//! (`docs/web-configuration.md` of <https://github.com/prometheus/exporter-toolkit>).

use super::{
    ConfigError, Mistakes, go_values, keys,
    section::{Read, Section},
    sources,
    values::{self, number},
};
use crate::{
    http::access::{
        Operator,
        gate::{GateRateLimit, GateSettings},
    },
    tls::{ClientAuth, Pem, PemSource, TlsVersion, WebTlsSettings},
};
use ::http::header::{HeaderName, HeaderValue};
use ring::digest::{SHA256, digest};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// The settings of the file.
#[derive(Clone, Debug)]
pub struct WebFile {
    pub path: PathBuf,
    /// Digest of the content, to detect changes.
    pub digest: Vec<u8>,
    /// None: TLS is off.
    pub tls: Option<WebTlsSettings>,
    pub has_http2: bool,
    pub gate: GateSettings,
}

impl WebFile {
    /// Reads and checks the file, but not the certificates that it names.
    ///
    /// # Errors
    /// Lists all mistakes, not only the first.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        // Content that changes between both reads is read again later.
        let digest = Self::digest(path);
        let table = sources::file(path)?;
        let digest =
            digest.map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let mut mistakes = Mistakes::default();
        let mut root = Section::root(table, &mut mistakes);
        let file = file(&mut root, path, digest);
        root.finish();
        match file {
            Ok(file) if mistakes.0.is_empty() => Ok(file),
            _ => Err(mistakes.into()),
        }
    }

    /// Digest of the content of a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest(path: &Path) -> io::Result<Vec<u8>> {
        Ok(digest(&SHA256, &std::fs::read(path)?).as_ref().to_vec())
    }
}

fn file(s: &mut Section<'_>, path: &Path, digest: Vec<u8>) -> Read<WebFile> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let tls = s.optional_section("tls_server_config", |s| tls(s, folder));
    let http = s.section("http_server_config", |s| {
        let has_http2 = s.value("http2", "true", values::flag);
        let headers = s.section("headers", headers);
        Ok((has_http2?, headers?))
    });
    let users = users(s);
    let rate_limit = s.section("rate_limit", rate_limit);
    let (has_http2, headers) = http?;
    let gate = GateSettings { users: users?, headers, rate_limit: rate_limit? };
    Ok(WebFile { path: path.to_owned(), digest, tls: tls?.flatten(), has_http2, gate })
}

/// An empty section leaves TLS off.
fn tls(s: &mut Section<'_>, folder: &Path) -> Read<Option<WebTlsSettings>> {
    let (cert, key) = (s.pem("cert"), s.pem("key"));
    let client_ca = s.pem("client_ca");
    let types = [
        ("NoClientCert", ClientAuth::NoClientCert),
        ("RequestClientCert", ClientAuth::RequestClientCert),
        ("RequireAnyClientCert", ClientAuth::RequireAnyClientCert),
        ("RequireClientCert", ClientAuth::RequireAnyClientCert),
        ("VerifyClientCertIfGiven", ClientAuth::VerifyClientCertIfGiven),
        ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerifyClientCert),
    ];
    let client_auth = s.optional("client_auth_type", values::choice(&types));
    let client_allowed_sans = s.texts("client_allowed_sans", values::control_free);
    let versions = [("TLS12", TlsVersion::Tls12), ("TLS13", TlsVersion::Tls13)];
    let min_version = s.value("min_version", "TLS12", values::choice(&versions));
    let max_version = s.value("max_version", "TLS13", values::choice(&versions));
    let cipher_suites = s.texts("cipher_suites", str::parse::<crate::tls::CipherSuite>);
    let prefer = s.value("prefer_server_cipher_suites", "true", values::flag);
    let curve_preferences = s.texts("curve_preferences", str::parse::<crate::tls::Curve>);

    if let (Ok(min), Ok(max)) = (min_version, max_version)
        && min > max
    {
        s.mistake("min_version", "must be at most max_version");
    }
    if let (Ok(suites), Ok(max)) = (&cipher_suites, max_version)
        && !suites.is_empty()
    {
        let is_usable = |it: &crate::tls::CipherSuite| it.is_supported() && it.version() <= max;
        if !suites.iter().any(is_usable) {
            let example = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
            s.mistake("cipher_suites", format!("has no suite that can be used, such as {example}"));
        }
    }
    if let Ok(curves) = &curve_preferences
        && !curves.is_empty()
        && !curves.iter().any(|curve| curve.is_supported())
    {
        s.mistake("curve_preferences", "has no curve that can be used, such as X25519");
    }
    let (cert, key, client_ca) = (cert?, key?, client_ca?);
    let auth = client_auth?;
    if cert.is_none() && key.is_none() && client_ca.is_none() && auth.is_none() {
        return Ok(None);
    }
    let client_auth = auth.unwrap_or(ClientAuth::NoClientCert);
    match (&client_ca, client_auth) {
        (Some(_), ClientAuth::NoClientCert) => {
            let what = if auth.is_some() { "is NoClientCert" } else { "is missing" };
            let remedy =
                "set RequireAndVerifyClientCert or VerifyClientCertIfGiven, or remove client_ca";
            s.mistake("client_auth_type", format!("{what}, and client_ca is set; {remedy}"));
        }
        (None, auth) if auth.verifies() => {
            let problem =
                "is missing: client_auth_type requires it; set client_ca_file, or another type";
            s.mistake("client_ca", problem);
        }
        _ => {}
    }
    if client_allowed_sans.as_ref().is_ok_and(|it| !it.is_empty()) && !client_auth.is_required() {
        let problem =
            "requires client_auth_type RequireAnyClientCert or RequireAndVerifyClientCert";
        s.mistake("client_allowed_sans", problem);
    }
    let relative = |pem| below(folder, pem);
    let identity = keys::identity(s, cert.map(relative), key.map(relative))?;
    let (cert, key) = match identity {
        Some(identity) => identity,
        None => {
            s.mistake("cert", "is missing");
            return Err(s.mistake("key", "is missing"));
        }
    };
    Ok(Some(WebTlsSettings {
        cert,
        key,
        client_auth,
        client_ca: client_ca.map(relative),
        client_allowed_sans: client_allowed_sans?,
        min_version: min_version?,
        max_version: max_version?,
        cipher_suites: cipher_suites?,
        prefer_server_cipher_suites: prefer?,
        curve_preferences: curve_preferences?,
    }))
}

/// Paths are relative to the folder of the file.
fn below(folder: &Path, pem: Pem) -> Pem {
    match pem.source {
        PemSource::File(path) => Pem { source: PemSource::File(folder.join(path)), ..pem },
        PemSource::Inline(_) => pem,
    }
}

/// Only these headers can be set, as in exporter-toolkit.
fn headers(s: &mut Section<'_>) -> Read<Vec<(HeaderName, HeaderValue)>> {
    let any: &[&str] = &[];
    let headers = [
        ("Content-Security-Policy", any),
        ("X-Frame-Options", &["deny", "sameorigin"]),
        ("X-Content-Type-Options", &["nosniff"]),
        ("X-XSS-Protection", any),
        ("Strict-Transport-Security", any),
    ];
    let read = headers.map(|(name, allowed)| {
        let value = s.optional(name, |text| {
            if !allowed.is_empty() && !allowed.contains(&text) {
                return Err(format!("is not one of: {}", allowed.join(", ")));
            }
            HeaderValue::from_str(text).map_err(|_| "is not the value of a header".to_owned())
        });
        let name = HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|error| s.mistake("headers", error.to_string()))?;
        Ok(value?.map(|value| (name, value)))
    });
    let read: Read<Vec<_>> = read.into_iter().collect();
    Ok(read?.into_iter().flatten().collect())
}

fn users(s: &mut Section<'_>) -> Read<Vec<Operator>> {
    use secrecy::ExposeSecret;
    let users = s.secrets("basic_auth_users")?;
    let users = users.into_iter().map(|(username, hash)| {
        let key = format!("basic_auth_users.{username}");
        let hash = values::bcrypt_hash(hash.expose_secret());
        let hash = hash.map_err(|problem| s.mistake(&key, problem));
        let name = match username.is_empty() {
            true => Err("has no user name".to_owned()),
            false => values::username(&username),
        };
        let username = name.map_err(|problem| s.mistake(&key, problem));
        Ok(Operator { username: username?, password_bcrypt: hash? })
    });
    let users: Vec<Read<Operator>> = users.collect();
    users.into_iter().collect()
}

fn rate_limit(s: &mut Section<'_>) -> Read<Option<GateRateLimit>> {
    let interval = s.value("interval", "0s", |text| match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => go_values::duration(text),
    });
    let burst = s.value("burst", "0", number(0..=1_000_000));
    let (interval, burst) = (interval?, burst?);
    match (interval, burst) {
        (Duration::ZERO, _) => Ok(None),
        (_, 0) => Err(s.mistake("burst", "must be at least 1 if interval is set")),
        _ => Ok(Some(GateRateLimit { interval, burst })),
    }
}
