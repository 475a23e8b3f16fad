//! External exporters, scraped once for each app together with its instances.
//!
//! An exporter is configured by host name and may be on another network. It receives no headers of
//! the scraper. It has the same deadline, limits and memory budget as an instance, and [`Resolver`]
//! looks up its name without blocking other requests, so a failing exporter does not affect other
//! targets.

mod metrics;

pub use metrics::ExporterMetrics;

use super::{
    ScrapeRequest,
    client::ScrapeClient,
    failure::{FailureReason, ScrapeFailure},
    fan_out::TargetOutcome,
    fetch::{FetchedBody, fetch},
    memory_budget::Reservation,
    target::{QUERY, ScrapeTarget, SecretScope},
};
use crate::{
    discovery::Endpoint,
    domain::{App, ExternalExporter, Unfilled},
    net::Resolver,
};
use exposition::{AddedLabels, IndexedBody};
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use std::{net::SocketAddr, sync::Arc};

/// The configured exporters.
#[derive(Clone, Debug)]
pub struct Exporters {
    list: Arc<[Arc<ExternalExporter>]>,
    resolver: Resolver,
    metrics: Arc<ExporterMetrics>,
}

/// Exporter targets of one scrape.
#[derive(Debug)]
pub struct ExporterTargets {
    exporters: Exporters,
    pub(super) targets: Vec<ExporterTarget>,
    pub(super) unfilled: Vec<UnfilledExporter>,
}

/// An exporter and the app that it is scraped for.
#[derive(Debug)]
pub(super) struct ExporterTarget {
    pub(super) exporter: Arc<ExternalExporter>,
    pub(super) app: Arc<App>,
    path: Arc<str>,
    pub(super) labels: AddedLabels,
    pub(super) max_samples: usize,
}

/// An exporter that is not scraped because a parameter template cannot be filled in for the app.
#[derive(Debug)]
pub(super) struct UnfilledExporter {
    pub(super) exporter: Arc<ExternalExporter>,
    pub(super) app: Arc<App>,
    pub(super) why: Unfilled,
}

/// Result of scraping an exporter.
#[derive(Debug)]
pub(super) struct ExporterScrape {
    pub(super) target: ExporterTarget,
    /// Size of its body in memory.
    pub(super) bytes: u64,
    pub(super) result: Result<IndexedBody, ScrapeFailure>,
}

impl Exporters {
    pub fn new(
        list: impl IntoIterator<Item = ExternalExporter>,
        resolver: Resolver,
        metrics: ExporterMetrics,
    ) -> Self {
        let list: Arc<[_]> = list.into_iter().map(Arc::new).collect();
        list.iter().for_each(|exporter| metrics.announce(&exporter.name));
        Self { list, resolver, metrics: Arc::new(metrics) }
    }

    /// No targets.
    pub fn no_targets(&self) -> ExporterTargets {
        ExporterTargets { exporters: self.clone(), targets: Vec::new(), unfilled: Vec::new() }
    }

