//! External exporters: asked once for each app, beside its instances.
//!
//! They are named by host, not by address, and may lie anywhere; so nothing of
//! the scraper's goes to them, and one that is down costs only itself: it has
//! the same deadline, limits and budget as an instance, and its name is looked
//! up where it cannot stand in the way of others ([`Resolver`]).

mod metrics;
mod resolver;

pub use metrics::ExporterMetrics;
pub use resolver::Resolver;

use super::{
    Ask,
    budget::Share,
    client::Client,
    failure::{Failure, Reason},
    fan_out::Outcome,
    fetch::{Fetched, fetch},
    target::{QUERY, Secrets, Target},
};
use crate::{
    discovery::Endpoint,
    domain::{App, ExternalExporter, Unfilled},
};
use exposition::{AddedLabels, IndexedBody};
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use std::{net::SocketAddr, sync::Arc};

/// The exporters of an installation.
#[derive(Clone, Debug)]
pub struct Exporters {
    list: Arc<[Arc<ExternalExporter>]>,
    resolver: Resolver,
    metrics: Arc<ExporterMetrics>,
}

/// What one request wants of external exporters.
#[derive(Debug)]
pub struct Externals {
    exporters: Exporters,
    pub(super) targets: Vec<ExternalTarget>,
    pub(super) unfilled: Vec<UnfilledExporter>,
}

/// An exporter to ask, and the app that it is asked for.
#[derive(Debug)]
pub(super) struct ExternalTarget {
    pub(super) exporter: Arc<ExternalExporter>,
    pub(super) app: Arc<App>,
    /// Path and query of the request.
    path: Arc<str>,
    pub(super) labels: AddedLabels,
    pub(super) max_samples: usize,
}

/// An exporter that cannot be asked for an app.
#[derive(Debug)]
pub(super) struct UnfilledExporter {
    pub(super) exporter: Arc<ExternalExporter>,
    pub(super) app: Arc<App>,
    pub(super) why: Unfilled,
}

/// What an exporter answered.
#[derive(Debug)]
pub(super) struct ScrapedExternal {
    pub(super) target: ExternalTarget,
    /// What its body takes in memory.
    pub(super) bytes: u64,
    pub(super) result: Result<IndexedBody, Failure>,
}

impl Exporters {
    /// These exporters, looked up by `resolver`.
    pub fn new(
        list: impl IntoIterator<Item = ExternalExporter>,
        resolver: Resolver,
        metrics: ExporterMetrics,
    ) -> Self {
        let list: Arc<[_]> = list.into_iter().map(Arc::new).collect();
        list.iter().for_each(|exporter| metrics.announce(&exporter.name));
        Self { list, resolver, metrics: Arc::new(metrics) }
    }

    /// Nothing asked yet.
    pub fn none(&self) -> Externals {
        Externals { exporters: self.clone(), targets: Vec::new(), unfilled: Vec::new() }
    }

    /// Each exporter once for each of `apps`.
    pub fn of<'a>(
        &self,
        apps: impl IntoIterator<Item = &'a Arc<App>>,
        max_samples: usize,
    ) -> Externals {
        let mut externals = self.none();
        for app in apps {
            for exporter in self.list.iter() {
                let (exporter, app) = (Arc::clone(exporter), Arc::clone(app));
                match request_path(&exporter, &app).map(Arc::from) {
                    Ok(path) => {
                        let labels = self.labels(&exporter, &app);
                        let target = ExternalTarget { exporter, app, path, labels, max_samples };
                        externals.targets.push(target);
                    }
                    Err(why) => {
                        self.metrics.count_unfilled(&exporter.name);
                        externals.unfilled.push(UnfilledExporter { exporter, app, why });
                    }
                }
            }
        }
        externals
    }

    /// The labels of the app, and of several exporters the name of this one: else two that
    /// expose the same family would have the same series.
    fn labels(&self, exporter: &ExternalExporter, app: &App) -> AddedLabels {
        let name = (self.list.len() > 1).then_some(("exporter", &*exporter.name));
        AddedLabels::new(app.labels().into_iter().chain(name))
    }
}

/// The path with the parameters filled in; like promfetcher's, a parameter takes
/// the place of one with its name in the path.
fn request_path(exporter: &ExternalExporter, app: &App) -> Result<String, Unfilled> {
    let (path, query) =
        exporter.path.as_str().split_once('?').unwrap_or((exporter.path.as_str(), ""));
    let is_replaced = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
        exporter.params.contains_key(&*percent_decode_str(&name).decode_utf8_lossy())
    };
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !is_replaced(pair));
    let mut pairs: Vec<String> = kept.map(str::to_owned).collect();
    for (name, values) in &exporter.params {
        for value in values {
            let value = value.fill(app)?;
            let name = utf8_percent_encode(name, QUERY);
            pairs.push(format!("{name}={}", utf8_percent_encode(&value, QUERY)));
        }
    }
    let question_mark = if pairs.is_empty() { "" } else { "?" };
    Ok(format!("{path}{question_mark}{}", pairs.join("&")))
}

impl Externals {
    pub(super) fn resolver(&self) -> &Resolver {
        &self.exporters.resolver
    }

