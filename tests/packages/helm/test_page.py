"""The commands of docs/install/helm.md run as written, with a stand-in for Helm's command that uses its SDK."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema
import yaml

from helm.chart import HERE, Objects, PodFolder, render, secret_texts
from helm.secrets_outside import existing_secrets
from helm.test_rendering import validate
from support import PROGRAM, ROOT, VERSION, released, run

PAGE = (ROOT / "docs/install/helm.md").read_text()
PACKAGE = released(f"scrapebroker-{VERSION}.tgz")
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
ADDRESS = WORKFLOW["env"]["CHARTS"] + "/scrapebroker"
"""Where a release pushes the chart."""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        root = pathlib.Path(folder.name)
        cls.cluster, tools, work = root / "cluster", root / "bin", root / "repository"
        for path in [cls.cluster, tools, work]:
            path.mkdir()
        (work / "deploy").symlink_to(ROOT / "deploy")
        for text in blocks("yaml"):
            name = re.match(r"# (\S+)\n", text)[1]
            (work / name).write_text(text)
        for tool in ["helm", "kubectl"]:
            # The line of an interpreter cannot contain spaces.
            interpreter = shlex.join([sys.executable, str(HERE / "stand_ins.py"), tool])
            (tools / tool).write_text(f'#!/bin/sh\nexec {interpreter} "$@"\n')
            (tools / tool).chmod(0o755)
        variables = {"PATH": f"{tools}:{os.environ['PATH']}", "CLUSTER": str(cls.cluster), "KUBECTL": shutil.which("kubectl"),
                     "CHART": str(PACKAGE), "CHART_ADDRESS": ADDRESS}
        script = "set -eu\n" + "\n".join(blocks("sh"))
        done = subprocess.run(["bash", "-c", script], cwd=work, env=os.environ | variables, text=True, capture_output=True)
        cls.output = done.stdout
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)

    def secrets(self):
        made = [json.loads(file.read_text()) for file in self.cluster.glob("Secret-*.json")]
        return {secret["metadata"]["name"]: secret_texts(secret) for secret in made}

    def test_the_installation_has_all_secrets_that_it_needs_and_the_program_accepts_it(self):
        objects = Objects(json.loads((self.cluster / "scrapebroker-scrapebroker.json").read_text()))
        with PodFolder(objects, self.secrets()) as folder:
            effective = yaml.safe_load(run(PROGRAM, "check-config", env=os.environ | folder.variables))
        self.assertEqual(effective["base_url"], "https://scrapebroker.example.com")
        self.assertTrue(effective["broker"]["username_file"].endswith("/secrets/broker/username"))

    def test_the_printed_configuration_is_the_one_that_is_installed(self):
        printed = yaml.safe_load(self.output)["data"]["scrapebroker.yml"]
        self.assertEqual(yaml.safe_load(printed)["routes"]["tsuru"]["api_url"], "https://tsuru.example.com")

    def test_the_backup_is_made_in_a_pod_of_the_release_with_the_program_of_the_image(self):
        command = (self.cluster / "kubectl.log").read_text().split()
        objects = Objects(json.loads((self.cluster / "scrapebroker-scrapebroker.json").read_text()))
        name, mounts = objects.workload()["metadata"]["name"], objects.container()["volumeMounts"]
        self.assertIn(f"{name}-0", command)
        dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
        self.assertIn(f'ENTRYPOINT ["{command[command.index("--") + 1]}"]', dockerfile)
        data = {mount["name"]: mount["mountPath"] for mount in mounts}["data"]
        self.assertEqual(str(pathlib.Path(command[-1]).parent), data)


class GitOps(unittest.TestCase):
    """The manifests for Flux and Argo CD."""

    def setUp(self):
        texts = {re.match(r"# (\S+)\n", text)[1]: text for text in blocks("yaml")}
        self.repository, self.release = yaml.safe_load_all(texts["flux.yaml"])
        self.application = yaml.safe_load(texts["argo-cd.yaml"])

    def test_they_match_the_schemas_of_their_kinds(self):
        for item in [self.repository, self.release, self.application]:
            validate(item)
            item["spec"]["notAField"] = 1
            with self.assertRaises(jsonschema.ValidationError):
                validate(item)

    def test_they_name_the_chart_that_a_release_pushes(self):
        self.assertEqual((self.repository["spec"]["url"], self.repository["spec"]["ref"]["tag"]), (ADDRESS, VERSION))
        self.assertEqual(self.release["spec"]["chartRef"]["name"], self.repository["metadata"]["name"])
        source = self.application["spec"]["source"]
        self.assertEqual((f"oci://{source['repoURL']}/{source['chart']}", source["targetRevision"]), (ADDRESS, VERSION))

    def test_the_program_accepts_their_values(self):
        both = [self.release["spec"]["values"], self.application["spec"]["source"]["helm"]["valuesObject"]]
        for values in both:
            objects = render(values, path=PACKAGE, name="scrapebroker", namespace="scrapebroker")
            with PodFolder(objects, existing_secrets()) as folder:
                run(PROGRAM, "check-config", env=os.environ | folder.variables)


class Workflow(unittest.TestCase):
    def test_the_release_pushes_the_package_to_the_address_of_the_page(self):
        steps = WORKFLOW["jobs"]["publish"]["steps"]
        self.assertEqual(WORKFLOW["jobs"]["publish"]["permissions"]["packages"], "write")
        [script] = [step["run"] for step in steps if "helm push" in step.get("run", "")]
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            (work / "files").mkdir()
            (work / "files" / PACKAGE.name).symlink_to(PACKAGE)
            (work / "helm").write_text('#!/bin/sh\n[ "$1" != push ] || [ -s "$2" ] || exit 1\necho "$@"\n')
            (work / "helm").chmod(0o755)
            variables = {"PATH": f"{work}:{os.environ['PATH']}", "GITHUB_REF_NAME": f"v{VERSION}", "GITHUB_ACTOR": "actor",
                         "TOKEN": "token", "CHARTS": WORKFLOW["env"]["CHARTS"]}
            done = run("bash", "-eo", "pipefail", "-c", script, cwd=work, env=variables)
        login, push = done.splitlines()
        self.assertEqual(login, "registry login ghcr.io --username actor --password-stdin")
        self.assertEqual(f"{push.removeprefix(f'push files/{PACKAGE.name} ')}/scrapebroker", ADDRESS)
        self.assertIn(f"{ADDRESS} --version {VERSION} ", PAGE)


class Image(unittest.TestCase):
    def test_user_folder_and_command_are_those_of_the_image(self):
        dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
        objects = render({})
        context = objects.template()["spec"]["securityContext"]
        self.assertIn(f"USER {context['runAsUser']}:{context['runAsGroup']}\n", dockerfile)
        self.assertIn(f"WORKDIR {objects.container()['workingDir']}\n", dockerfile)
        self.assertIn('ENTRYPOINT ["/usr/bin/scrapebroker"]', dockerfile)
        self.assertEqual(objects.container()["args"], ["serve"])
        self.assertNotIn("command", objects.container())
