//! Removes the secrets of an instance from the messages of other programs.
//!
//! Prometheus may quote its configuration when it does not start, and the last line of its log
//! becomes the description of the operation.

use super::DesiredInstance;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use std::{borrow::Cow, cmp::Reverse};

/// Replaces a secret.
const MASK: &str = "********";

/// Shorter secrets are not masked, because they occur in ordinary words.
const MIN_LEN: usize = 4;

/// The secrets of one instance, in every form in which its configuration files contain them.
#[derive(Clone, Debug, Default)]
pub(super) struct Redaction(Vec<SecretString>);

impl Redaction {
    pub(super) fn of(desired: &DesiredInstance) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut add = |text: &str| texts.extend(forms(text));
        add(desired.scraper_token.expose_secret());
        add(desired.web_password.expose_secret());
        if let Some(alertmanager) = &desired.spec.alertmanager_url {
            add(alertmanager.url().username());
            add(alertmanager.url().password().unwrap_or_default());
        }
        if let Some(remote_write) = &desired.remote_write {
            remote_write.basic_auth.iter().for_each(|it| add(it.password.expose_secret()));
            remote_write.bearer_token.iter().for_each(|token| add(token.expose_secret()));
            remote_write.headers.values().for_each(|value| add(value.expose_secret()));
            let query = remote_write.url.split_once('?').map_or("", |(_, query)| query);
            query.split('&').filter_map(|pair| pair.split_once('=')).for_each(|(_, it)| add(it));
        }
        texts.retain(|text| text.len() >= MIN_LEN);
        // Longest first, because a secret may contain another one.
        texts.sort_by_key(|text| Reverse(text.len()));
        Self(texts.into_iter().map(SecretString::from).collect())
    }

    /// Replaces every secret in `text` by [`MASK`].
    pub(super) fn apply<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                text = Cow::Owned(text.replace(secret, MASK));
            }
        }
        text
    }
}

/// The text itself and its percent-decoded form, each also escaped as in JSON.
fn forms(text: &str) -> impl Iterator<Item = String> {
    let plain = [text.to_owned(), percent_decode_str(text).decode_utf8_lossy().into_owned()];
    plain.into_iter().flat_map(|text| {
        let quoted = serde_json::Value::from(text.as_str()).to_string();
        let escaped = quoted.trim_matches('"').to_owned();
        [text, escaped]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::BasicAuth;
    use crate::provisioner::{RemoteWrite, tsuru::testing::desired};

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let mut desired = desired("i");
        desired.web_password = "canary-web".into();
        desired.scraper_token = "sbt_canary".into();
        desired.spec.alertmanager_url =
            Some("https://canary%22user:canary%40pass@alerts.example.com".parse().unwrap());
        desired.remote_write = Some(RemoteWrite {
            url: "https://store.example.com/write?key=canary-key".to_owned(),
            basic_auth: Some(BasicAuth {
                username: "user".to_owned(),
                password: "canary\"basic".into(),
            }),
            bearer_token: Some("canary-bearer".into()),
            headers: [("X-Key".to_owned(), "canary-header".into())].into(),
        });
        let redaction = Redaction::of(&desired);
        for secret in [
            "canary-web",
            "sbt_canary",
            "canary%22user",
            "canary\"user",
            "canary\\\"user",
            "canary%40pass",
            "canary@pass",
            "canary-key",
            "canary\"basic",
            "canary\\\"basic",
            "canary-bearer",
            "canary-header",
        ] {
            let text = format!("line 3: cannot use {secret}, and {secret}");
            let shown = redaction.apply(&text);
            assert_eq!(shown, format!("line 3: cannot use {MASK}, and {MASK}"), "{secret}");
        }
        assert!(!format!("{redaction:?}").contains("canary"));
        assert_eq!(redaction.apply("no space is left"), "no space is left");
    }
}
