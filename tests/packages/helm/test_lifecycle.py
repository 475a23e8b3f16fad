"""Helm installs, tests, upgrades and removes releases. The API server is a stand-in, Helm and the program are real."""

import unittest

import helm_python

from helm.chart import CHART, NAMESPACE, Objects, render, value_sets
from helm.cluster import OPERATOR, Cluster
from helm.test_running import VALUES, program, run_test_pod, with_free_ports

NAME = "metrics"


def objects_of(cluster):
    return Objects.of(cluster.objects.values())


def expected_names(values, apis):
    """Kinds and names of the objects of a release, without the pod of the test."""
    return {(item["kind"], item["metadata"]["name"]) for item in render(values, apis=apis) if item["kind"] != "Pod"}


def api_versions(kinds):
    return [*kinds, *(f"{version}/{kind}" for version, listed in kinds.items() for kind in listed)]


class Lifecycle(unittest.TestCase):
    def test_an_installation_runs_passes_its_test_and_is_removed_without_a_trace(self):
        values, ports = with_free_ports(VALUES)
        cluster = Cluster(run_pod=lambda pod: self.run_pod(cluster, pod, ports))
        with cluster, cluster.helm(NAMESPACE) as helm:
            helm.install(CHART, NAME, values, namespace=NAMESPACE, wait="watcher", timeout=30)
            self.assertEqual(cluster.names(), expected_names(values, []))
            with program(objects_of(cluster), ports):
                helm.test(NAME, timeout=30)
            # The pod of a test that succeeded is deleted.
            self.assertEqual(cluster.names(), expected_names(values, []))
            helm.uninstall(NAME)
            self.assertEqual(cluster.names(), set())

    def test_the_test_of_a_release_that_does_not_answer_fails(self):
        values, ports = with_free_ports(VALUES)
        cluster = Cluster(run_pod=lambda pod: self.run_pod(cluster, pod, ports))
        with cluster, cluster.helm(NAMESPACE) as helm:
            helm.install(CHART, NAME, values, namespace=NAMESPACE)
            with self.assertRaises(helm_python.HelmReleaseError):
                helm.test(NAME, timeout=30)

    def run_pod(self, cluster, pod, ports):
        objects = Objects.of([*cluster.objects.values()])
        self.assertIn(pod["metadata"]["name"], [item["metadata"]["name"] for item in objects.all("Pod")])
        return run_test_pod(objects, f"http://127.0.0.1:{ports['metrics']}").returncode == 0

    def test_each_kind_of_installation_is_accepted_and_upgraded(self):
        changes = {"podAnnotations": {"changed": "yes"}, "commonLabels": {"changed": "yes"}}
        for name in ["default", "postgresql", "monitoring", "query-pools", "network-policy", "ingress", "everything-else"]:
            values = value_sets()[name]
            with self.subTest(name), Cluster(OPERATOR) as cluster, cluster.helm(NAMESPACE) as helm:
                helm.install(CHART, NAME, values, namespace=NAMESPACE)
                self.assertEqual(cluster.names(), expected_names(values, api_versions(OPERATOR)))
                helm.upgrade(CHART, NAME, values | changes, namespace=NAMESPACE)
                self.assertEqual(cluster.names(), expected_names(values, api_versions(OPERATOR)))
                self.assertEqual(objects_of(cluster).template()["metadata"]["annotations"]["changed"], "yes")

    def test_keys_that_are_removed_from_the_values_are_removed_from_the_secrets(self):
        before = {"secretFiles": {"old": "an old secret", "kept": "x"}, "broker": {"username": "cc", "password": "its long password", "tokenKey": "t"}}
        after = {"secretFiles": {"kept": "y"}, "broker": {"username": None, "password": None, "tokenKey": "t"}}
        with Cluster() as cluster, cluster.helm(NAMESPACE) as helm:
            helm.install(CHART, NAME, before, namespace=NAMESPACE)
            self.assertEqual(set(objects_of(cluster).secrets()["metrics-scrapebroker-broker"]), {"username", "password", "token-key"})
            helm.upgrade(CHART, NAME, after, namespace=NAMESPACE)
            self.assertEqual(objects_of(cluster).secrets(), {
                "metrics-scrapebroker-broker": {"token-key": "t"}, "metrics-scrapebroker-files": {"kept": "y"}})

    def test_the_stand_in_keeps_keys_of_string_data_as_the_api_server_does(self):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
        with Cluster() as cluster, cluster.helm(NAMESPACE) as helm:
            for data in [{"a": "1", "b": "2"}, {"a": "3"}]:
                values = {"extraObjects": [secret | {"stringData": data}]}
                (helm.upgrade if cluster.objects else helm.install)(CHART, NAME, values, namespace=NAMESPACE)
            self.assertEqual(objects_of(cluster).secrets()["s"], {"a": "3", "b": "2"})

    def test_a_cluster_without_the_operator_gets_no_monitors_and_the_notes_say_so(self):
        values = value_sets()["monitoring"]
        with Cluster() as cluster, cluster.helm(NAMESPACE) as helm:
            release = helm.install(CHART, NAME, values, namespace=NAMESPACE)
            self.assertEqual({kind for kind, _ in cluster.names()}, {"ConfigMap", "Secret", "Service", "ServiceAccount", "StatefulSet"})
            self.assertIn("the cluster has no monitoring.coreos.com/v1 ServiceMonitor", release["notes"])

    def test_a_change_of_the_volume_is_refused_as_the_page_says(self):
        with Cluster() as cluster, cluster.helm(NAMESPACE) as helm:
            helm.install(CHART, NAME, {}, namespace=NAMESPACE)
            with self.assertRaisesRegex(helm_python.HelmError, "spec.volumeClaimTemplates: Forbidden"):
                helm.upgrade(CHART, NAME, {"persistence": {"size": "3Gi"}}, namespace=NAMESPACE)

    def test_wrong_values_install_nothing(self):
        with Cluster() as cluster, cluster.helm(NAMESPACE) as helm:
            for values in [{"replicaCount": 2}, {"replicaCont": 2}]:
                with self.assertRaisesRegex(helm_python.HelmError, "replicaCont|replicaCount"):
                    helm.install(CHART, NAME, values, namespace=NAMESPACE)
            self.assertEqual(cluster.names(), set())
