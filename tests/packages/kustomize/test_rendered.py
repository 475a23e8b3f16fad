"""The rendered manifests: golden files, schemas of Kubernetes, and that their parts fit together."""

import copy
import pathlib
import tempfile
import unittest

import support
import yaml
from kustomize import manifests

GOLDEN = pathlib.Path(__file__).with_name("golden")

VARIANTS = {
    "base": ("base", [], ""),
    "base-all": ("base", manifests.COMPONENTS, ""),
    "postgresql": ("overlays/postgresql", [], ""),
    "postgresql-all": ("overlays/postgresql", manifests.COMPONENTS, "replicas: [{name: scrapebroker, count: 3}]"),
}
"""Name, and the kustomization: its base, its components, and further lines."""

PORTS = {"metrics": 8085, "health": 8086, "events": 8090, "query": 9090}
LABELS = {"app.kubernetes.io/name": "scrapebroker"}


class RenderedTest(unittest.TestCase):
    """Each test is repeated for each variant."""

    @classmethod
    def setUpClass(cls):
        cls.texts = {}
        for name, variant in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                cls.texts[name] = manifests.render_all(pathlib.Path(folder), *variant)
        cls.found = {name: manifests.objects(text) for name, text in cls.texts.items()}

    def variants(self):
        """Yields the objects of each variant."""
        for name, found in self.found.items():
            with self.subTest(name):
                yield name, found

    def test_the_result_is_that_of_the_golden_files(self):
        """Dashboards and rules have checks of their own."""
        for name, found in self.variants():
            shown = [it for it in found if not manifests.is_dashboard(it) and it["kind"] != "PrometheusRule"]
            text = yaml.safe_dump_all(shown, sort_keys=True, width=120)
            support.compare_golden(self, GOLDEN / f"{name}.yaml", text)

    def test_each_object_matches_the_schema(self):
        for _, found in self.variants():
            manifests.validate(found)

    def test_the_schemas_find_mistakes(self):
        mistakes = {"Service": "prots", "ServiceMonitor": "endpoint", "PrometheusRule": "group"}
        found = self.found["base-all"]
        for kind, field in mistakes.items():
            wrong = copy.deepcopy(manifests.only(found, kind))
            wrong["spec"][field] = []
            with self.subTest(kind), self.assertRaisesRegex(Exception, field):
                manifests.validate([wrong])

    def test_each_variant_has_its_objects(self):
        common = ["ConfigMap", "NetworkPolicy", "Service", "ServiceAccount"]
        expected = {
            "base": [*common, "StatefulSet"],
            "base-all": [*common, "PrometheusRule", "Role", "RoleBinding", "ServiceMonitor", "StatefulSet"],
            "postgresql": [*common, "Deployment", "PodDisruptionBudget"],
        }
        expected["postgresql-all"] = sorted(
            {*expected["postgresql"], "PrometheusRule", "Role", "RoleBinding", "ServiceMonitor"}
        )
        for name, found in self.variants():
            kinds = sorted(it["kind"] for it in found if not manifests.is_dashboard(it))
            self.assertEqual(sorted(expected[name]), kinds)
            dashboards = [it for it in found if manifests.is_dashboard(it)]
            self.assertEqual(name.endswith("-all"), len(dashboards) >= 5)

    def test_each_object_is_in_the_namespace_and_has_the_label(self):
        for _, found in self.variants():
            for it in found:
                self.assertEqual("metrics", it["metadata"]["namespace"])
                self.assertEqual("scrapebroker", it["metadata"]["labels"]["app.kubernetes.io/name"])

    def test_selectors_select_the_pods(self):
        for _, found in self.variants():
            work = manifests.workload(found)
            self.assertEqual(LABELS, work["spec"]["template"]["metadata"]["labels"])
            self.assertEqual(LABELS, work["spec"]["selector"]["matchLabels"])
            self.assertEqual(LABELS, manifests.only(found, "Service")["spec"]["selector"])
            policy = manifests.only(found, "NetworkPolicy")
            self.assertEqual(LABELS, policy["spec"]["podSelector"]["matchLabels"])
            for kind in ["PodDisruptionBudget", "ServiceMonitor"]:
                if manifests.has(found, kind):
                    self.assertEqual(LABELS, manifests.only(found, kind)["spec"]["selector"]["matchLabels"])
            for spread in manifests.pod(found).get("topologySpreadConstraints", []):
                self.assertEqual(LABELS, spread["labelSelector"]["matchLabels"])

    def test_ports_are_those_of_the_listeners(self):
        for name, found in self.variants():
            expected = PORTS if name.endswith("-all") else {"metrics": 8085, "health": 8086}
            ports = manifests.container(found)["ports"]
            self.assertEqual(expected, {port["name"]: port["containerPort"] for port in ports})
            offered = {port: number for port, number in expected.items() if port != "health"}
            service = manifests.only(found, "Service")["spec"]["ports"]
            self.assertEqual(offered, {port["name"]: port["port"] for port in service})
            self.assertEqual([port["name"] for port in service], [port["targetPort"] for port in service])
            (rule,) = manifests.only(found, "NetworkPolicy")["spec"]["ingress"]
            self.assertEqual(sorted(offered), sorted(port["port"] for port in rule["ports"]))

    def test_probes_use_the_health_listener(self):
        for _, found in self.variants():
            container = manifests.container(found)
            for probe, path in {"startup": "healthy", "liveness": "healthy", "readiness": "ready"}.items():
                get = container[f"{probe}Probe"]["httpGet"]
                self.assertEqual({"path": f"/-/{path}", "port": "health"}, get)

    def test_the_pod_has_no_privileges(self):
        for name, found in self.variants():
            pod, container = manifests.pod(found), manifests.container(found)
            context = pod["securityContext"]
            self.assertIs(True, context["runAsNonRoot"])
            users = [context[key] for key in ["runAsUser", "runAsGroup", "fsGroup"]]
            self.assertEqual([65532] * 3, users)
            self.assertEqual("RuntimeDefault", context["seccompProfile"]["type"])
            expected = {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            self.assertEqual(expected, container["securityContext"])
            self.assertFalse(pod["enableServiceLinks"])
            self.assertEqual(name.endswith("-all"), pod["automountServiceAccountToken"])
            for key in ["hostNetwork", "hostPID", "hostIPC"]:
                self.assertNotIn(key, pod)

    def test_each_mount_has_a_volume(self):
        for _, found in self.variants():
            volumes = {volume["name"] for volume in manifests.pod(found)["volumes"]}
            claims = manifests.workload(found)["spec"].get("volumeClaimTemplates", [])
            volumes |= {claim["metadata"]["name"] for claim in claims}
            mounts = manifests.container(found)["volumeMounts"]
            self.assertEqual(volumes, {mount["name"] for mount in mounts})
            writable = [mount["mountPath"] for mount in mounts if not mount.get("readOnly")]
            self.assertEqual(["/var/lib/scrapebroker"] if claims else [], writable)

    def test_a_changed_configuration_replaces_the_pods(self):
        for _, found in self.variants():
            name = manifests.only(found, "ConfigMap")["metadata"]["name"]
            self.assertRegex(name, r"^scrapebroker-[a-z0-9]{10}$")
            used = [it["configMap"]["name"] for it in manifests.pod(found)["volumes"] if "configMap" in it]
            self.assertEqual([name], used)

    def test_the_image_is_that_of_this_version(self):
        for _, found in self.variants():
            expected = f"ghcr.io/scrapebroker/scrapebroker:{support.VERSION}"
            self.assertEqual(expected, manifests.container(found)["image"])

    def test_sqlite_has_one_pod_and_postgresql_several_that_are_spread(self):
        for name, found in self.variants():
            work = manifests.workload(found)
            if name.startswith("base"):
                self.assertEqual(("StatefulSet", 1), (work["kind"], work["spec"]["replicas"]))
                continue
            self.assertEqual("Deployment", work["kind"])
            self.assertEqual(3 if name.endswith("-all") else 2, work["spec"]["replicas"])
            self.assertEqual(0, work["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"])
            keys = [it["topologyKey"] for it in manifests.pod(found)["topologySpreadConstraints"]]
            self.assertEqual(["kubernetes.io/hostname", "topology.kubernetes.io/zone"], keys)
            self.assertEqual(1, manifests.only(found, "PodDisruptionBudget")["spec"]["maxUnavailable"])

    def test_the_job_of_the_alerts_is_a_label_of_the_service(self):
        for name, found in self.variants():
            if not name.endswith("-all"):
                continue
            monitor = manifests.only(found, "ServiceMonitor")["spec"]
            labels = manifests.only(found, "Service")["metadata"]["labels"]
            self.assertEqual("scrapebroker", labels[monitor["jobLabel"]])
            self.assertEqual(["metrics", "events"], [endpoint["port"] for endpoint in monitor["endpoints"]])
            groups = manifests.only(found, "PrometheusRule")["spec"]["groups"]
            self.assertIn('job="scrapebroker"', yaml.safe_dump(groups))

    def test_the_pod_may_list_what_the_locator_lists(self):
        for name, found in self.variants():
            if not name.endswith("-all"):
                continue
            binding = manifests.only(found, "RoleBinding")
            account = {"kind": "ServiceAccount", "name": "scrapebroker", "namespace": "metrics"}
            self.assertEqual([account], binding["subjects"])
            self.assertEqual("scrapebroker", manifests.pod(found)["serviceAccountName"])
            role = manifests.only(found, "Role")
            self.assertEqual(role["metadata"]["name"], binding["roleRef"]["name"])
            rules = {(it, verb) for rule in role["rules"] for it in rule["resources"] for verb in rule["verbs"]}
            self.assertEqual({("endpointslices", "list"), ("endpoints", "get"), ("pods", "list")}, rules)
