//! Prometheus instances with their decrypted spec and their secrets.

use super::{AssociatedData, KeyError, Keys};
use crate::domain::{
    InstanceId, ServiceInstance,
    prometheus::{Spec, StoredPrometheus},
};
use secrecy::SecretString;
use serde_json::Value;

/// A Prometheus instance. `Debug` does not show its secrets.
#[derive(Clone, Debug)]
pub struct PrometheusInstance {
    pub service_instance: ServiceInstance,
    pub spec: Spec,
    /// Bearer token with which Prometheus requests its targets and scrapes them.
    pub scraper_token: SecretString,
    /// Basic auth password of Prometheus.
    pub web_password: SecretString,
}

/// Why a stored spec cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error("broker.token_key does not decrypt it")]
    Decrypt,
    #[error(transparent)]
    Invalid(#[from] serde_json::Error),
}

impl Keys {
    /// # Errors
    /// [`SpecError`] for a spec that was encrypted with another key or that no version has stored.
    pub fn prometheus_instance(
        &self,
        service_instance: ServiceInstance,
        stored: &StoredPrometheus,
    ) -> Result<PrometheusInstance, SpecError> {
        let (id, salt) = (&stored.instance_id, &stored.secret_salt);
        Ok(PrometheusInstance {
            spec: self.decrypt_spec(stored)?,
            scraper_token: self.scraper_token(id, salt),
            web_password: self.web_password(id, salt),
            service_instance,
        })
    }

    /// # Errors
    /// As for [`prometheus_instance`](Self::prometheus_instance).
    pub fn decrypt_spec(&self, stored: &StoredPrometheus) -> Result<Spec, SpecError> {
        let owner = AssociatedData::Spec(stored.instance_id.as_str());
        let map = self.decrypt(owner, &stored.spec).ok_or(SpecError::Decrypt)?;
        Ok(serde_json::from_value(Value::Object(map))?)
    }

    /// # Errors
    /// [`KeyError::Random`] when the system has no random numbers.
    pub fn encrypt_spec(&self, instance: &InstanceId, spec: &Spec) -> Result<String, KeyError> {
        let Ok(Value::Object(map)) = serde_json::to_value(spec) else {
            return Err(KeyError::Random);
        };
        self.encrypt(AssociatedData::Spec(instance.as_str()), &map)
    }
}
