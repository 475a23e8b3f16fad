//! What the queries of a provisioned instance are sent to.

use super::{
    Pool, PoolClient, PrometheusClient, QueryFailure, QueryRequest, QueryResponse, Upstream,
};

/// The pool of an instance, or its servers in a fixed order.
#[derive(Clone, Debug)]
pub enum QueryBackend {
    Pool(Pool),
    Upstream(Box<Upstream>),
}

impl QueryBackend {
    /// Sends a query to the replicas until one responds.
    ///
    /// # Errors
    /// [`QueryFailure`] if there is no response that may be forwarded, or too many queries.
    pub async fn forward(
        &self,
        client: &PrometheusClient,
        request: &QueryRequest<'_>,
    ) -> Result<QueryResponse, QueryFailure> {
        match self {
            Self::Pool(pool) => {
                let answer = pool.forward(client, PoolClient::default(), request).await?;
                Ok(answer.response)
            }
            Self::Upstream(upstream) => client.forward(upstream, request).await,
        }
    }
}
