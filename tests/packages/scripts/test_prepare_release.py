"""scripts/prepare-release, in a clone."""

import pathlib
import re
import subprocess
import tempfile
import tomllib
import unittest

from support import ROOT, VERSION, run

NEW = "9.8.7"


class PrepareRelease(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.clone = pathlib.Path(folder, "it's a clone")
        run("git", "clone", "--quiet", "--shared", "--no-tags", ROOT, cls.clone)
        script = cls.clone / "scripts/prepare-release"
        script.write_bytes((ROOT / "scripts/prepare-release").read_bytes())
        script.chmod(0o755)
        run(script, NEW)

    def test_the_lock_file_follows(self):
        run("cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version=1", cwd=self.clone)
        manifest = tomllib.loads((self.clone / "Cargo.toml").read_text())
        self.assertEqual(NEW, manifest["package"]["version"])

    def test_only_the_changelog_and_other_crates_have_the_old_version(self):
        # As a version of its own, not within an address.
        pattern = rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])"
        command = ["git", "grep", "--perl-regexp", pattern, "--", "deploy", "docs", "tests/packages", "Cargo.toml"]
        found = subprocess.run(command, cwd=self.clone, capture_output=True, text=True, check=False).stdout.splitlines()
        # The crate for formats has a version of its own.
        self.assertEqual([], [line for line in found if "scrapebroker-exposition = {" not in line])

    def test_the_changelog_has_a_section_for_the_release(self):
        before, after = ((top / "CHANGELOG.md").read_text() for top in (ROOT, self.clone))
        heading = re.search(rf"^## {NEW} - \d{{4}}-\d\d-\d\d\n\n", after, re.MULTILINE)
        self.assertEqual(before, after.replace(heading[0], "", 1))
        self.assertIn(f"## Unreleased\n\n{heading[0]}", after)

    def test_a_release_is_prepared_once(self):
        done = subprocess.run([self.clone / "scripts/prepare-release", NEW], capture_output=True, text=True, check=False)
        self.assertEqual((1, f"CHANGELOG.md has a section for {NEW} already.\n"), (done.returncode, done.stderr))
