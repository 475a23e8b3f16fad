"""The pods of the manifests are those of the Helm chart."""

import copy
import pathlib
import tempfile
import unittest

from helm import chart
from kustomize import manifests

POSTGRESQL = {"database": {"type": "postgresql", "existingSecret": "scrapebroker-database"}, "replicaCount": 2}


def comparable(work):
    """Returns what must be equal: the workload without names of labels, files and volumes."""
    spec = copy.deepcopy(work["spec"])
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    container["ports"] = sorted(container["ports"], key=lambda port: port["name"])
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
        # The default.
        container[probe]["httpGet"].pop("scheme", None)
    spread = [
        {key: value for key, value in constraint.items() if key != "labelSelector"}
        for constraint in pod.get("topologySpreadConstraints", [])
    ]
    claims = [
        {key: claim[key] for key in ["apiVersion", "kind", "spec"]} | {"name": claim["metadata"]["name"]}
        for claim in spec.get("volumeClaimTemplates", [])
    ]
    # Those of mounted files differ.
    del pod["volumes"], container["volumeMounts"], container["env"]
    # IfNotPresent is the default of an image with a tag.
    container.pop("imagePullPolicy", None)
    # Retain is the default.
    retention = spec.get("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    pod["topologySpreadConstraints"] = spread
    return {
        "kind": work["kind"],
        "claims": claims,
        "retention": retention,
        "pod": pod,
        **{key: spec.get(key) for key in ["replicas", "strategy", "podManagementPolicy", "revisionHistoryLimit"]},
    }


class ChartTest(unittest.TestCase):
    """The chart with its default values, and with PostgreSQL."""

    def check(self, base, values):
        """Compares the workloads."""
        with tempfile.TemporaryDirectory() as folder:
            mine = manifests.objects(manifests.render_all(pathlib.Path(folder), base))
        rendered = chart.render({**values, "broker": {"existingSecret": "scrapebroker"}}, name="scrapebroker")
        self.maxDiff = None
        self.assertEqual(comparable(rendered.workload()), comparable(manifests.workload(mine)))

    def test_with_sqlite(self):
        self.check("base", {})

    def test_with_postgresql(self):
        self.check("overlays/postgresql", POSTGRESQL)
