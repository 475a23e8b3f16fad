"""docs/install/kubernetes.md: its commands are run, as far as they need no cluster."""

import base64
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import support
import yaml
from kustomize import kubelet, manifests

PAGE = support.ROOT / "docs" / "install" / "kubernetes.md"

# `create` and `apply` print their objects in place of sending them. Other commands need a cluster, but
# --help fails for commands and flags that do not exist.
KUBECTL = """#!/usr/bin/env bash
set -eu
case "$1 ${2:-}" in
    "kustomize "*) "$REAL_KUBECTL" "$@" ;;
    "apply -k") { echo ---; "$REAL_KUBECTL" kustomize "$3"; } >>"$OBJECTS" ;;
    "create "*) { echo ---; "$REAL_KUBECTL" "$@" --dry-run=client --output yaml; } >>"$OBJECTS" ;;
    *)
        arguments=()
        for argument in "$@"; do
            [ "$argument" != -- ] || break
            arguments+=("$argument")
        done
        "$REAL_KUBECTL" "${arguments[@]}" --help >/dev/null
        ;;
esac
"""


def blocks(language):
    """Returns the code blocks of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class PageTest(unittest.TestCase):
    """The commands run once, in the order of the page."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.folder.chmod(0o755)
        (cls.folder / "scrapebroker").symlink_to(support.ROOT)
        tools = cls.folder / "bin"
        tools.mkdir()
        (tools / "kubectl").write_text(KUBECTL)
        (tools / "kubectl").chmod(0o755)
        cls.mine = cls.folder / "my-scrapebroker"
        cls.output = cls.folder / "objects.yaml"
        variables = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "REAL_KUBECTL": str(support.KUBECTL),
            "OBJECTS": str(cls.output),
        }
        script = "set -e\n" + "".join(blocks("sh"))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=cls.folder,
            env={**os.environ, **variables},
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        cls.found = manifests.objects(cls.output.read_text())

    def test_the_pod_with_a_shell_uses_the_volume_of_the_installation(self):
        pod = yaml.safe_load((support.ROOT / "deploy/kubernetes/volume-shell.yaml").read_text())
        manifests.validate([pod])
        installed = manifests.only(self.found, "StatefulSet")
        (claim,) = installed["spec"]["volumeClaimTemplates"]
        names = (claim["metadata"]["name"], installed["metadata"]["name"])
        (volume,) = pod["spec"]["volumes"]
        self.assertEqual("-".join(names) + "-0", volume["persistentVolumeClaim"]["claimName"])
        self.assertEqual(installed["metadata"]["namespace"], pod["metadata"]["namespace"])
        # The files belong to the user of the program, whose group may write on the volume.
        own = manifests.pod(self.found)["securityContext"]
        shell = pod["spec"]["securityContext"]
        for key in ["runAsUser", "runAsGroup", "fsGroup", "runAsNonRoot", "seccompProfile"]:
            self.assertEqual(own[key], shell[key], key)
        (container,) = pod["spec"]["containers"]
        own = manifests.container(self.found)["securityContext"]
        for key in ["allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"]:
            self.assertEqual(own[key], container["securityContext"][key], key)

    def test_a_copy_is_restored_by_the_command_in_the_volume(self):
        (script,) = re.findall(r"volume-shell -- sh -c \\\n  '(cd /data .*)'", PAGE.read_text())
        data = self.folder / "data"
        data.mkdir()
        for name in ["scrapebroker.db", "scrapebroker.db-wal", "scrapebroker.db-shm", "restored.db"]:
            (data / name).write_text(name)
        support.run("busybox", "sh", "-c", script.replace("/data", str(data)))
        self.assertEqual(["scrapebroker.db"], [path.name for path in data.iterdir()])
        restored = data / "scrapebroker.db"
        self.assertEqual("restored.db", restored.read_text())
        self.assertEqual(0o600, restored.stat().st_mode & 0o777)

    def secrets(self):
        """Returns the Secrets that the page creates."""
        secrets = [it for it in self.found if it["kind"] == "Secret"]
        decoded = {}
        for secret in secrets:
            values = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
            decoded[secret["metadata"]["name"]] = values
        return decoded

    def with_part(self, part, replaced=("", "")):
        """Renders the kustomization of the page with a part that the page describes."""
        text = (self.mine / "kustomization.yaml").read_text().replace(*replaced)
        merged = yaml.safe_load(text)
        for key, value in yaml.safe_load(part).items():
            merged[key] = merged.get(key, []) + value
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            for name in ["config.yml", "ingress.yaml"]:
                (pathlib.Path(folder) / name).write_text((self.mine / name).read_text())
            (pathlib.Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(merged))
            return manifests.objects(manifests.render(folder))

    def part(self, word):
        """Returns the only YAML block with a word."""
        (found,) = [block for block in blocks("yaml") if word in block]
        return found

    def test_the_objects_are_valid_and_in_one_namespace(self):
        manifests.validate(self.found)
        kinds = {it["kind"] for it in self.found}
        self.assertLessEqual({"Namespace", "Secret", "StatefulSet", "Ingress", "NetworkPolicy"}, kinds)
        namespaces = {it["metadata"].get("namespace") for it in self.found if it["kind"] != "Namespace"}
        self.assertEqual({"scrapebroker"}, namespaces)

    def test_the_pod_accepts_the_configuration_and_the_secrets(self):
        root = support.unpack_image(self.folder / "image")
        command = ["check-config"]
        with kubelet.pod(self.found, root, self.folder, self.secrets(), command) as running:
            self.assertEqual(0, running.process.wait(timeout=20), running.output())
        self.assertIn("https://tsuru.example.com", running.output())

    def test_the_ingress_reaches_the_service(self):
        (rule,) = manifests.only(self.found, "Ingress")["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        service = manifests.only(self.found, "Service")
        self.assertEqual(service["metadata"]["name"], path["backend"]["service"]["name"])
        self.assertIn(path["backend"]["service"]["port"]["name"], [port["name"] for port in service["spec"]["ports"]])

    def test_postgresql_with_three_pods(self):
        found = self.with_part(self.part("count: 3"), ("kubernetes/base", "kubernetes/overlays/postgresql"))
        manifests.validate(found)
        self.assertEqual(3, manifests.only(found, "Deployment")["spec"]["replicas"])
        self.assertIn("https://tsuru.example.com", manifests.only(found, "ConfigMap")["data"]["config.yml"])
        used = {volume["secret"]["secretName"] for volume in manifests.pod(found)["volumes"] if "secret" in volume}
        self.assertEqual(set(self.secrets()), used)

    def test_components_with_the_label_of_the_operator(self):
        both = self.part("components:") + self.part("kube-prometheus-stack")
        found = self.with_part(both)
        labels = {
            it["kind"]: it["metadata"]["labels"]["release"]
            for it in found
            if it["apiVersion"].startswith("monitoring.coreos.com/")
        }
        expected = {"ServiceMonitor": "kube-prometheus-stack", "PrometheusRule": "kube-prometheus-stack"}
        self.assertEqual(expected, labels)

    def test_the_network_policy_names_other_namespaces(self):
        found = self.with_part(self.part("traefik"))
        (rule,) = manifests.only(found, "NetworkPolicy")["spec"]["ingress"]
        (expression,) = rule["from"][1]["namespaceSelector"]["matchExpressions"]
        self.assertEqual(["monitoring", "traefik", "tsuru"], expression["values"])

    def test_another_image_and_more_memory(self):
        container = manifests.container(self.with_part(self.part("images:")))
        self.assertEqual(f"registry.example.com/scrapebroker:{support.VERSION}", container["image"])
        self.assertEqual("2Gi", container["resources"]["limits"]["memory"])

    def test_all_listeners_may_have_ipv6_addresses(self):
        merged = yaml.safe_load(self.part("components:"))
        merged["patches"] = yaml.safe_load(self.part("[::]:8090"))["patches"]
        found = self.with_part(yaml.safe_dump(merged))
        manifests.validate(found)
        variables = {key: value for key, value in manifests.environment(found).items() if key.endswith("__LISTEN")}
        expected = {"SCRAPEBROKER__EVENTS__LISTEN": "[::]:8090", "SCRAPEBROKER__QUERY__LISTEN": "[::]:9090"}
        self.assertEqual(expected, variables)

    def test_the_table_lists_each_folder(self):
        listed = set(re.findall(r"deploy/kubernetes/([a-z/-]+)\)", PAGE.read_text()))
        folders = {"base", *(f"components/{name}" for name in manifests.COMPONENTS), "overlays/postgresql"}
        self.assertEqual(folders, listed)
        present = {str(path.parent.relative_to(manifests.FOLDER)) for path in manifests.FOLDER.rglob("kustomization.yaml")}
        self.assertEqual(folders | {"pod"}, present)