    /// One target per exporter and app.
    pub fn targets_for<'a>(
        &self,
        apps: impl IntoIterator<Item = &'a Arc<App>>,
        max_samples: usize,
    ) -> ExporterTargets {
        let mut externals = self.no_targets();
        for app in apps {
            for exporter in self.list.iter() {
                let (exporter, app) = (Arc::clone(exporter), Arc::clone(app));
                match request_path(&exporter, &app).map(Arc::from) {
                    Ok(path) => {
                        let labels = self.labels(&exporter, &app);
                        let target = ExporterTarget { exporter, app, path, labels, max_samples };
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

    /// The labels of the app. With several exporters, also the exporter's name, so that two
    /// exporters with the same family do not have the same series.
    fn labels(&self, exporter: &ExternalExporter, app: &App) -> AddedLabels {
        let name = (self.list.len() > 1).then_some(("exporter", &*exporter.name));
        AddedLabels::new(app.labels().into_iter().chain(name))
    }
}

/// The path with the parameters filled in. As in promfetcher, a parameter replaces one with the
/// same name in the path.
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

impl ExporterTargets {
    pub(super) fn resolver(&self) -> &Resolver {
        &self.exporters.resolver
    }

    /// Combines each target with its outcome, and counts it.
    pub(super) fn scraped(
        self,
        outcomes: Vec<TargetOutcome>,
    ) -> (Vec<ExporterScrape>, Vec<UnfilledExporter>) {
        let Self { exporters, targets, unfilled } = self;
        let together = targets.into_iter().zip(outcomes).map(|(target, (_, result))| {
            let (result, bytes) = match result {
                Ok((instance, bytes)) => (Ok(instance), bytes),
                Err(failure) => (Err(failure), 0),
            };
            let reason = result.as_ref().err().map(|failure| failure.reason);
            exporters.metrics.count(&target.exporter.name, reason);
            ExporterScrape { target, bytes, result }
        });
        (together.collect(), unfilled)
    }
}

impl ExporterTarget {
    /// Looks up the exporter's addresses and scrapes the first one that accepts connections.
    pub(super) async fn fetch(
        &self,
        client: &ScrapeClient,
        resolver: &Resolver,
        request: &ScrapeRequest,
        max_body: u64,
        reservation: &Reservation,
    ) -> Result<FetchedBody, ScrapeFailure> {
        let host = &self.exporter.host;
        let addresses = resolver.addresses(host.name(), host.port()).await;
        let addresses = addresses.map_err(|error| {
            ScrapeFailure::new(FailureReason::Connect, format!("host not found: {error}"))
        })?;
        let fetch =
            async |address| fetch(client, &self.at(address), request, max_body, reservation).await;
        first_that_listens(&addresses, fetch).await
    }

    /// A target for `address`, whose certificate must contain the host's name.
    fn at(&self, address: SocketAddr) -> ScrapeTarget {
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
        ScrapeTarget {
            endpoint: Arc::new(endpoint),
            host: host.as_str().to_owned(),
            path: Arc::clone(&self.path),
            headers: Arc::new([]),
            secrets: SecretScope::Anywhere,
            max_samples: self.max_samples,
            labels: self.labels.clone(),
        }
    }
}

async fn first_that_listens<T>(
    addresses: &[SocketAddr],
    request: impl AsyncFn(SocketAddr) -> Result<T, ScrapeFailure>,
) -> Result<T, ScrapeFailure> {
    let mut refused = ScrapeFailure::new(FailureReason::Connect, "the host has no address");
    for address in addresses {
        match request(*address).await {
            Err(failure) if failure.reason == FailureReason::Connect => refused = failure,
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
    async fn the_next_address_is_tried_only_after_a_failed_connection() {
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let request = async |address: SocketAddr| match address.port() {
            1 => Err(ScrapeFailure::new(FailureReason::Connect, "refused")),
            2 => Err(ScrapeFailure::new(FailureReason::Status5xx, "500")),
            port => Ok(port),
        };
        let cases: [(&[u16], Result<u16, FailureReason>); 5] = [
            (&[3, 4], Ok(3)),
            (&[1, 1, 4], Ok(4)),
            (&[2, 3], Err(FailureReason::Status5xx)),
            (&[1, 1], Err(FailureReason::Connect)),
            (&[], Err(FailureReason::Connect)),
        ];
        for (ports, expected) in cases {
            let addresses: Vec<_> = ports.iter().map(|port| address(*port)).collect();
            let found = first_that_listens(&addresses, request).await;
            assert_eq!(found.map_err(|failure| failure.reason), expected, "{ports:?}");
        }
    }

    type Params<'a> = &'a [(&'a str, &'a [&'a str])];

    #[test]
    fn parameters_are_filled_in_and_encoded_and_replace_those_in_the_path() {
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
