"""The commands of docs/install/helm.md run as written, with a stand-in for Helm's command that uses its SDK."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

from helm.chart import HERE, Objects, PodFolder, render, secret_texts
from support import PROGRAM, ROOT, run

PAGE = (ROOT / "docs/install/helm.md").read_text()


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
            (tools / tool).write_text(f"#!{sys.executable}\n" + (HERE / "stand_ins.py").read_text())
            (tools / tool).chmod(0o755)
        variables = {"PATH": f"{tools}:{os.environ['PATH']}", "CLUSTER": str(cls.cluster), "KUBECTL": shutil.which("kubectl")}
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
