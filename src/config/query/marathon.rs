//! The keys of a locator `marathon`.

use crate::{
    config::{
        section::{Read, Section},
        values,
    },
    domain::BaseUrl,
    query::{DcosLogin, DcosSecret, MarathonSettings},
    tls::ClientSettings,
};
use std::cell::OnceCell;

pub(super) fn marathon(s: &mut Section<'_>) -> Read<MarathonSettings> {
    let urls = marathon_hosts(s, "url");
    let apps = s.separated("apps", str::parse);
    let secret = s.secret_of("principal_secret", str::parse);
    let auth_endpoint = s.optional("auth_endpoint", str::parse);
    let ca = s.pem("ca");
    let skip_verify = s.value("skip_verify", "false", values::flag);
    let schemes = [("http", false), ("https", true)];
    let is_https = s.value("scheme", "http", values::choice(&schemes));
    let path_prefix = s.optional("path_prefix", values::path_prefix);
    let port_index = s.value("port_index", "0", values::number(0..=1000));
    if urls.as_ref().is_ok_and(Vec::is_empty) {
        s.mistake("url", "is missing; set the URL of Marathon");
    }
    if apps.as_ref().is_ok_and(Vec::is_empty) {
        s.mistake("apps", "is missing; list the apps that run Prometheus");
    }
    let login = login(s, secret, auth_endpoint);
    Ok(MarathonSettings {
        urls: urls?,
        apps: apps?,
        login: login?,
        tls: ClientSettings { ca: ca?, identity: None, skip_verify: skip_verify? },
        is_https: is_https?,
        path_prefix: path_prefix?.unwrap_or_default(),
        port_index: port_index?,
    })
}

/// Hosts of one Marathon. Like in mpp, a host without a scheme has that of the first.
pub(in crate::config) fn marathon_hosts(s: &mut Section<'_>, key: &str) -> Read<Vec<BaseUrl>> {
    let scheme = OnceCell::new();
    s.separated(key, |text| {
        let url: BaseUrl = match scheme.get() {
            Some(scheme) if !text.contains("://") => format!("{scheme}://{text}").parse()?,
            _ => text.parse()?,
        };
        scheme.get_or_init(|| url.scheme());
        Ok(url)
    })
}

fn login(
    s: &mut Section<'_>,
    secret: Read<Option<DcosSecret>>,
    auth_endpoint: Read<Option<BaseUrl>>,
) -> Read<Option<DcosLogin>> {
    match (secret?, auth_endpoint?) {
        (None, None) => Ok(None),
        (None, Some(_)) => {
            Err(s.mistake("principal_secret", "is missing, and auth_endpoint is set"))
        }
        (Some(secret), endpoint) => match DcosLogin::new(secret, endpoint) {
            Some(login) => Ok(Some(login)),
            None => Err(s.mistake(
                "auth_endpoint",
                "is missing, and principal_secret has no login_endpoint",
            )),
        },
    }
}

#[cfg(test)]
mod tests;
