//! Calls of the Kubernetes API.

use super::{
    api_error::{KubernetesError, Problem},
    client::Connected,
};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::serde::de::DeserializeOwned;
use kube::{
    Resource,
    api::{GetParams, ListParams},
    client::Body,
    core::{ObjectList, Request, Status},
};
use std::time::Duration;

/// Objects per page, as in kubectl.
const PAGE: u32 = 500;
/// Limit for the objects of a list. Many more pods than a pool can have replicas.
const MAX_OBJECTS: usize = 10_000;
/// Limit of one response. A page of large pods has about 20 MB.
const MAX_BODY: usize = 64 << 20;

/// Reads the objects of one namespace.
pub(super) struct KubernetesApi {
    connected: Connected,
    namespace: String,
    timeout: Duration,
}

/// A call, with its verb in RBAC.
#[derive(Clone, Copy)]
enum Call<'a> {
    List(&'a ListParams),
    Get(&'a str),
}

impl KubernetesApi {
    pub(super) fn new(connected: Connected, namespace: &str, timeout: Duration) -> Self {
        Self { connected, namespace: namespace.to_owned(), timeout }
    }

    /// Lists all objects that a label selector selects.
    pub(super) async fn list<K>(&self, selector: &str) -> Result<Vec<K>, KubernetesError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
    {
        match self.pages(selector).await {
            // The API does not keep the state of a list for long.
            Err(error) if error.is_expired() => self.pages(selector).await,
            result => result,
        }
    }

    pub(super) async fn get<K>(&self, name: &str) -> Result<K, KubernetesError>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        self.call::<K, K>(Call::Get(name)).await
    }

    async fn pages<K>(&self, selector: &str) -> Result<Vec<K>, KubernetesError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned,
    {
        let mut params = ListParams::default().labels(selector).limit(PAGE);
        let mut objects = Vec::new();
        loop {
            let page: ObjectList<K> = self.call::<K, _>(Call::List(&params)).await?;
            objects.extend(page.items);
            if objects.len() > MAX_OBJECTS {
                return Err(self.error::<K>(Call::List(&params), Problem::TooMany(MAX_OBJECTS)));
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(objects);
            }
        }
    }

    async fn call<K, T>(&self, call: Call<'_>) -> Result<T, KubernetesError>
    where
        K: Resource<DynamicType = ()>,
        T: DeserializeOwned,
    {
        let response = tokio::time::timeout(self.timeout, self.response::<K>(call)).await;
        let body = response.unwrap_or(Err(Problem::Timeout(self.timeout)));
        // The words of the error could quote the object, which may contain secrets.
        let parsed = body.and_then(|body| {
            serde_json::from_slice(&body)
                .map_err(|error| Problem::Invalid { line: error.line(), column: error.column() })
        });
        parsed.map_err(|problem| self.error::<K>(call, problem))
    }

    async fn response<K>(&self, call: Call<'_>) -> Result<bytes::Bytes, Problem>
    where
        K: Resource<DynamicType = ()>,
    {
        let request = Request::new(K::url_path(&(), Some(&self.namespace)));
        let request = match call {
            Call::List(params) => request.list(params),
            Call::Get(name) => request.get(name, &GetParams::default()),
        };
        let request = request.map_err(|error| Problem::Request(error.to_string()))?;
        let response = self.connected.client.send(request.map(Body::from)).await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|error| Problem::Body(error.to_string()))?.to_bytes();
        match status.is_success() {
            true => Ok(body),
            false => Err(Problem::Status { code: status.as_u16(), message: message(&body) }),
        }
    }

    fn unreachable(&self, error: &kube::Error) -> Problem {
        Problem::Unreachable { server: self.connected.server.clone(), reason: reason(error) }
    }

    fn error<K>(&self, call: Call<'_>, problem: Problem) -> KubernetesError
    where
        K: Resource<DynamicType = ()>,
    {
        let verb = match call {
            Call::List(_) => "list",
            Call::Get(_) => "get",
        };
        KubernetesError::Call {
            verb,
            resource: K::plural(&()).into_owned(),
            group: K::group(&()).into_owned(),
            namespace: self.namespace.clone(),
            problem,
        }
    }
}

/// The causes of a connection error, without the words that `kube` puts before them.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Service(error) => crate::telemetry::causes(&**error),
        error => crate::telemetry::causes(error),
    }
}

/// The message of an error response: of the object `Status`, or the beginning of another text.
fn message(body: &[u8]) -> String {
    let status = serde_json::from_slice::<Status>(body).ok();
    let message = status.map(|status| status.message).filter(|message| !message.is_empty());
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let mut shown: String = message.trim().chars().take(300).flat_map(escaped).collect();
    if message.trim().chars().nth(300).is_some() {
        shown.push('…');
    }
    shown
}

/// Keeps quotes, which escaped text would make unreadable.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let (plain, escape) = match c.is_control() {
        true => (None, Some(c.escape_debug())),
        false => (Some(c), None),
    };
    plain.into_iter().chain(escape.into_iter().flatten())
}
