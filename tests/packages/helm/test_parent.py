"""Another chart contains this one, under its name or an alias, and sets values for all of its charts."""

import pathlib
import shutil
import tempfile
import unittest

import helm_python
import yaml

from helm.chart import CHART, render
from helm.test_rendering import key, validate
from support import VERSION


class Parent(unittest.TestCase):
    def parent(self, *aliases):
        """A chart that depends on this one, once for each alias."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        chart = pathlib.Path(folder.name) / "platform"
        shutil.copytree(CHART, chart / "charts/scrapebroker")
        dependency = {"name": "scrapebroker", "version": VERSION, "repository": "https://charts.example.com"}
        dependencies = [dependency | {"condition": f"{alias}.enabled"} | ({"alias": alias} if alias != "scrapebroker" else {}) for alias in aliases]
        metadata = {"apiVersion": "v2", "name": "platform", "version": "1.2.3", "dependencies": dependencies}
        (chart / "Chart.yaml").write_text(yaml.safe_dump(metadata))
        return chart

    def test_the_condition_of_the_dependency_includes_or_excludes_it(self):
        self.assertEqual(render({"scrapebroker": {"enabled": False}}, path=self.parent("scrapebroker")), [])
        names = {item["metadata"]["name"] for item in render({"scrapebroker": {"enabled": True}}, path=self.parent("scrapebroker"))}
        self.assertLessEqual({"metrics-scrapebroker", "metrics-scrapebroker-test"}, names)

    def test_without_a_parent_chart_the_value_is_refused(self):
        with self.assertRaises(helm_python.HelmError) as caught:
            render({"enabled": False})
        self.assertIn("* enabled: the chart does not use this", str(caught.exception))

    def test_values_for_all_charts_apply_to_all_images(self):
        images = {"image": {"repository": "ghcr.io/scrapebroker/scrapebroker", "tag": "1"}, "imagePullSecrets": [{"name": "own"}]}
        shared = {"imageRegistry": "registry.example.com:5000", "imagePullSecrets": ["a", {"name": "b"}, {"name": "own"}], "storageClass": "x"}
        objects = render({"scrapebroker": images, "global": shared}, path=self.parent("scrapebroker"))
        self.check_images(objects)
        self.check_images(render(images | {"global": shared}))

    def check_images(self, objects):
        pods = [objects.template()["spec"], objects.one("Pod")["spec"]]
        self.assertEqual([pod["containers"][0]["image"] for pod in pods],
                         ["registry.example.com:5000/scrapebroker/scrapebroker:1", "registry.example.com:5000/library/busybox:1.37"])
        for pod in pods:
            self.assertEqual(pod["imagePullSecrets"], [{"name": "a"}, {"name": "b"}, {"name": "own"}])

    def test_the_host_of_a_repository_is_replaced_and_nothing_else(self):
        digest = "sha256:" + "a" * 64
        for repository, expected in [("localhost/a/b", "r/a/b"), ("h:5000/b", "r/b"), ("team/b", "r/team/b"), ("b", "r/b")]:
            values = {"image": {"repository": repository, "digest": digest}, "global": {"imageRegistry": "r/"}}
            self.assertEqual(render(values).container()["image"], f"{expected}@{digest}")
        self.assertEqual(render({"global": {"imageRegistry": None, "imagePullSecrets": None}}).template()["spec"].get("imagePullSecrets"), None)

    def test_two_aliases_have_no_object_and_no_pod_in_common(self):
        monitored = {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}}
        objects = render({"north": monitored, "southEast": monitored}, path=self.parent("north", "southEast"))
        keys = [key(item) for item in objects]
        self.assertEqual(sorted(set(keys)), sorted(keys))
        for item in objects:
            validate(item)
        selectors = [item["spec"]["selector"] for item in objects.all("Service")]
        pods = [item["spec"]["template"]["metadata"]["labels"] for item in objects.all("StatefulSet")]
        self.assertEqual(len(pods), 2)
        for selector in selectors:
            self.assertEqual(sum(selector.items() <= pod.items() for pod in pods), 1)
        jobs = {item["metadata"]["labels"]["app.kubernetes.io/name"] for item in objects.all("Service")}
        self.assertEqual(jobs, {"north", "south-east"})
        rules = [yaml.safe_dump(item["spec"]) for item in objects.all("PrometheusRule")]
        self.assertEqual([[job for job in sorted(jobs) if f'job="{job}"' in text] for text in rules], [["north"], ["south-east"]])
