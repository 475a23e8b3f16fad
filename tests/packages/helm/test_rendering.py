"""Each value set is rendered, compared with a golden file, validated, and checked by the program."""

import functools
import json
import os
import re
import tempfile
import unittest

import helm_python
import jsonschema
import kubernetes_validate

from helm.chart import CHART, HERE, NAMESPACE, PodFolder, load, render, render_files, value_sets
from helm.secrets_outside import existing_secrets
from support import PROGRAM, VERSION, compare_golden, released, run

GOLDEN = HERE / "golden"
VERSIONS = ["1.25", kubernetes_validate.latest_version()]
"""The oldest version of Kubernetes that the chart supports, and the newest one that the schemas know."""

CUSTOM_RESOURCES = json.loads((HERE / "custom_resources.json").read_text())
"""Schemas of custom resources, with the fields of their public API that the chart may set."""

FROM_MONITORING = ["prometheusrule.yaml", "dashboards.yaml"]
"""Templates whose text is that of deploy/monitoring, which has checks of its own."""


@functools.cache
def valid(document):
    """Validates an object of Kubernetes. Equal objects of several value sets are validated once."""
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(document), version, strict=True)


def validate(item):
    kind = f"{item['apiVersion']}/{item['kind']}".replace("azmonitoring.", "monitoring.")
    if kind in CUSTOM_RESOURCES["kinds"]:
        schema = {"$ref": f"#/kinds/{kind.replace('/', '~1')}"} | CUSTOM_RESOURCES
        jsonschema.validate(item, schema, cls=jsonschema.Draft7Validator)
    else:
        valid(json.dumps(item, sort_keys=True))


def golden_text(files):
    parts = []
    for path, text in sorted(files.items()):
        name = path.removeprefix("scrapebroker/templates/")
        if text.strip() and name not in FROM_MONITORING:
            lines = [line.rstrip() for line in text.strip().splitlines()]
            parts.append(f"# {name}\n" + "\n".join(lines) + "\n")
    # A new version of the chart, which is in a label and so in the checksums, does not change the golden files.
    text = re.sub(r"(checksum/\w+): [0-9a-f]{64}", r"\1: CHECKSUM", "\n".join(parts))
    return re.sub(rf"(?<![\d.]){re.escape(load().version)}(?![\d.])", "VERSION", text)