    /// Puts each target and what came of it together, and counts it.
    pub(super) fn scraped(
        self,
        outcomes: Vec<Outcome>,
    ) -> (Vec<ScrapedExternal>, Vec<UnfilledExporter>) {
        let Self { exporters, targets, unfilled } = self;
        let together = targets.into_iter().zip(outcomes).map(|(target, (_, result))| {
            let (result, bytes) = match result {
                Ok((instance, bytes)) => (Ok(instance), bytes),
                Err(failure) => (Err(failure), 0),
            };
            let reason = result.as_ref().err().map(|failure| failure.reason);
            exporters.metrics.count(&target.exporter.name, reason);
            ScrapedExternal { target, bytes, result }
        });
        (together.collect(), unfilled)
    }
}

impl ExternalTarget {
    /// Looks the exporter up and asks it, at the first of its addresses where
    /// somebody listens.
    pub(super) async fn fetch(
        &self,
        client: &Client,
        resolver: &Resolver,
        ask: &Ask,
        max_body: u64,
        share: &Share,
    ) -> Result<Fetched, Failure> {
        let host = &self.exporter.host;
        let addresses = resolver.addresses(host.name(), host.port()).await;
        let addresses = addresses.map_err(|problem| Failure::new(Reason::Connect, problem))?;
        let fetch = async |address| fetch(client, &self.at(address), ask, max_body, share).await;
        first_that_listens(&addresses, fetch).await
    }

    /// As a target like an instance: the request goes to `address`, and a
    /// certificate must carry the host's name.
    fn at(&self, address: SocketAddr) -> Target {
        let host = &self.exporter.host;
        let endpoint = Endpoint {
            address,
            app: Arc::clone(&self.app),
            index: None,
            process_type: "external_exporter".into(),
            process_instance_id: None,
            availability_zone: None,
            tls: host.tls(),
            http2: false,
            server_cert_domain_san: host.tls().then(|| host.name().into()),
            isolation_segment: None,
            route_service_url: None,
            behind_host: None,
        };
        Target {
            endpoint: Arc::new(endpoint),
            host: host.as_str().to_owned(),
            path: Arc::clone(&self.path),
            headers: Arc::new([]),
            secrets: Secrets::Anywhere,
            max_samples: self.max_samples,
            labels: self.labels.clone(),
        }
    }
}

async fn first_that_listens<T>(
    addresses: &[SocketAddr],
    ask: impl AsyncFn(SocketAddr) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut refused = Failure::new(Reason::Connect, "the host has no address");
    for address in addresses {
        match ask(*address).await {
            Err(failure) if failure.reason == Reason::Connect => refused = failure,
            done => return done,
        }
    }
    Err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ExporterHost, Template};

    #[tokio::test]
    async fn the_next_address_is_asked_only_when_nobody_listens() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let ask = async |address: SocketAddr| match address.port() {
            1 => Err(Failure::new(Reason::Connect, "refused")),
            2 => Err(Failure::new(Reason::Status5xx, "500")),
            port => Ok(port),
        };
        let cases: [(&[u16], Result<u16, Reason>); 5] = [
            (&[3, 4], Ok(3)),
            (&[1, 1, 4], Ok(4)),
            (&[2, 3], Err(Reason::Status5xx)),
            (&[1, 1], Err(Reason::Connect)),
            (&[], Err(Reason::Connect)),
        ];
        for (ports, expected) in cases {
            let addresses: Vec<_> = ports.iter().map(|port| address(*port)).collect();
            let found = first_that_listens(&addresses, ask).await;
            assert_eq!(found.map_err(|failure| failure.reason), expected, "{ports:?}");
        }
    }

    type Params<'a> = &'a [(&'a str, &'a [&'a str])];

    #[test]
    fn parameters_are_filled_in_encoded_and_take_the_place_of_those_in_the_path() {
        let app = App {
            id: "guid".parse().unwrap(),
            name: "my shop&co".into(),
            space_id: None,
            space_name: "".into(),
            organization_id: None,
            organization_name: "".into(),
        };
        let exporter = |path: &str, params: Params<'_>| ExternalExporter {
            name: "e".to_owned(),
            host: ExporterHost::parse("e", false).unwrap(),
            path: path.parse().unwrap(),
            params: params
                .iter()
                .map(|(name, values)| {
                    let values = values.iter().map(|value| Template::parse(value).unwrap());
                    ((*name).to_owned(), values.collect())
                })
                .collect(),
        };
        let cases: [(&str, Params<'_>, &str); 5] = [
            ("/m", &[], "/m"),
            ("/m?x=1", &[], "/m?x=1"),
            ("/m", &[("app", &["{{app_name}}"])], "/m?app=my%20shop%26co"),
            (
                "/m",
                &[("match[]", &["a{}", "{b=\"{{.AppID}}\"}"])],
                "/m?match%5B%5D=a%7B%7D&match%5B%5D=%7Bb%3D%22guid%22%7D",
            ),
            ("/m?a%5B%5D=1&b=2&a[]=3", &[("a[]", &["4"])], "/m?b=2&a%5B%5D=4"),
        ];
        for (path, params, expected) in cases {
            assert_eq!(request_path(&exporter(path, params), &app).unwrap(), expected);
        }
        let missing = exporter("/m", &[("s", &["{{space_name}}"])]);
        assert_eq!(request_path(&missing, &app), Err(Unfilled::Missing));
    }
}
