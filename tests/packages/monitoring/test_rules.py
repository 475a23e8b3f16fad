"""The rules: Prometheus accepts them, and each alert fires when it should and only then."""

import pathlib
import re
import tempfile
import unittest

import yaml

from support import ROOT, run

from .files import ALERTS, FOLDER, RECORDED, RULE_FILES, RULES

CASES = yaml.safe_load((pathlib.Path(__file__).parent / "alerts.yml").read_text())
OWN = {"job": "scrapebroker", "instance": "a"}


def series(case):
    own = ", ".join(f'{name}="{value}"' for name, value in OWN.items())
    return [
        {"series": name.replace("{@", "{" + own), "values": values} for name, values in case["series"].items()
    ]


def expected_alert(alert, case):
    """The alert that a case expects, with all its labels and annotations."""
    rule = ALERTS[alert]
    kept = {name: value for name, value in OWN.items() if name not in case.get("without", [])}
    texts = {key: case[key] for key in ("summary", "description") if key in case}
    return {
        "exp_labels": {**kept, **rule["labels"], **case.get("labels", {})},
        "exp_annotations": {**rule["annotations"], **texts},
    }


def times(value):
    return value if isinstance(value, list) else [value]


def promtool_test(alert, name, case):
    fires = name.startswith("fires")
    expected = [(at, [expected_alert(alert, case)] if fires else []) for at in times(case["at"])]
    expected += [(at, []) for at in times(case.get("not_at", []))]
    return {
        "name": f"{alert}: {name}",
        "interval": "1m",
        "input_series": series(case),
        "alert_rule_test": [
            {"alertname": alert, "eval_time": at, "exp_alerts": alerts} for at, alerts in expected
        ],
    }


def recording_test():
    """Failed scrapes of two instances of an app become one rate."""
    labels = 'organization_name="acme", space_name="demo", app_name="shop"'
    values = "0+60x20"
    return {
        "name": "promfetch_metric_fetch_failed_by_app",
        "interval": "1m",
        "input_series": [
            {"series": f'promfetch_metric_fetch_failed_total{{{labels}, index="{index}"}}', "values": values}
            for index in range(2)
        ],
        "promql_expr_test": [
            {
                "expr": "promfetch_metric_fetch_failed_by_app",
                "eval_time": "15m",
                "exp_samples": [{"labels": f"promfetch_metric_fetch_failed_by_app{{{labels}}}", "value": 2}],
            }
        ],
    }


class Rules(unittest.TestCase):
    def test_prometheus_accepts_them(self):
        run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)

    def test_alerts_fire_when_they_should(self):
        tests = [promtool_test(alert, name, case) for alert, cases in CASES.items() for name, case in cases.items()]
        content = {
            "rule_files": [str(path) for path in RULE_FILES],
            "evaluation_interval": "1m",
            "tests": [*tests, recording_test()],
        }
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tests.yml"
            path.write_text(yaml.safe_dump(content, sort_keys=False))
            run("promtool", "test", "rules", path)

    def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(self):
        self.assertEqual(set(ALERTS), set(CASES))
        for alert, cases in CASES.items():
            self.assertLessEqual({"fires", "quiet"}, set(cases), alert)

    def test_alerts_that_wait_have_a_time_at_which_they_do_not_fire_yet(self):
        for alert, rule in ALERTS.items():
            self.assertEqual("for" in rule, "not_at" in CASES[alert]["fires"], alert)

    def test_samples_are_in_promtools_notation(self):
        # YAML reads 0x20 without quotes as 32.
        for alert, cases in CASES.items():
            for case in cases.values():
                self.assertTrue(all(isinstance(values, str) for values in case["series"].values()), alert)

    def test_no_name_is_used_twice(self):
        self.assertEqual(len(RULES), len(ALERTS) + len(RECORDED))

    def test_each_alert_has_a_severity_and_texts(self):
        for alert, rule in ALERTS.items():
            self.assertIn(rule["labels"]["severity"], ["critical", "warning"], alert)
            self.assertEqual({"summary", "description", "runbook_url"}, set(rule["annotations"]), alert)
            for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
                self.assertRegex(text, r"\.$", alert)

    def test_runbooks_exist(self):
        for alert, rule in ALERTS.items():
            url = rule["annotations"]["runbook_url"]
            path, anchor = re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+/blob/main/(.*)#(.*)", url).groups()
            text = (ROOT / path).read_text()
            self.assertIn(f"\n## {alert}\n", text)
            self.assertEqual(alert.lower(), anchor)

    def test_promfetchers_names_stay(self):
        rules = yaml.safe_load((FOLDER / "rules" / "promfetcher.yml").read_text())["groups"][0]["rules"]
        names = {rule.get("alert", rule.get("record")) for rule in rules}
        self.assertEqual({"PromfetcherNoRouteScrape", "promfetch_metric_fetch_failed_by_app"}, names)
        self.assertEqual("promfetcher", ALERTS["PromfetcherNoRouteScrape"]["labels"]["service"])
