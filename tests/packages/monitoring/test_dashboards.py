"""The dashboards, without Prometheus."""

import itertools
import json
import re
import unittest

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from .files import DASHBOARDS, annotations, expressions, panels, variables

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Grafana's types lack the fields that data sources add to annotations and variables, and the id of a
# dashboard that is not stored.
UNTYPED = re.compile(r"^(annotations\.list|templating\.list\[\d+\]\.definition$|id$)")


def lost(expected, actual, path=""):
    """The paths of values that `actual` lacks or has differently."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            yield from lost(value, actual.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(expected, list) and isinstance(actual, list):
        for index, (left, right) in enumerate(itertools.zip_longest(expected, actual)):
            yield from lost(left, right, f"{path}[{index}]")
    elif expected != actual:
        yield path


def datasources(value):
    """The data sources anywhere in a dashboard."""
    if isinstance(value, dict):
        if "datasource" in value:
            yield value["datasource"]
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from datasources(entry)


def titled_panels():
    """The panels of all dashboards, with their names for messages."""
    return [
        (f"{name}: {panel['title']}", panel)
        for name, dashboard in DASHBOARDS.items()
        for panel in panels(dashboard)
    ]


def cells(panel):
    position = panel["gridPos"]
    columns = range(position["x"], position["x"] + position["w"])
    rows = range(position["y"], position["y"] + position["h"])
    return set(itertools.product(columns, rows))


class Dashboards(unittest.TestCase):
    def test_there_are_six(self):
        expected = ["app", "events", "overview", "pools", "prometheus", "promfetcher"]
        self.assertEqual(expected, list(DASHBOARDS))

    def test_grafana_knows_all_fields(self):
        register_default_plugins()
        for name, dashboard in DASHBOARDS.items():
            understood = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
            unknown = [path for path in lost(dashboard, understood) if not UNTYPED.match(path)]
            self.assertEqual([], unknown, name)

    def test_the_uid_never_changes(self):
        expected = {
            "app": "scrapebroker-app",
            "events": "scrapebroker-events",
            "overview": "scrapebroker-overview",
            "pools": "scrapebroker-pools",
            "prometheus": "scrapebroker-prometheus",
            # That of promfetcher's dashboard.
            "promfetcher": "tools-promfetcher",
        }
        self.assertEqual(expected, {name: dashboard["uid"] for name, dashboard in DASHBOARDS.items()})
        for name, dashboard in DASHBOARDS.items():
            self.assertIsNone(dashboard["id"], name)
            self.assertGreaterEqual(dashboard["schemaVersion"], 39, name)

    def test_panel_ids_are_unique(self):
        for name, dashboard in DASHBOARDS.items():
            ids = [panel["id"] for panel in dashboard["panels"]]
            self.assertEqual(len(ids), len(set(ids)), name)

    def test_panels_fit_the_grid_and_do_not_overlap(self):
        for name, dashboard in DASHBOARDS.items():
            used = set()
            for panel in dashboard["panels"]:
                taken = cells(panel)
                self.assertTrue(all(0 <= x < 24 for x, _ in taken), f"{name}: {panel['title']}")
                self.assertFalse(used & taken, f"{name}: {panel['title']}")
                used |= taken

    def test_panels_beside_each_other_fill_the_width_and_are_equally_high(self):
        # Grafana would move other panels up.
        for name, dashboard in DASHBOARDS.items():
            positions = [panel["gridPos"] for panel in dashboard["panels"]]
            for y, line in itertools.groupby(positions, lambda position: position["y"]):
                line = list(line)
                self.assertEqual(24, sum(position["w"] for position in line), f"{name}, y {y}")
                self.assertEqual(1, len({position["h"] for position in line}), f"{name}, y {y}")

    def test_each_panel_has_a_unit_and_a_description(self):
        known = {unit for name, unit in vars(units).items() if not name.startswith("_") and isinstance(unit, str)}
        for name, panel in titled_panels():
            self.assertIn(panel["fieldConfig"]["defaults"]["unit"], known, name)
            self.assertRegex(panel["description"], r"^[A-Z].*\.$", name)

    def test_each_query_has_a_different_reference(self):
        for name, panel in titled_panels():
            references = [target["refId"] for target in panel["targets"]]
            self.assertTrue(references, name)
            self.assertEqual(len(references), len(set(references)), name)

    def test_no_datasource_is_fixed(self):
        for name, dashboard in DASHBOARDS.items():
            self.assertEqual("datasource", dashboard["templating"]["list"][0]["type"], name)
            grafana, *others = datasources(dashboard)
            self.assertEqual({"type": "grafana", "uid": "-- Grafana --"}, grafana, name)
            self.assertTrue(all(source == DATASOURCE for source in others), name)
            queries = [target for panel in panels(dashboard) for target in panel["targets"]]
            self.assertTrue(all("datasource" in entry for entry in panels(dashboard) + queries), name)

    def test_expressions_use_only_variables_of_the_dashboard(self):
        for name, dashboard in DASHBOARDS.items():
            known = {entry["name"] for entry in dashboard["templating"]["list"]}
            known |= {"__interval", "__rate_interval", "__range"}
            used = {name for text in expressions(dashboard) for name in re.findall(r"\$\{?(\w+)", text)}
            self.assertLessEqual(used, known, name)

    def test_each_variable_is_used(self):
        for name, dashboard in DASHBOARDS.items():
            text = " ".join(expressions(dashboard))
            for variable in variables(dashboard, "query") + variables(dashboard, "textbox"):
                self.assertRegex(text, rf"\${variable['name']}\b", name)

    def test_rates_use_the_interval_of_the_datasource(self):
        for name, dashboard in DASHBOARDS.items():
            # promfetcher's panels have fixed ranges.
            if name != "promfetcher":
                text = " ".join(expressions(dashboard))
                self.assertNotRegex(text, r"\[\d+[smhd]\]", name)

    def test_no_query_hides_missing_data(self):
        for name, dashboard in DASHBOARDS.items():
            self.assertNotIn("or vector", " ".join(expressions(dashboard)), name)

    def test_events_are_annotations(self):
        for name, dashboard in DASHBOARDS.items():
            if name != "promfetcher":
                self.assertRegex(" ".join(annotations(dashboard)), r"^last_over_time\(.*\[\$__interval\]\)$")

    def test_dashboards_link_to_each_other(self):
        for name, dashboard in DASHBOARDS.items():
            self.assertIn("scrapebroker", dashboard["tags"], name)
            self.assertEqual(["scrapebroker"], dashboard["links"][0]["tags"], name)

    def test_links_lead_to_dashboards_with_these_variables(self):
        by_uid = {dashboard["uid"]: dashboard for dashboard in DASHBOARDS.values()}
        urls = re.findall(r'"url": "(/d/[^"]*)"', json.dumps(list(DASHBOARDS.values())))
        self.assertTrue(urls)
        for url in urls:
            uid, query = re.fullmatch(r"/d/([\w-]+)\?(.*)", url).groups()
            names = {entry["name"] for entry in by_uid[uid]["templating"]["list"]}
            self.assertLessEqual(set(re.findall(r"var-(\w+)=", query)), names)

    def test_promfetchers_panels_have_its_titles(self):
        titles = [panel["title"] for panel in panels(DASHBOARDS["promfetcher"])]
        expected = [
            "Gorouter errors",
            "Failure percentage",
            "Successful fetch per Apps",
            "Failures per Apps",
            "Successful fetch per Apps",
            "Metric fetch per minute",
        ]
        self.assertEqual(expected, titles)
