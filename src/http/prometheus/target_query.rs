//! Parameters of the page of a Prometheus: which targets and which metric it shows.

use crate::{
    http::{query::Problem, ui::list::has_words},
    query::{MetricName, TargetHealth, TargetStatus},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt::Write;
use url::form_urlencoded;

/// Maximum length of a filter, bytes.
const MAX_FILTER: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TargetQuery {
    /// As the user typed it.
    pub(super) filter: String,
    /// `None`: targets in any state.
    pub(super) health: Option<TargetHealth>,
    /// From 1 on.
    pub(super) page: usize,
    /// The metric of the plot. `None`: the default.
    pub(super) metric: Option<MetricName>,
}

impl TargetQuery {
    const HEALTHS: [TargetHealth; 3] =
        [TargetHealth::Down, TargetHealth::Up, TargetHealth::Unknown];

    /// Parses a query string. Empty values are those of an empty form.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parsed = Self { filter: String::new(), health: None, page: 1, metric: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                _ if value.is_empty() => {}
                "q" if value.len() > MAX_FILTER => {
                    return Err(Problem::Parameter("q", "at most 200 bytes"));
                }
                "q" => parsed.filter = value.into_owned(),
                "state" if value == "all" => parsed.health = None,
                "state" => {
                    let found = Self::HEALTHS.into_iter().find(|it| it.as_str() == value);
                    let expected = Problem::Parameter("state", "one of all, down, up, unknown");
                    parsed.health = Some(found.ok_or(expected)?);
                }
                "page" => parsed.page = page(&value)?,
                "metric" => {
                    let expected = "the name of a metric: letters, digits, _ and :";
                    let metric = value.parse().map_err(|_| Problem::Parameter("metric", expected));
                    parsed.metric = Some(metric?);
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    /// The targets that are in the state, and contain all words of the filter in any case.
    /// `shown_error` returns the error that the page shows of a failing target, which may be another
    /// than that of Prometheus.
    pub(super) fn select<'a>(
        &self,
        targets: &'a [TargetStatus],
        shown_error: impl Fn(&TargetStatus) -> Option<String>,
    ) -> Vec<&'a TargetStatus> {
        let words: Vec<_> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let matches = |target: &TargetStatus| {
            if words.is_empty() {
                return true;
            }
            let TargetStatus { app, app_id, name, instance, error, .. } = target;
            let shown = shown_error(target).unwrap_or_default();
            has_words(&format!("{app} {app_id} {name} {instance} {error} {shown}"), &words)
        };
        let in_state =
            targets.iter().filter(|it| self.health.is_none_or(|health| it.health == health));
        in_state.filter(|it| matches(it)).collect()
    }

    pub(super) fn with_health(&self, health: Option<TargetHealth>) -> String {
        Self { health, page: 1, ..self.clone() }.href()
    }

    pub(super) fn with_page(&self, page: usize) -> String {
        Self { page, ..self.clone() }.href()
    }

    /// A relative link to the targets of the same page.
    fn href(&self) -> String {
        let state = self.health.map_or("all", TargetHealth::as_str);
        let mut href = format!("?state={state}");
        // Writing to a String cannot fail.
        if !self.filter.is_empty() {
            let _ = write!(href, "&q={}", utf8_percent_encode(&self.filter, NON_ALPHANUMERIC));
        }
        if let Some(metric) = &self.metric {
            let _ = write!(href, "&metric={}", metric.as_str());
        }
        if self.page > 1 {
            let _ = write!(href, "&page={}", self.page);
        }
        href.push_str("#targets");
        href
    }
}

/// The value of the parameter `page`.
pub(super) fn page(value: &str) -> Result<usize, Problem> {
    let page = value.parse().ok().filter(|page| *page > 0);
    page.ok_or(Problem::Parameter("page", "a number from 1 on"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn target(app: &str, instance: &str, health: TargetHealth) -> TargetStatus {
        TargetStatus {
            app: app.to_owned(),
            app_id: "guid".to_owned(),
            name: format!("web/{instance}"),
            instance: instance.to_owned(),
            health,
            error: String::new(),
            last_scrape: None,
            duration: Duration::ZERO,
        }
    }

    #[test]
    fn links_lead_to_the_same_page_with_one_change() {
        let query = "q=Caf%C3%A9+%22shop%22&state=down&metric=a%3Ab&page=3";
        let query = TargetQuery::parse(query).unwrap();
        assert_eq!((&*query.filter, query.page), ("Café \"shop\"", 3));
        let parsed = |href: String| {
            let query = href.strip_prefix('?').unwrap().strip_suffix("#targets").unwrap();
            TargetQuery::parse(query).unwrap()
        };
        assert_eq!(parsed(query.with_page(4)), TargetQuery { page: 4, ..query.clone() });
        let all = TargetQuery { health: None, page: 1, ..query.clone() };
        assert_eq!(parsed(query.with_health(None)), all);
    }

    #[test]
    fn wrong_parameters_are_refused_and_empty_ones_ignored() {
        for query in ["", "q=&state=&page=&metric=", "state=all", "other=1"] {
            let expected =
                TargetQuery { filter: String::new(), health: None, page: 1, metric: None };
            assert_eq!(TargetQuery::parse(query).unwrap(), expected, "{query}");
        }
        let long = format!("q={}", "a".repeat(201));
        for query in ["state=failing", "page=0", "page=-1", "page=x", "metric=up%7B%7D", &long] {
            let problem = TargetQuery::parse(query).unwrap_err().to_string();
            assert!(problem.contains(" must be "), "{query}: {problem}");
        }
    }

    #[test]
    fn targets_are_selected_by_state_and_words() {
        let down = TargetStatus {
            error: "server returned HTTP status 502".to_owned(),
            ..target("acme/prod/shop", "0", TargetHealth::Down)
        };
        let shown = |target: &TargetStatus| {
            (!target.error.is_empty()).then(|| "connect: refused".to_owned())
        };
        let targets = [
            down,
            target("acme/prod/shop", "1", TargetHealth::Up),
            target("acme/test/café", "0", TargetHealth::Up),
        ];
        for (query, expected) in [
            ("", &[0, 1, 2][..]),
            ("state=up", &[1, 2]),
            ("q=SHOP", &[0, 1]),
            ("q=shop+web/1", &[1]),
            ("q=CAF%C3%89", &[2]),
            ("q=guid&state=down", &[0]),
            ("q=no&state=up", &[]),
            ("q=refused", &[0]),
            ("q=502", &[0]),
            ("q=refused&state=up", &[]),
        ] {
            let selected = TargetQuery::parse(query).unwrap().select(&targets, shown);
            let expected: Vec<_> = expected.iter().map(|index| &targets[*index]).collect();
            assert_eq!(selected, expected, "{query}");
        }
    }
}
