//! Explanations of failures: what each reason means, and what to do about it.
//!
//! This is the only such table. Pages, JSON and the documentation of this installation render it.

use super::failure::{FailureReason, ScrapeFailure};
use crate::domain::{AppGuid, tsuru_ids::is_tsuru_id};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use std::borrow::Cow;

/// What a failure means, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub meaning: &'static str,
    /// With commands between backticks, whose placeholder for the app is [`APP`].
    remedy: &'static str,
    /// The name of the app as a word of a shell.
    app: Option<String>,
}

/// Placeholder of commands.
const APP: &str = "APP";

impl Explanation {
    /// Names the app in commands. `word` is its name as a word of a shell.
    #[must_use]
    pub fn for_app(self, word: String) -> Self {
        Self { app: Some(word), ..self }
    }

    /// The parts of what to do, and whether each is a command.
    pub fn remedy(&self) -> impl Iterator<Item = (bool, Cow<'static, str>)> {
        let parts = self.remedy.split('`').enumerate();
        parts.map(|(index, part)| match (index % 2 == 1, &self.app) {
            (true, Some(app)) => (true, part.replace(APP, app).into()),
            (is_command, _) => (is_command, part.into()),
        })
    }

    fn remedy_text(&self) -> String {
        self.remedy().map(|(_, part)| part).collect::<Vec<_>>().join("`")
    }
}

impl Serialize for Explanation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut explanation = serializer.serialize_struct("Explanation", 2)?;
        explanation.serialize_field("meaning", self.meaning)?;
        explanation.serialize_field("remedy", &self.remedy_text())?;
        explanation.end()
    }
}

/// The platform whose commands an explanation contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    CloudFoundry,
    Tsuru,
}

impl Platform {
    /// The platform on which the app runs.
    pub fn of(app: &AppGuid) -> Self {
        if is_tsuru_id(app.as_str()) { Self::Tsuru } else { Self::CloudFoundry }
    }
}

impl ScrapeFailure {
    pub fn explain(&self, platform: Platform) -> Explanation {
        explain(self.reason, self.status, platform)
    }
}

/// All explanations, each with the reason and the statuses that it applies to, as in
/// `status_4xx (404)`.
pub fn explanations(platform: Platform) -> Vec<(String, Explanation)> {
    let variants = |reason| match reason {
        FailureReason::Status4xx => {
            [(Some(404), " (404)"), (Some(401), " (401, 403)"), (None, " (other)")].as_slice()
        }
        _ => &[(None, "")],
    };
    let of_reason = |reason: FailureReason| {
        variants(reason).iter().map(move |(status, suffix)| {
            (format!("{reason}{suffix}"), explain(reason, *status, platform))
        })
    };
    FailureReason::ALL.into_iter().flat_map(of_reason).collect()
}

fn explain(reason: FailureReason, status: Option<u16>, platform: Platform) -> Explanation {
    let on = |cloud_foundry, tsuru| match platform {
        Platform::CloudFoundry => cloud_foundry,
        Platform::Tsuru => tsuru,
    };
    let (meaning, remedy) = match (reason, status) {
        (FailureReason::Timeout, _) => (
            "The instance accepted the request but did not answer completely before the deadline.",
            "Make the metrics cheaper to render, or raise scrape_timeout in Prometheus. Check whether the instance is overloaded.",
        ),
        (FailureReason::Connect, _) => (
            "No process accepts connections at the address of the instance.",
            on(
                "The instance is starting or has ended: see `cf events APP` and `cf logs APP --recent`. If it stays, restart the app.",
                "The unit is starting or has ended: see `tsuru app-info -a APP` and `tsuru app-log -a APP`. If it stays, restart the app.",
            ),
        ),
        (FailureReason::Tls, _) => (
            "The TLS handshake failed: a certificate was refused, or the port does not speak TLS.",
            "Ask the operator: backends.ca_file and the certificate of the instance must match.",
        ),
        (FailureReason::StaleEndpoint, _) => (
            "The address belongs to another instance now; the route table is about to change.",
            "Nothing: the platform updates the route within about two minutes.",
        ),
        (FailureReason::Status4xx, Some(404)) => (
            "The app has nothing at this path.",
            on(
                r#"Set the path: `cf bind-service APP METRICS -c '{"endpoint": "/your/path"}'`."#,
                "Set the path: bind the app again with the parameter endpoint. `tsuru service-instance-bind` has no option for it, so this needs a call of Tsuru's API.",
            ),
        ),
        (FailureReason::Status4xx, Some(401 | 403)) => (
            "The app requires credentials, or refused those of the binding.",
            "Put basic_auth or bearer_token into the binding. If they are there, scrape with a token of the app.",
        ),
        (FailureReason::Status4xx, _) => (
            "The app refused the request.",
            "Compare path, parameters and headers of the binding with what the app expects.",
        ),
        (FailureReason::Status5xx, _) => (
            "The app failed while it rendered its metrics.",
            on(
                "See the app's log at the time of the scrape: `cf logs APP --recent`.",
                "See the app's log at the time of the scrape: `tsuru app-log -a APP`.",
            ),
        ),
        (FailureReason::Redirect, _) => (
            "The app redirects to another host, or more than three times.",
            "Set endpoint of the binding to the final path.",
        ),
        (FailureReason::TooLarge, _) => (
            "The body is larger than the operator's limit scrape.max_instance_body.",
            "Remove labels with many values, or ask the operator to raise the limit.",
        ),
        (FailureReason::Limit, _) => (
            "The body has more samples, families or labels, or longer lines, than the limits allow.",
            "The detail names the limit: raise sample_limit of the binding, or reduce the series.",
        ),
        (FailureReason::NotExposition, _) => (
            "The answer is no exposition, for example an HTML page, or it breaks a rule of its format.",
            "The detail names the line. Open the path in a browser, and check the body with `scrapebroker merge --check FILE`.",
        ),
        (FailureReason::Truncated, _) => (
            "The connection ended before the end of the body.",
            "The app or its proxy closes the connection: see its log, and check its write timeout.",
        ),
        (FailureReason::NoConnection, _) => (
            "Scrapebroker had no free connection before the deadline. The instance was not asked.",
            "Usually this is transient. If it stays, the operator can raise backends.max_connections.",
        ),
    };
    Explanation { meaning, remedy, app: None }
}

