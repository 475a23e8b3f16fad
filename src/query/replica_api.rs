//! Requests of Scrapebroker itself to the API of a replica.

use super::{PrometheusClient, QueryRequest, Server, Upstream, failure};
use crate::net;
use awc::{ClientResponse, error::SendRequestError, http::header::HeaderMap};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The API of one replica. Errors are for operators. The caller limits the time.
#[derive(Clone, Copy)]
pub(super) struct ReplicaApi<'a> {
    pub(super) client: &'a PrometheusClient,
    pub(super) upstream: &'a Upstream,
    pub(super) server: &'a Server,
}

impl ReplicaApi<'_> {
    pub(super) async fn get(&self, target: &str) -> Result<ClientResponse, String> {
        let headers = HeaderMap::new();
        let request = QueryRequest::get(target.to_owned(), &headers, Duration::MAX);
        let sent = self.client.send(self.server, self.upstream, &request).await;
        sent.map_err(|error| match error {
            SendRequestError::Connect(error) => format!("it {}", failure::explain(&error)),
            error => net::reason(&error),
        })
    }

    /// The data of a response of at most `max` bytes.
    pub(super) async fn data<T: DeserializeOwned>(
        &self,
        target: &str,
        max: u64,
    ) -> Result<T, String> {
        #[derive(serde::Deserialize)]
        struct Envelope<T> {
            data: T,
        }
        let mut response = self.get(target).await?;
        let body = net::read_body(&mut response, max).await;
        let body = body.map_err(|error| error.to_string())?;
        let status = response.status();
        let parsed =
            serde_json::from_slice::<Envelope<T>>(&body).ok().filter(|_| status.is_success());
        let path = target.split('?').next().unwrap_or(target);
        parsed
            .map(|it| it.data)
            .ok_or_else(|| format!("{path} responds with {} and no valid data", status.as_u16()))
    }
}
