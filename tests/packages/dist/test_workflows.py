"""The workflows of GitHub: pinned actions, few permissions, and the compiler of the repository."""

import re
import tomllib
import unittest

import yaml

from support import ROOT

WORKFLOWS = {path.name: path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")}
JOBS = {(name, job): parts for name, text in WORKFLOWS.items() for job, parts in yaml.safe_load(text)["jobs"].items()}


class Workflows(unittest.TestCase):
    def test_actions_are_pinned_by_commit_and_say_their_version(self):
        for name, text in WORKFLOWS.items():
            used = re.findall(r"uses: (.*)", text)
            self.assertTrue(used, name)
            for action in used:
                self.assertRegex(action, r"^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", name)

    def test_only_the_job_that_runs_no_code_of_the_repository_may_write(self):
        for (name, job), parts in JOBS.items():
            permissions = parts.get("permissions", yaml.safe_load(WORKFLOWS[name])["permissions"])
            runs = "\n".join(step.get("run", "") for step in parts["steps"])
            if re.search(r"make |scripts/|\.ci/", runs):
                self.assertEqual({"contents": "read"}, permissions, job)
                self.assertNotIn("github.token", str(parts), job)
            for step in parts["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    self.assertIs(False, step["with"]["persist-credentials"], job)

    def test_containers_have_the_compiler_of_the_repository(self):
        channel = tomllib.loads((ROOT / "rust-toolchain.toml").read_text())["toolchain"]["channel"]
        images = [parts["container"]["image"] for parts in JOBS.values() if "container" in parts]
        self.assertEqual({f"docker.io/library/rust:{channel}-bookworm"}, set(images))
        self.assertIn(f"`rust:{channel}-bookworm`", (ROOT / "docs/RELEASING.md").read_text())

    def test_the_checks_that_a_release_names_exist(self):
        for entry in JOBS["release.yml", "build"]["strategy"]["matrix"]["include"]:
            for name in entry["checks"].split():
                self.assertTrue((ROOT / "tests/packages" / name).is_dir(), name)
