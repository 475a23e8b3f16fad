//! Failures of operations, with the setting to change.

use crate::{provisioner::Failure, tsuru::TsuruApiError};

impl From<TsuruApiError> for Failure {
    fn from(error: TsuruApiError) -> Self {
        let hint = match error {
            TsuruApiError::Forbidden(_) => {
                "; the team may need a larger quota, or the token more permissions (app.create, app.read, app.update.env, app.deploy.image, app.delete)"
            }
            TsuruApiError::Refused(..) => "; see the settings below prometheus.tsuru",
            _ => "",
        };
        Self { reason: format!("{error}{hint}"), retry: error.is_transient() }
    }
}

/// The name of an app is taken.
pub(super) fn foreign(app: &str) -> Failure {
    Failure::permanent(format!(
        "there is an app {app} on Tsuru that does not belong to Scrapebroker; remove it, or change prometheus.tsuru.app_prefix"
    ))
}
