"""The documentation of the chart matches the chart."""

import base64
import json
import os
import re
import unittest

import yaml

from helm.chart import CHART, PodFolder, load, render, value_sets
from helm.old_charts import OLD_CHARTS
from helm.secrets_outside import existing_secrets
from helm.test_rendering import validate
from support import PROGRAM, ROOT, UPDATE, VERSION, run

PAGE = ROOT / "docs/install/helm.md"
README = CHART / "README.md"
HEADING = "## Values\n\n"


def documented_values():
    """Path, default and description of each value, from the comments of values.yaml that begin with `# --`."""
    values = load().values
    path, description = [], None
    for line in (CHART / "values.yaml").read_text().splitlines():
        if match := re.match(r"( *)# -- (.*)", line):
            description = match[2]
        elif match := re.match(r"( *)([A-Za-z_]+):", line):
            depth = len(match[1]) // 2
            path = path[:depth] + [match[2]]
            if description:
                yield ".".join(path), lookup(values, path), description
            description = None


def lookup(values, path):
    for key in path:
        # Helm drops values that are null.
        values = values.get(key)
    return values


def table():
    rows = ["| Value | Default | Meaning |", "| --- | --- | --- |"]
    for path, default, description in documented_values():
        rows.append(f"| `{path}` | `{json.dumps(default, ensure_ascii=False)}` | {description} |")
    return "\n".join(rows) + "\n"


def leaves(values, documented, path=""):
    for key, value in values.items():
        if isinstance(value, dict) and value and f"{path}{key}" not in documented:
            yield from leaves(value, documented, f"{path}{key}.")
        else:
            yield f"{path}{key}"


class Readme(unittest.TestCase):
    def test_the_table_is_that_of_the_values(self):
        text = README.read_text()
        before, _ = text.split(HEADING)
        expected = before + HEADING + table()
        if UPDATE:
            README.write_text(expected)
        else:
            self.assertEqual(text, expected, "SCRAPEBROKER_UPDATE=1 writes the table")

    def test_each_value_has_a_description(self):
        documented = {path for path, _, _ in documented_values()}
        plain = yaml.safe_load((CHART / "values.yaml").read_text())
        self.assertEqual(set(leaves(plain, documented)), documented)

    def test_the_table_has_no_cells_too_many(self):
        for line in table().splitlines():
            self.assertEqual(line.replace("\\|", "").count("|"), 4, line)


class ChartFile(unittest.TestCase):
    def test_the_versions_are_those_of_the_program(self):
        metadata = load().metadata
        self.assertEqual((metadata["version"], metadata["appVersion"]), (VERSION, VERSION))

    def test_the_icon_is_that_of_the_pages(self):
        kind, data = load().metadata["icon"].split(";base64,")
        self.assertEqual(kind, "data:image/svg+xml")
        self.assertEqual(base64.b64decode(data), (ROOT / "src/http/ui/icon.svg").read_bytes())


class Page(unittest.TestCase):
    def test_each_value_of_the_old_charts_is_in_its_table(self):
        text = PAGE.read_text()
        for chart, keys in OLD_CHARTS.items():
            section = text.split(f"### {chart}\n")[1].split("\n### ")[0].split("\n## ")[0]
            rows = set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
            self.assertEqual(rows, set(keys), chart)

    def test_values_in_its_tables_exist(self):
        documented = {path for path, _, _ in documented_values()}
        cells = re.findall(r"^\| `[^`]+` \| (.*?) \|", PAGE.read_text(), re.MULTILINE)
        named = [name for cell in cells for name in re.findall(r"`([A-Za-z_.]+)", cell)]
        self.assertGreater(len(named), 40)
        for name in named:
            known = name in documented or any(name.startswith(f"{path}.") for path in ["config", *documented])
            self.assertTrue(known, name)

    def test_its_examples_are_accepted(self):
        examples = re.findall(r"^```yaml\n# (\w[-\w]*\.yaml)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        self.assertGreaterEqual(len(examples), 5)
        for name, text in examples:
            # Manifests for Flux and Argo CD, which test_page.py reads.
            if text.startswith("apiVersion: "):
                continue
            with self.subTest(name):
                objects = render(yaml.safe_load(text))
                for item in objects:
                    validate(item)
                with PodFolder(objects, existing_secrets()) as folder:
                    run(PROGRAM, "check-config", env=os.environ | folder.variables)

    def test_there_is_a_value_set_for_each_old_chart(self):
        self.assertLessEqual({"from-demo-exporter", "from-kafka-exporter", "from-oneshotmetricsserver"}, set(value_sets()))
