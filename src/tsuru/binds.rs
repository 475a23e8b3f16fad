//! The bindings of a service instance, `GET /1.0/services/{service}/instances/{instance}`.

use super::{
    TsuruApi,
    client::{CallLimits, segment},
    error::TsuruApiError,
};
use serde::Deserialize;
use std::{collections::BTreeSet, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of a response in bytes.
const BODY_BYTES: u64 = 4 << 20;

/// Tsuru's text for an unknown service or instance (tsuru/tsuru, `service/service_instance.go` and
/// `api/service.go`).
const NOT_FOUND: [&str; 2] = ["service instance not found", "service not found"];

/// The apps and jobs that are bound to a service instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TsuruBinds {
    /// Names of apps.
    pub apps: BTreeSet<String>,
    /// Names of jobs. None if Tsuru does not report jobs.
    pub jobs: Option<BTreeSet<String>>,
}

/// The keys are those of a Go struct without JSON names.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceInfo {
    apps: Option<BTreeSet<String>>,
    /// Absent before Tsuru 1.13.
    #[serde(default, deserialize_with = "present")]
    jobs: Option<BTreeSet<String>>,
}

/// A required list. Go encodes an empty list as `null`.
fn present<'de, D>(deserializer: D) -> Result<Option<BTreeSet<String>>, D::Error>
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
        let (service, instance) = (segment(service), segment(instance));
        let path = format!("/1.0/services/{service}/instances/{instance}");
        let limits =
            CallLimits { timeout: TIMEOUT, stream_timeout: TIMEOUT, body_bytes: BODY_BYTES };
        let info: Option<InstanceInfo> = self.client(limits).read(&path, is_not_found).await?;
        Ok(info.map(TsuruBinds::from))
    }
}

impl From<InstanceInfo> for TsuruBinds {
    fn from(info: InstanceInfo) -> Self {
        Self { apps: info.apps.unwrap_or_default(), jobs: info.jobs }
    }
}

fn is_not_found(body: &str) -> bool {
    let text = body.trim().trim_end_matches('.').to_lowercase();
    NOT_FOUND.contains(&text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsuru::client::document;

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
            let read = document::<InstanceInfo>(status, body.as_bytes(), is_not_found);
            let binds = read.ok().map(|info| info.map(TsuruBinds::from));
            assert_eq!(binds, expected, "{status} {body}");
        }
    }
}
