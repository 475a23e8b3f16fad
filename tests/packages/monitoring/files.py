"""The files in deploy/monitoring, and the metrics that they use."""

import json
import re

import yaml

from support import ROOT

FOLDER = ROOT / "deploy" / "monitoring"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("dashboards/*.json"))}
RULE_FILES = sorted(FOLDER.glob("rules/*.yml"))
RULES = [
    rule
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
METRIC = re.compile(r"\b(?:scrapebroker|promfetch|promfetcher|process(?!_type|_instance_id)|events_to_metrics)_[a-z_]+")


def panels(dashboard):
    """The panels of a dashboard that show data."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def variables(dashboard, kind):
    return [variable for variable in dashboard["templating"]["list"] if variable["type"] == kind]


def annotations(dashboard):
    """The annotation queries of a dashboard, without the annotations that Grafana stores itself."""
    return [entry["target"]["expr"] for entry in dashboard["annotations"]["list"] if "target" in entry]


def expressions(dashboard):
    """All expressions of a dashboard that Prometheus evaluates."""
    queries = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    return queries + annotations(dashboard) + [entry["definition"] for entry in variables(dashboard, "query")]


def metrics(expression):
    """The families that an expression uses."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in METRIC.findall(expression)}


def documented():
    """The metrics in the tables of the documentation, and those that the merge adds to an app's metrics."""
    lines = (ROOT / "docs" / "OPERATIONS.md").read_text() + (ROOT / "docs" / "API.md").read_text()
    tables = [line for line in lines.splitlines() if line.startswith("|")]
    return {name for line in tables for name in METRIC.findall(line)}
