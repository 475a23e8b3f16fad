"""Prometheus scrapes the pods and the events of the manifests as those of the Helm chart."""

import pathlib
import tempfile
import unittest

from helm import chart
from helm.test_prometheus import prometheus_targets, scrape_config
from kustomize import manifests

PODS = {"a": "10.0.0.1", "b": "10.0.0.2"}


def targets(monitor, ports):
    """URL and labels of each target that a Prometheus makes of a ServiceMonitor and two pods."""
    jobs = []
    for endpoint in monitor["spec"]["endpoints"]:
        pods = {pod: f"{address}:{ports[endpoint['port']]}" for pod, address in PODS.items()}
        jobs.append(scrape_config(endpoint, pods, "scrapebroker", namespace="metrics"))
    with tempfile.TemporaryDirectory() as folder:
        found = prometheus_targets(folder, jobs, lambda target: True)
    return sorted((target["scrapeUrl"], sorted(target["labels"].items())) for target in found)


class MonitorTest(unittest.TestCase):
    """The ServiceMonitor with the components for events, beside that of the chart."""

    def test_the_service_is_the_only_target_of_events(self):
        with tempfile.TemporaryDirectory() as folder:
            found = manifests.objects(manifests.render_all(pathlib.Path(folder), "base", manifests.COMPONENTS))
        ports = {port["name"]: port["containerPort"] for port in manifests.container(found)["ports"]}
        mine = targets(manifests.only(found, "ServiceMonitor"), ports)
        urls = [url for url, _ in mine]
        events = "http://scrapebroker.metrics.svc:8090/metrics"
        self.assertEqual(["http://10.0.0.1:8085/metrics", "http://10.0.0.2:8085/metrics", events], urls)
        self.assertEqual("scrapebroker.metrics.svc:8090", dict(mine[2][1])["instance"])

        values = {"config": {"events": {"listen": "0.0.0.0:8090"}}, "serviceMonitor": {"enabled": True, "events": {"enabled": True}}}
        rendered = chart.render(values, name="scrapebroker", namespace="metrics")
        self.assertEqual(targets(rendered.one("ServiceMonitor"), ports), mine)

    def test_the_other_fields_of_the_endpoint_are_those_of_the_chart(self):
        with tempfile.TemporaryDirectory() as folder:
            found = manifests.objects(manifests.render_all(pathlib.Path(folder), "base", manifests.COMPONENTS))
        (mine,) = [it for it in manifests.only(found, "ServiceMonitor")["spec"]["endpoints"] if it["port"] == "events"]
        values = {"config": {"events": {"listen": "0.0.0.0:8090"}}, "serviceMonitor": {"enabled": True, "events": {"enabled": True}}}
        (theirs,) = [it for it in chart.render(values).one("ServiceMonitor")["spec"]["endpoints"] if it["port"] == "events"]
        differing = {key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key)}
        # http is the default.
        self.assertEqual({"relabelings", "scheme"}, differing)

    def test_without_the_component_events_are_not_scraped(self):
        with tempfile.TemporaryDirectory() as folder:
            found = manifests.objects(manifests.render_all(pathlib.Path(folder), "base", ["prometheus-operator", "events"]))
        endpoints = manifests.only(found, "ServiceMonitor")["spec"]["endpoints"]
        self.assertEqual(["metrics"], [endpoint["port"] for endpoint in endpoints])