class Rendering(unittest.TestCase):
    def test_there_are_at_least_twelve_value_sets_and_no_other_golden_files(self):
        names = list(value_sets())
        self.assertGreaterEqual(len(names), 12)
        self.assertEqual(sorted(names), sorted(file.stem for file in GOLDEN.glob("*.yaml")))

    def test_the_rendered_text_is_that_of_the_golden_file(self):
        for name, values in value_sets().items():
            with self.subTest(name):
                compare_golden(self, GOLDEN / f"{name}.yaml", golden_text(render_files(values)))

    def test_each_object_is_valid_in_the_oldest_and_the_newest_kubernetes(self):
        for name, values in value_sets().items():
            with self.subTest(name):
                for item in render(values):
                    validate(item)

    def test_the_validation_finds_unknown_fields_and_wrong_types(self):
        objects = render(value_sets()["monitoring"])
        for kind in ["StatefulSet", "Service", "ServiceMonitor", "ScrapeConfig", "Probe"]:
            broken = objects.one(kind)
            broken["spec"]["notAField"] = 1
            with self.subTest(kind), self.assertRaises(jsonschema.ValidationError):
                validate(broken)
        monitor = objects.one("PrometheusRule")
        monitor["spec"]["groups"] = {}
        with self.assertRaises(jsonschema.ValidationError):
            validate(monitor)

    def test_the_program_accepts_each_rendered_configuration(self):
        for name, values in value_sets().items():
            with self.subTest(name):
                objects = render(values)
                with PodFolder(objects, existing_secrets()) as folder:
                    run(PROGRAM, "check-config", env=os.environ | folder.variables)

    def test_a_wrong_value_in_the_configuration_is_found_by_the_program(self):
        objects = render({"config": {"routes": {"keep": "soon"}}})
        with PodFolder(objects, existing_secrets()) as folder, self.assertRaisesRegex(AssertionError, "routes.keep"):
            run(PROGRAM, "check-config", env=os.environ | folder.variables)

    def test_all_names_and_namespaces_are_unique(self):
        for name, values in value_sets().items():
            with self.subTest(name):
                keys = [key(item) for item in render(values)]
                self.assertEqual(sorted(set(keys)), sorted(keys))

    def test_two_releases_in_one_namespace_have_no_object_in_common(self):
        # With the same fullnameOverride they do, of course.
        for name, values in value_sets().items():
            with self.subTest(name):
                if "fullnameOverride" not in values or not values["fullnameOverride"]:
                    one, other = (render(values, name=release) for release in ["a", "b"])
                    names = {key(item) for item in one} & {key(item) for item in other}
                    self.assertEqual(names, set(), name)

    def test_releases_of_one_name_in_two_namespaces_have_no_object_in_common(self):
        central = {key: {"namespace": "monitoring"} for key in ["serviceMonitor", "probe", "scrapeConfig", "prometheusRule", "dashboards"]}
        sets = value_sets() | {"central": {key: value_sets()["monitoring"][key] | place for key, place in central.items()}}
        sets["central"]["broker"] = value_sets()["monitoring"]["broker"]
        for name, values in sets.items():
            one, other = (render(values, namespace=namespace) for namespace in ["a", "b"])
            shared = {key(item) for item in one} & {key(item) for item in other}
            # The objects of extraObjects have no namespace.
            self.assertEqual({item for item in shared if item[1] in ("monitoring", "default", "other")}, set(), name)

    def test_long_names_are_cut_and_remain_different(self):
        ends = ["one", "two"]
        names = [render({"fullnameOverride": "x" * 60 + end}).workload()["metadata"]["name"] for end in ends]
        self.assertNotEqual(*names)
        self.assertLessEqual(max(map(len, names)), 50)

    def test_names_and_labels_are_valid_for_the_longest_names_of_releases(self):
        label = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
        for values in value_sets().values():
            for item in render(values, name="r" + "-" * 51 + "r"):
                limit = 63 if item["kind"] == "Service" else 52 if item["kind"] == "StatefulSet" else 253
                self.assertRegex(item["metadata"]["name"], rf"^[a-z0-9]([-a-z0-9]{{0,{limit - 2}}}[a-z0-9])?$")
                for value in item["metadata"].get("labels", {}).values():
                    self.assertIsNotNone(label.fullmatch(value), value)

    def test_names_are_valid_for_each_name_of_a_release(self):
        for values in [value_sets()["monitoring"], {"nameOverride": "1x"}]:
            for release in ["my.release", "1rel", "1.scrapebroker", "9" * 53]:
                objects = render(values, name=release)
                self.assertEqual(objects.workload()["metadata"]["labels"]["app.kubernetes.io/instance"], release)
                for item in objects:
                    # That of a Service is a label of DNS (RFC 1035).
                    limit = 63 if item["kind"] == "Service" else 253
                    self.assertRegex(item["metadata"]["name"], rf"^[a-z]([-a-z0-9]{{0,{limit - 2}}}[a-z0-9])?$")

    def test_names_that_look_like_numbers_are_texts(self):
        numbers = {
            "broker": {"existingSecret": "1", "existingSecretKeys": {"username": "2", "password": "3", "tokenKey": "4"}},
            "database": {"type": "postgresql", "existingSecret": "5", "existingSecretKey": "6"}, "tls": {"existingSecret": "7"},
            "existingSecrets": [{"name": "8"}], "serviceAccount": {"name": "9"}, "priorityClassName": "10", "schedulerName": "12",
            "scrapeConfig": {"enabled": True, "jobName": "13"}, "probe": {"enabled": True, "prober": "14", "module": "15"},
            "ingress": {"enabled": True, "className": "16", "hosts": [{"host": "17"}]}, "serviceMonitor": {"enabled": True, "jobLabel": "18"},
            "nameOverride": "19", "image": {"tag": "20"},
        }
        claim = {"persistence": {"existingClaim": "1"}, "podMonitor": {"enabled": True}}
        for values in [*value_sets().values(), numbers, claim, {"persistence": {"storageClass": "1"}}]:
            for item in render(values, name="1e3", namespace="2024"):
                validate(item)

    def test_what_cannot_change_stays_the_same_in_an_upgrade(self):
        changes = {"commonLabels": {"a": "b"}, "podLabels": {"a": "b"}, "image": {"tag": "new"}, "files": {"a": "b"}}
        for name, values in value_sets().items():
            with tempfile.TemporaryDirectory() as folder, self.subTest(name):
                newer = helm_python.package(CHART, destination=folder, version="9.8.7", app_version="9.8.7")
                old, new = render(values).workload(), render(values | changes, path=newer).workload()
                self.assertNotEqual(old["metadata"]["labels"], new["metadata"]["labels"])
                for field in ["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"]:
                    self.assertEqual(old["spec"].get(field), new["spec"].get(field), field)

    def test_a_change_of_the_version_is_all_that_a_release_needs(self):
        with tempfile.TemporaryDirectory() as folder:
            archive = helm_python.package(CHART, destination=folder, version="9.8.7", app_version="9.8.7")
            objects = render({}, path=archive)
        self.assertTrue(objects.container()["image"].endswith(":9.8.7"))
        self.assertEqual(objects.workload()["metadata"]["labels"]["helm.sh/chart"], "scrapebroker-9.8.7")


class Package(unittest.TestCase):
    archive = released(f"scrapebroker-{VERSION}.tgz")

    def test_the_folder_has_no_links_which_flux_leaves_out_of_a_git_source(self):
        self.assertEqual([path for path in CHART.rglob("*") if path.is_symlink()], [])

    def test_it_renders_the_same_text_as_the_folder(self):
        for name, values in value_sets().items():
            self.assertEqual(render_files(values), render_files(values, path=self.archive), name)

    def test_it_contains_nothing_but_the_chart(self):
        files = run("tar", "tzf", self.archive).splitlines()
        expected = r"scrapebroker/(Chart\.yaml|values\.yaml|values\.schema\.json|README\.md|\.helmignore|templates/NOTES\.txt|" \
            r"templates/[-_./a-z]+\.(yaml|tpl)|monitoring/rules/[-a-z_]+\.yml|monitoring/dashboards/[-a-z_]+\.json)"
        self.assertEqual([file for file in files if not re.fullmatch(expected, file)], [])

    def test_it_contains_all_rules_and_dashboards(self):
        files = run("tar", "tzf", self.archive).splitlines()
        for file in [*(CHART / "monitoring/rules").iterdir(), *(CHART / "monitoring/dashboards").iterdir()]:
            self.assertIn(f"scrapebroker/{file.relative_to(CHART)}", files)

    def test_helm_lint_has_no_findings(self):
        for name, values in value_sets().items():
            with self.subTest(name):
                report = helm_python.lint(self.archive, values, strict=True)
                self.assertEqual((report["messages"], report["errors"]), ([], []))


def key(item):
    return item["kind"], item["metadata"].get("namespace", NAMESPACE), item["metadata"]["name"]
