"""scripts/check-packages without root, with fakes of id and sudo."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

from support import ROOT

SUDO = """#!/bin/sh
echo "sudo $*" >>"$HOME/calls"
case $1 in --preserve-env) exit 3 ;; esac
"""


class WithoutRoot(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "it's a clone")
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/check-packages", self.folder / "scripts")
        self.program("id", "#!/bin/sh\necho 1000\n")

    def program(self, name, text):
        """Adds a program to the PATH."""
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def run_script(self, path, *arguments):
        environment = {"PATH": path, "HOME": str(self.folder)}
        command = [self.folder / "scripts/check-packages", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def test_all_checks_run_with_sudo_and_the_user_keeps_the_files(self):
        self.program("sudo", SUDO)
        (self.folder / ".cargo").mkdir()
        path = f"{self.folder}/bin:/usr/bin:/bin"
        done = self.run_script(path)
        self.assertEqual((3, ""), (done.returncode, done.stdout))
        self.assertIn("Continuing with sudo", done.stderr)
        checks, *owners = (self.folder / "calls").read_text().splitlines()
        self.assertEqual(f"sudo --preserve-env env PATH={path} HOME={self.folder} scripts/check-packages", checks)
        change = "sudo chown --recursive --from=root 1000:1000"
        self.assertEqual([f"{change} .", f"{change} {self.folder}/.cargo"], owners)

    def test_without_sudo_it_says_that_root_is_required(self):
        for tool in ("bash", "dirname", "realpath"):
            (self.folder / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
        shutil.copy("/usr/bin/env", self.folder / "bin")
        done = self.run_script(f"{self.folder}/bin")
        self.assertEqual(1, done.returncode)
        self.assertIn("Root is required", done.stderr)

    def test_a_named_check_runs_as_the_user(self):
        self.program("sudo", SUDO)
        done = self.run_script(f"{self.folder}/bin:/usr/bin:/bin", "helm")
        self.assertEqual(1, done.returncode)
        self.assertIn("There are no packages", done.stderr)
        self.assertFalse((self.folder / "calls").exists())