impl FailureReason {
    /// Phrase for the status line of the response if all instances failed for this reason.
    /// Prometheus shows it as the error of the target.
    pub fn reason_phrase(self) -> &'static str {
        match self {
            Self::Timeout => "timeout: no complete response in time",
            Self::Connect => "connect: nothing listens at the instance's address",
            Self::Tls => "tls: the handshake failed",
            Self::StaleEndpoint => "stale_endpoint: the address was reassigned",
            Self::Status4xx => "status_4xx: the app refused the request",
            Self::Status5xx => "status_5xx: the app failed",
            Self::Redirect => "redirect: to another host or too often",
            Self::TooLarge => "too_large: the body exceeds the limit",
            Self::Limit => "limit: more than the limits allow",
            Self::NotExposition => "not_exposition: the body is no exposition",
            Self::Truncated => "truncated: the connection ended early",
            Self::NoConnection => "no_connection: the router is busy",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_an_explanation_of_two_sentences() {
        for platform in [Platform::CloudFoundry, Platform::Tsuru] {
            let all = explanations(platform);
            for reason in FailureReason::ALL {
                assert!(
                    all.iter().any(|(label, _)| label.starts_with(reason.as_str())),
                    "{reason}"
                );
            }
            for (label, Explanation { meaning, remedy, .. }) in all {
                for text in [meaning, remedy] {
                    assert!(text.ends_with('.'), "{label}: {text}");
                    assert!(text.len() <= 200, "{label}: {text}");
                }
                let foreign = if platform == Platform::Tsuru { "cf " } else { "tsuru" };
                assert!(
                    !format!(" {remedy}").contains(&format!("`{foreign}")),
                    "{label}: {remedy}"
                );
            }
        }
    }

    #[test]
    fn the_status_of_a_failure_selects_its_explanation() {
        let meaning = |status| {
            let failure = ScrapeFailure {
                status,
                ..ScrapeFailure::new(FailureReason::Status4xx, "the response status was …")
            };
            failure.explain(Platform::CloudFoundry).meaning
        };
        assert_eq!(meaning(Some(404)), "The app has nothing at this path.");
        assert_eq!(meaning(Some(401)), meaning(Some(403)));
        assert_eq!(meaning(Some(418)), meaning(None));
        assert_ne!(meaning(Some(401)), meaning(None));
    }

    #[test]
    fn commands_name_the_app_whatever_its_name_is() {
        let failure = ScrapeFailure::new(FailureReason::Connect, "refused");
        let explanation = failure.explain(Platform::CloudFoundry);
        let commands = |explanation: &Explanation| -> Vec<_> {
            let parts = explanation.remedy().filter(|(is_command, _)| *is_command);
            parts.map(|(_, command)| command.into_owned()).collect()
        };
        assert_eq!(commands(&explanation), ["cf events APP", "cf logs APP --recent"]);
        let named = explanation.for_app("'a`b APP'".to_owned());
        assert_eq!(commands(&named), ["cf events 'a`b APP'", "cf logs 'a`b APP' --recent"]);
        let json = serde_json::to_value(&named).unwrap();
        let remedy = json["remedy"].as_str().unwrap();
        assert!(remedy.contains("see `cf events 'a`b APP'` and"), "{remedy}");
        assert_eq!(json["meaning"], named.meaning);
    }

    #[test]
    fn each_reason_has_a_phrase_for_the_status_line() {
        for reason in FailureReason::ALL {
            let phrase = reason.reason_phrase();
            assert!(phrase.starts_with(&format!("{reason}: ")), "{phrase}");
            assert!(phrase.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{phrase}");
            assert!(phrase.len() <= 60, "{phrase}");
        }
    }
}
