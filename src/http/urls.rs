//! Public URLs of apps, instances and events.

use crate::domain::{AppGuid, BaseUrl, InstanceId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters that need no encoding in a path segment (RFC 3986, unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Like [`SEGMENT`], with the colon of Tsuru's app ids.
const APP: &AsciiSet = &SEGMENT.remove(b':');

/// Path of the page of an app below the path of the public URL. `app` is its GUID or another key.
pub(super) fn app_path(app: &str) -> String {
    format!("/apps/{}", utf8_percent_encode(app, APP))
}

/// URL of the merged metrics of an app.
pub(super) fn metrics(base_url: &BaseUrl, app: &AppGuid) -> String {
    format!("{base_url}/v1/apps/{}/metrics", utf8_percent_encode(app.as_str(), APP))
}

/// URL of the merged metrics of an app without external exporters.
pub(super) fn only_app_metrics(base_url: &BaseUrl, app: &AppGuid) -> String {
    format!("{base_url}/v1/apps/{}/only-app-metrics", utf8_percent_encode(app.as_str(), APP))
}

/// Path of the metrics of one instance below the path of the public URL. `which` is its index or
/// address.
pub(super) fn instance_path(app: &str, which: &str, process_type: &str) -> String {
    format!(
        "/v1/apps/{}/instances/{}/metrics?process_type={}",
        utf8_percent_encode(app, APP),
        utf8_percent_encode(which, SEGMENT),
        utf8_percent_encode(process_type, SEGMENT)
    )
}

/// URL of the list of an app's instances for service discovery.
pub(super) fn targets(base_url: &BaseUrl, app: &AppGuid) -> String {
    format!("{base_url}/sd?app={}", utf8_percent_encode(app.as_str(), SEGMENT))
}

/// Path of the page of a provisioned Prometheus below the path of the public URL.
pub(super) fn prometheus_path(instance: &InstanceId) -> String {
    format!("/prometheus/{}/", utf8_percent_encode(instance.as_str(), SEGMENT))
}

/// URL of a provisioned Prometheus: its page, and the base of its query API.
pub(super) fn prometheus(base_url: &BaseUrl, instance: &InstanceId) -> String {
    format!("{base_url}/prometheus/{}", utf8_percent_encode(instance.as_str(), SEGMENT))
}

/// URL to which events are posted.
pub(super) fn events(base_url: &BaseUrl) -> String {
    format!("{base_url}/v1/events")
}

/// URL of a scrape of events.
pub(super) fn event_metrics(base_url: &BaseUrl) -> String {
    format!("{base_url}/v1/events/metrics")
}
