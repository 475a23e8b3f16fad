//! Targets for external exporters, which are scraped once for each app together with its instances.
//!
//! An exporter is configured by host name and may be on another network. It receives no headers of
//! the scraper. It has the same deadline, limits and memory budget as an instance, and its name is
//! looked up without blocking other requests, so a failing exporter does not affect other targets.

use super::{
    metrics::ScrapeMetrics,
    plan::{
        AppExporter, QUERY, ScrapePlan, ScrapeTarget, SecretScope, TargetKind, UnfilledExporter,
    },
};
use crate::domain::{App, ExternalExporter, FillError};
use exposition::AddedLabels;
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use std::sync::Arc;

/// The configured exporters.
#[derive(Clone, Debug)]
pub struct Exporters {
    list: Arc<[Arc<ExternalExporter>]>,
    metrics: Arc<ScrapeMetrics>,
}

impl Exporters {
    pub fn new(
        list: impl IntoIterator<Item = ExternalExporter>,
        metrics: Arc<ScrapeMetrics>,
    ) -> Self {
        let list: Arc<[_]> = list.into_iter().map(Arc::new).collect();
        list.iter().for_each(|exporter| metrics.exporters.announce(&exporter.name));
        Self { list, metrics }
    }

    /// Adds one target per exporter and app.
    pub fn add_to<'a>(
        &self,
        plan: &mut ScrapePlan,
        apps: impl IntoIterator<Item = &'a Arc<App>>,
        max_samples: usize,
    ) {
        for app in apps {
            for exporter in self.list.iter() {
                match request_path(exporter, app) {
                    Ok(path) => plan.targets.push(self.target(exporter, app, path, max_samples)),
                    Err(why) => {
                        self.metrics.exporters.count_unfilled(&exporter.name);
                        let exporter = AppExporter::new(exporter, app);
                        plan.unfilled.push(UnfilledExporter { exporter, why });
                    }
                }
            }
        }
    }

    fn target(
        &self,
        exporter: &Arc<ExternalExporter>,
        app: &Arc<App>,
        path: String,
        max_samples: usize,
    ) -> ScrapeTarget {
        ScrapeTarget {
            kind: TargetKind::Exporter(AppExporter::new(exporter, app)),
            host: exporter.host.as_str().to_owned(),
            path: path.into(),
            has_own_path: true,
            headers: Arc::new([]),
            secrets: SecretScope::Anywhere,
            max_samples,
            labels: self.labels(exporter, app),
        }
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
fn request_path(exporter: &ExternalExporter, app: &App) -> Result<String, FillError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ExporterHost, Template};

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
        assert_eq!(request_path(&missing, &app), Err(FillError::Missing));
    }
}
