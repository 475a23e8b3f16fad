"""The files that scripts/render-monitoring writes."""

import sys
import unittest

import yaml

from support import KUBECTL, ROOT, run

from .files import FOLDER, RULE_FILES


class RenderedFiles(unittest.TestCase):
    def test_committed_files_equal_the_rendered_ones(self):
        run(sys.executable, ROOT / "scripts" / "render-monitoring", "--check")

    def test_the_prometheus_rules_have_all_groups(self):
        expected = [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]
        rules = [yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("prometheus-rule*.yml"), reverse=True)]
        self.assertCountEqual(expected, [group for rule in rules for group in rule["spec"]["groups"]])
        self.assertEqual(len(expected), len({group["name"] for group in expected}), "two groups have one name")
        self.assertEqual(len(RULE_FILES), len({rule["metadata"]["name"] for rule in rules}))

    def test_kustomize_makes_a_config_map_of_each_dashboard(self):
        objects = list(yaml.safe_load_all(run(KUBECTL, "kustomize", FOLDER)))
        maps = [entry for entry in objects if entry["kind"] == "ConfigMap"]
        texts = {name: text for entry in maps for name, text in entry["data"].items()}
        expected = {path.name: path.read_text() for path in FOLDER.glob("dashboards/*.json")}
        self.assertEqual(expected, texts)
        for entry in maps:
            self.assertEqual("1", entry["metadata"]["labels"]["grafana_dashboard"])
            size = len(str(entry))
            self.assertLess(size, 256 * 1024, "kubectl apply stores a copy of at most 256 KiB")
        self.assertIn("PrometheusRule", [entry["kind"] for entry in objects])
