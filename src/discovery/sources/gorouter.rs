//! Polls the route table of a gorouter.
//!
//! The endpoint is on the router's loopback interface or reached through a tunnel, so any server
//! may respond: a login page, an error page of a proxy, an endless body.

use crate::{
    discovery::{
        Reporting, RouteSource, Settings, SourceContext, SourceKind, drop_log::cause,
        error::SourceError, report::Report,
    },
    domain::BasicAuth,
    net,
};
use awc::{Client, http::Uri};
use futures_util::future::LocalBoxFuture;
use secrecy::ExposeSecret;
use tokio::time::{MissedTickBehavior, interval, timeout};

pub(in crate::discovery) const KIND: SourceKind = SourceKind {
    key: "routes.gorouters",
    is_list: true,
    is_configured: true,
    is_tsuru: false,
    reporting: Reporting::FullAfterWarmUp,
};

/// A router to poll.
#[derive(Clone, Debug)]
pub struct Gorouter {
    /// URL of the route table, for example `http://127.0.0.1:8082/routes`.
    pub url: String,
    /// Credentials for basic auth.
    pub credentials: Option<BasicAuth>,
}

impl Gorouter {
    /// The URL if it is valid.
    fn uri(&self) -> Option<Uri> {
        let uri: Uri = self.url.parse().ok()?;
        let is_usable =
            uri.scheme_str() == Some("http") && uri.host().is_some_and(|h| !h.is_empty());
        is_usable.then_some(uri)
    }
}

impl RouteSource for Gorouter {
    fn name(&self) -> String {
        match self.uri() {
            Some(uri) => {
                let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
                format!("gorouter {}{port}", uri.host().unwrap_or_default())
            }
            None => "gorouter with an unusable URL".to_owned(),
        }
    }

    fn kind(&self) -> SourceKind {
        KIND
    }

    fn run(self: Box<Self>, context: SourceContext) -> LocalBoxFuture<'static, ()> {
        Box::pin(poll(*self, context))
    }
}

/// Polls at startup and then every `refresh_interval`.
async fn poll(gorouter: Gorouter, context: SourceContext) {
    let Settings { refresh_interval, limits, .. } = context.settings;
    // The caller sets the timeout, which includes the body.
    let client = net::client(net::connector(None).timeout(limits.timeout));
    let mut ticks = interval(refresh_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let fetched = fetch_table(&client, &gorouter, limits.body_bytes);
        let report = match timeout(limits.timeout, fetched).await {
            Ok(Ok(body)) => Report::Full(body),
            Ok(Err(error)) => Report::Failure(error),
            Err(_) => Report::Failure(SourceError::Timeout(limits.timeout)),
        };
        context.reporter.report(report).await;
    }
}

/// Returns the body of a response with status 200.
async fn fetch_table(
    client: &Client,
    gorouter: &Gorouter,
    body_bytes: u64,
) -> Result<Vec<u8>, SourceError> {
    let uri = gorouter.uri().ok_or(SourceError::Url)?;
    // gorouter closes the connection after each response and does not always announce it.
    let mut request = client.get(uri).force_close();
    if let Some(BasicAuth { username, password }) = &gorouter.credentials {
        request = request.basic_auth(username, password.expose_secret());
    }
    let sent = net::send(request).await;
    let mut response =
        sent.map_err(|error| SourceError::Unreachable(cause(net::reason(&error))))?;
    match response.status().as_u16() {
        200 => Ok(net::read_body(&mut response, body_bytes).await?),
        status @ (401 | 403) => Err(SourceError::Credentials(status)),
        404 => Err(SourceError::NoTable),
        status @ 300..=399 => Err(SourceError::Redirect(status)),
        status => Err(SourceError::Status(status)),
    }
}

#[cfg(test)]
pub(in crate::discovery) mod testing;
#[cfg(test)]
mod tests;
