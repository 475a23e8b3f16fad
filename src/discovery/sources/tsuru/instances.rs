//! Queries the bindings of a service instance from Tsuru's API.

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

/// Maximum size of a response in bytes.
const BODY_BYTES: usize = 4 << 20;

/// Tsuru's text for an unknown service or instance (tsuru/tsuru, `service/service_instance.go` and
/// `api/service.go`). A 404 with another text may come from a proxy.
const NOT_FOUND: [&str; 2] = ["service instance not found", "service not found"];

/// The apps and jobs that are bound to a service instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TsuruBinds {
    /// Names of apps.
    pub apps: BTreeSet<String>,
    /// Names of jobs. None if Tsuru does not report jobs.
    pub jobs: Option<BTreeSet<String>>,
}

#[derive(Debug, thiserror::Error)]
#[error("Tsuru's API {0}")]
pub struct TsuruApiError(SourceError);

/// The keys are those of a Go struct without JSON names.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    apps: Option<Vec<String>>,
    /// Absent before Tsuru 1.13.
    #[serde(default, deserialize_with = "present")]
    jobs: Option<Vec<String>>,
}

/// A required list. Go encodes an empty list as `null`.
fn present<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

impl TsuruApi {
    /// Returns what is bound to a service instance. None if Tsuru does not know the instance. Must
    /// be called on a thread that can run awc.
    ///
    /// # Errors
    /// The API call failed, or the token may not read the instance.
    pub async fn binds_of(
        &self,
        service: &str,
        instance: &str,
    ) -> Result<Option<TsuruBinds>, TsuruApiError> {
        // The timeout does not include the wait for the semaphore, so that many concurrent calls do
        // not fail each other. A closed semaphore would only remove the limit.
        let _turn = self.calls.acquire().await.ok();
        let result = timeout(TIMEOUT, self.fetch_binds(service, instance)).await;
        result.unwrap_or(Err(SourceError::Timeout(TIMEOUT))).map_err(TsuruApiError)
    }

    async fn fetch_binds(
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
            let chunk =
                chunk.map_err(|error| SourceError::Truncated(cause(net::body_reason(&error))))?;
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
    fn only_a_404_with_the_text_of_tsuru_counts() {
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
