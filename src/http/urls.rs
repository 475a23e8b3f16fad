//! Our own URLs, as they are given to users.

use crate::domain::AppGuid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Characters of an id that need no encoding in a path (RFC 3986, unreserved, and the colon).
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// What is known of an app, and in front of its metrics.
pub(super) fn app_url(base_url: &str, app: &AppGuid) -> String {
    format!("{base_url}/v1/apps/{}", utf8_percent_encode(app.as_str(), SEGMENT))
}
