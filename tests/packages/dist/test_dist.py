"""The files that `make dist` builds belong together, and are complete."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import tarfile
import tempfile
import tomllib
import unittest

from support import DIST, ROOT, VERSION, eventually, free_port, get, process, released, run

MACHINE = os.uname().machine
TARBALL = DIST / f"scrapebroker-{VERSION}-linux-{MACHINE}.tar.gz"
IMAGE = DIST / f"scrapebroker-{VERSION}-image-{MACHINE}.tar.gz"
CHART = DIST / f"scrapebroker-{VERSION}.tgz"
SBOM = DIST / f"scrapebroker-{VERSION}-{MACHINE}.cdx.json"
LICENSES = DIST / "THIRD-PARTY-LICENSES.txt"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def member(archive, name):
    """The content of a file in an archive."""
    with tarfile.open(archive) as files:
        return files.extractfile(name).read()


def crates():
    """Names and versions of the crates in the program, our own included."""
    command = ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    lines = run(*command, "--target", f"{MACHINE}-unknown-linux-gnu", cwd=ROOT).splitlines()
    return {(name, version.removeprefix("v")) for name, version, *_ in map(str.split, filter(None, lines))}


class Dist(unittest.TestCase):
    def test_checksums_name_each_file(self):
        sums = dict(reversed(line.split("  ")) for line in (DIST / "SHA256SUMS").read_text().splitlines())
        files = {path.name: digest(path.read_bytes()) for path in DIST.iterdir() if path.name != "SHA256SUMS"}
        self.assertEqual(files, sums)

    def test_all_packages_contain_the_same_program(self):
        programs = {
            "tarball": member(TARBALL, f"scrapebroker-{VERSION}-linux-{MACHINE}/scrapebroker"),
            "image": member(IMAGE, "./usr/bin/scrapebroker"),
        }
        with tempfile.TemporaryDirectory() as folder:
            run("dpkg-deb", "--extract", released("*.deb"), folder)
            programs["Debian package"] = pathlib.Path(folder, "usr/bin/scrapebroker").read_bytes()
        self.assertEqual(1, len({digest(program) for program in programs.values()}), programs.keys())

    def test_the_program_of_the_tarball_serves(self):
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(TARBALL) as files:
                files.extractall(folder, filter="data")
            top = pathlib.Path(folder, f"scrapebroker-{VERSION}-linux-{MACHINE}")
            self.assertEqual(f"scrapebroker {VERSION}\n", run(top / "scrapebroker", "--version"))
            for file in ["LICENSE", "README.md", "CHANGELOG.md", "docs/CONFIGURATION.md"]:
                self.assertTrue((top / file).is_file(), file)
            port = free_port()
            environment = {"SCRAPEBROKER__LISTEN": f"127.0.0.1:{port}"}
            quiet = subprocess.DEVNULL
            with process(top / "scrapebroker", "serve", cwd=folder, env=environment, stdout=quiet, stderr=quiet) as child:
                eventually(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200)
                child.terminate()
                self.assertEqual(0, child.wait(timeout=20))

    def test_the_chart_has_the_version_of_the_program(self):
        chart = member(CHART, "scrapebroker/Chart.yaml").decode()
        for key in ["version", "appVersion"]:
            self.assertRegex(chart, rf'(?m)^{key}: "?{re.escape(VERSION)}"?$')

    @unittest.skipUnless(SBOM.exists(), "packages of a program that was not built for them are not released")
    def test_the_same_commit_gives_the_same_files(self):
        before = (DIST / "SHA256SUMS").read_text()
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder, "scrapebroker")
            program.write_bytes(member(TARBALL, f"scrapebroker-{VERSION}-linux-{MACHINE}/scrapebroker"))
            program.chmod(0o755)
            environment = {**os.environ, "SCRAPEBROKER_BINARY": str(program), "SCRAPEBROKER_DIST": f"{folder}/dist"}
            run(ROOT / "scripts/dist", env=environment)
            after = pathlib.Path(folder, "dist/SHA256SUMS").read_text().splitlines()
        for line in after:
            if TARBALL.name not in line or not SBOM.exists():
                self.assertIn(line, before)

    @unittest.skipUnless(SBOM.exists(), "scripts/dist without SCRAPEBROKER_BINARY builds the SBOM")
    def test_the_sbom_lists_the_crates_of_the_program(self):
        sbom = json.loads(SBOM.read_text())
        self.assertEqual("CycloneDX", sbom["bomFormat"])
        self.assertNotIn(str(ROOT), SBOM.read_text())
        parts = [*sbom["components"], sbom["metadata"]["component"]]
        listed = {(part["name"], part["version"]) for part in parts}
        self.assertEqual(set(), crates() - listed)

    @unittest.skipUnless(LICENSES.exists(), "scripts/dist without SCRAPEBROKER_BINARY collects the licences")
    def test_the_licences_name_each_crate(self):
        text = LICENSES.read_text()
        named = set(re.findall(r"(?m)^  (\S+) (\d[^\s,]*)", text))
        self.assertEqual(set(), crates() - named)

    def test_releases_accept_the_licences_that_the_audit_accepts(self):
        allowed = tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"]
        accepted = tomllib.loads((ROOT / "deploy/release/about.toml").read_text())["accepted"]
        self.assertEqual(allowed, accepted)
