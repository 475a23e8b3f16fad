"""What docs/install/monitoring.md says is tried as written, in other folders."""

import os
import pathlib
import re
import tempfile
import unittest

import yaml

from support import KUBECTL, ROOT, run

from .files import ALERTS, DASHBOARDS, FOLDER, RECORDED, RULE_FILES

TEXT = (ROOT / "docs" / "install" / "monitoring.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def block(language, word):
    """The code block that contains a word."""
    return next(text for text in blocks(language) if word in text)


class Documentation(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def shell(self, text):
        """Runs commands below another root, without those that control services."""
        lines = [line for line in text.splitlines() if not line.startswith("systemctl")]
        script = re.sub(r"(?<![\w.])/(etc|var)/", rf"{self.folder}/\1/", "\n".join(lines))
        return run("bash", "-euc", script, cwd=ROOT)

    def test_rules_are_installed_and_the_configuration_is_valid(self):
        etc = self.folder / "etc" / "prometheus"
        etc.mkdir(parents=True)
        settings = block("yaml", "scrape_configs").replace("/etc/", f"{self.folder}/etc/")
        (etc / "prometheus.yml").write_text(settings)
        output = self.shell(block("sh", "/etc/prometheus"))
        self.assertIn("SUCCESS: 1 rule files found", output)

    def test_dashboards_are_provisioned(self):
        provisioning = self.folder / "etc" / "grafana" / "provisioning" / "dashboards"
        provisioning.mkdir(parents=True)
        self.shell(block("sh", "/etc/grafana"))
        provider = yaml.safe_load((provisioning / "scrapebroker.yaml").read_text())["providers"][0]
        installed = sorted(path.stem for path in pathlib.Path(provider["options"]["path"]).iterdir())
        self.assertEqual(sorted(DASHBOARDS), installed)

    def test_the_kustomization_has_the_namespace_and_the_labels(self):
        base = os.path.relpath(FOLDER, self.folder.resolve())
        text = block("yaml", "Kustomization").replace("../scrapebroker/deploy/monitoring", base)
        (self.folder / "kustomization.yaml").write_text(text)
        for entry in yaml.safe_load_all(run(KUBECTL, "kustomize", self.folder)):
            self.assertEqual("monitoring", entry["metadata"]["namespace"])
            self.assertEqual("kube-prometheus-stack", entry["metadata"]["labels"]["release"])

    def test_rules_for_disks_are_valid(self):
        path = self.folder / "disk.yml"
        path.write_text(block("yaml", "scrapebroker-disk"))
        run("promtool", "check", "rules", path)

    def test_all_files_and_names_of_promfetcher_are_listed(self):
        files = [*RULE_FILES, *FOLDER.glob("dashboards/*.json"), *FOLDER.glob("*.y*ml")]
        for path in files:
            self.assertIn(f"](../../{path.relative_to(ROOT)})", TEXT)
        table = TEXT.split("## Names of promfetcher's BOSH release")[1]
        dashboard = DASHBOARDS["promfetcher"]
        names = {name for name in ALERTS.keys() | RECORDED if name.lower().startswith("promfetch")}
        titles = {panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"}
        for name in [*names, *titles, dashboard["title"], dashboard["uid"]]:
            self.assertIn(name, table)
