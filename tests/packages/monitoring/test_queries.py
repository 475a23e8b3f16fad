"""The queries of dashboards, run by a Prometheus that scraped a demo."""

import math
import re
import unittest

from . import live
from .files import ALERTS, DASHBOARDS, RECORDED, RULES, annotations, documented, expressions, metrics, panels, variables

INTERVALS = {"__rate_interval": "10s", "__interval": "5s", "__range": "60s"}
LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)", re.DOTALL)
# Its series appear with the first query over a gap, and Scrapebroker needs longer than a test to find gaps.
WITHOUT_SERIES = {"scrapebroker_query_pool_gaps_total"}


def interpolate(text, values):
    """Inserts the values of variables, as Grafana does."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found.group(1)], text)


def has_values(result):
    """Whether a series has a value that Grafana shows."""
    samples = [sample for series in result for sample in series.get("values", [series.get("value")])]
    return any(math.isfinite(float(value)) for _, value in samples)


class Queries(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.demo, cls.prometheus = cls.enterClassContext(live.observed_demo())

    def values(self, dashboard):
        """The values of the variables of a dashboard: all of those that it offers, or the last."""
        values = dict(INTERVALS)
        for variable in dashboard["templating"]["list"]:
            name = variable["name"]
            if variable["type"] == "textbox":
                values[name] = variable["query"]
            elif variable["type"] == "query":
                series, label = LABEL_VALUES.fullmatch(variable["definition"]).groups()
                offered = self.prometheus.label_values(interpolate(series, values), label)
                self.assertTrue(offered, f"{dashboard['title']}: ${name} offers nothing")
                escaped = [re.escape(value).replace("\\", "\\\\") for value in offered]
                values[name] = f"({'|'.join(escaped)})" if variable["multi"] else offered[-1]
        return values

    def test_each_variable_offers_values(self):
        for dashboard in DASHBOARDS.values():
            self.values(dashboard)

    def test_each_query_of_a_panel_returns_data(self):
        empty = []
        for dashboard in DASHBOARDS.values():
            values = self.values(dashboard)
            for panel in panels(dashboard):
                run = self.prometheus.instant if panel["type"] == "table" else self.prometheus.graph
                for target in panel["targets"]:
                    expression = interpolate(target["expr"], values)
                    if not has_values(run(expression)) and not metrics(expression) <= WITHOUT_SERIES:
                        empty.append(f"{dashboard['title']}, {panel['title']}: {expression}")
        self.assertEqual([], empty)

    def test_columns_of_tables_are_in_the_answers(self):
        for dashboard in DASHBOARDS.values():
            values = self.values(dashboard)
            for panel in panels(dashboard):
                if panel["type"] == "table":
                    texts = [interpolate(entry["expr"], values) for entry in panel["targets"]]
                    results = [self.prometheus.instant(text) for text in texts]
                    labels = {label for result in results for series in result for label in series["metric"]}
                    organize = panel["transformations"][-1]["options"]
                    columns = {name for name in organize["indexByName"] if not name.startswith("Value")}
                    self.assertLessEqual(columns, labels, panel["title"])

    def test_legends_use_labels_of_the_answers(self):
        for dashboard in DASHBOARDS.values():
            values = self.values(dashboard)
            for panel in panels(dashboard):
                for target in panel["targets"]:
                    used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) - {"process_type"}
                    result = self.prometheus.graph(interpolate(target["expr"], values)) if used else []
                    labels = {label for series in result for label in series["metric"]}
                    if result:
                        self.assertLessEqual(used, labels, f"{dashboard['title']}, {panel['title']}")

    def test_each_annotation_finds_events(self):
        for dashboard in DASHBOARDS.values():
            for expression in annotations(dashboard):
                result = self.prometheus.graph(interpolate(expression, self.values(dashboard)))
                kinds = {series["metric"].get("type") for series in result}
                self.assertLessEqual({"deploy", "backup"}, kinds, dashboard["title"])

    def test_the_app_dashboard_works_with_targets_of_service_discovery(self):
        dashboard = DASHBOARDS["app"]
        values = self.values(dashboard) | {"app_job": "apps", "index": ".*"}
        for panel in panels(dashboard):
            expression = panel["targets"][0]["expr"]
            if "Merged metrics only" not in panel["description"]:
                result = self.prometheus.graph(interpolate(expression, values))
                self.assertTrue(has_values(result), panel["title"])
                # Not counted twice, although another job scrapes the same instances.
                if panel["title"] in ("Up", "Failed"):
                    expected = {"Up": "2", "Failed": "1"}[panel["title"]]
                    self.assertEqual(expected, result[0]["values"][-1][1], panel["title"])

    def test_rules_are_evaluated_without_errors(self):
        groups = self.prometheus.api("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        self.assertEqual(len(RULES), len(rules))
        for rule in rules:
            self.assertEqual("ok", rule["health"], rule["name"])

    def test_alerts_find_what_fails_in_the_demo(self):
        found = {series["metric"]["alertname"] for series in self.prometheus.instant("ALERTS")}
        self.assertIn("ScrapebrokerInstancesFail", found)
        self.assertLessEqual(found, set(ALERTS))

    def test_each_metric_exists(self):
        own = set(self.prometheus.label_values('{job=~"scrapebroker|shop|events"}', "__name__"))
        scraped = {name for family in own for name in metrics(family)}
        used = {name for rule in RULES for name in metrics(rule["expr"])}
        used |= {name for dashboard in DASHBOARDS.values() for text in expressions(dashboard) for name in metrics(text)}
        self.assertEqual(set(), used - scraped - RECORDED - WITHOUT_SERIES)
        self.assertLessEqual(WITHOUT_SERIES, documented())
