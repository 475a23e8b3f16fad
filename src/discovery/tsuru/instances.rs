//! What Tsuru's API tells of a service instance.

use super::{TIMEOUT, TsuruApi, api::Client};
use crate::{
    discovery::error::{SourceError, cause},
    net,
};
use futures_util::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::collections::BTreeSet;
use tokio::time::timeout;

/// Largest answer about one instance, in bytes.
const BODY_BYTES: usize = 4 << 20;

/// What Tsuru answers about a service or an instance that it does not have (tsuru/tsuru,
/// service/service_instance.go and api/service.go). Another 404 is not Tsuru's word.
const NOT_FOUND: [&str; 2] = ["service instance not found", "service not found"];

/// What is bound to a service instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TsuruBinds {
    /// Names of apps.
    pub apps: BTreeSet<String>,
    /// Names of jobs; none of a Tsuru that does not tell.
    pub jobs: Option<BTreeSet<String>>,
}

/// Why Tsuru's API did not tell.
#[derive(Debug, thiserror::Error)]
#[error("Tsuru's API {0}")]
pub struct TsuruApiError(SourceError);

/// The keys are those of a Go structure without JSON names.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    apps: Option<Vec<String>>,
    /// Absent before Tsuru 1.13.
    #[serde(default, deserialize_with = "present")]
    jobs: Option<Vec<String>>,
}

/// A list that is there, which may be `null`, as Go writes an empty one.
fn present<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

impl TsuruApi {
    /// What is bound to a service instance; none if Tsuru has no such instance. To be called on a
    /// thread that may wait for awc.
    ///
    /// # Errors
    /// When the API cannot be asked, or does not show the instance to the token.
    pub async fn binds_of(
        &self,
        service: &str,
        instance: &str,
    ) -> Result<Option<TsuruBinds>, TsuruApiError> {
        // Waiting takes none of the call's time: a flood of calls must not make this one fail. A
        // closed semaphore would only mean no bound.
        let _turn = self.calls.acquire().await.ok();
        let asked = timeout(TIMEOUT, self.ask_binds(service, instance)).await;
        asked.unwrap_or(Err(SourceError::Timeout(TIMEOUT))).map_err(TsuruApiError)
    }

    async fn ask_binds(
        &self,
        service: &str,
        instance: &str,
    ) -> Result<Option<TsuruBinds>, SourceError> {
        let encoded = |name| utf8_percent_encode(name, NON_ALPHANUMERIC);
        let (service, instance) = (encoded(service), encoded(instance));
        let client = Client::new(self.clone(), TIMEOUT, BODY_BYTES as u64);
        let request = client.get(&format!("/1.0/services/{service}/instances/{instance}"))?;
        let sent = net::send(request).await;
        let mut response =
            sent.map_err(|error| SourceError::Unreachable(cause(net::reason(&error))))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.next().await {
            let chunk = chunk.map_err(|error| SourceError::Cut(cause(net::body_reason(&error))))?;
            if body.len() + chunk.len() > BODY_BYTES {
                return Err(SourceError::TooLarge(BODY_BYTES as u64));
            }
            body.extend_from_slice(&chunk);
        }
        read(response.status().as_u16(), &body)
    }
}

fn read(status: u16, body: &[u8]) -> Result<Option<TsuruBinds>, SourceError> {
    match status {
        200 => {}
        401 | 403 => return Err(SourceError::Token(status)),
        404 if is_not_found(body) => return Ok(None),
        _ => return Err(SourceError::Status(status)),
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| SourceError::App("does not describe the service instance"))?;
    Ok(Some(TsuruBinds {
        apps: answer.apps.unwrap_or_default().into_iter().collect(),
        jobs: answer.jobs.map(|jobs| jobs.into_iter().collect()),
    }))
}

fn is_not_found(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).trim().trim_end_matches('.').to_lowercase();
    NOT_FOUND.contains(&text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tsuru_says_itself_is_believed() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let binds = |apps: &[&str], jobs: Option<&[&str]>| {
            Some(Some(TsuruBinds { apps: names(apps), jobs: jobs.map(names) }))
        };
        for (status, body, expected) in [
            (200, r#"{"Apps":["shop"],"Jobs":["nightly"]}"#, binds(&["shop"], Some(&["nightly"]))),
            (200, r#"{"Apps":null,"Jobs":null,"CustomInfo":{}}"#, binds(&[], Some(&[]))),
            (200, r#"{"Apps":["shop"]}"#, binds(&["shop"], None)),
            (404, "service instance not found\n", Some(None)),
            (404, "Service not found", Some(None)),
            (404, "404 page not found", None),
            (404, "", None),
            (200, "<html>", None),
            (200, "[]", None),
            (403, "service instance not found", None),
            (500, "service instance not found", None),
        ] {
            assert_eq!(read(status, body.as_bytes()).ok(), expected, "{status} {body}");
        }
    }
}
