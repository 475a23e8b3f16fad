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

from pages import anchors, links
from support import DIST, ROOT, VERSION, eventually, free_port, get, process, released, run

MACHINE = os.uname().machine
TARBALL = DIST / f"scrapebroker-{VERSION}-linux-{MACHINE}.tar.gz"
IMAGE = DIST / f"scrapebroker-{VERSION}-image-{MACHINE}.tar.gz"
CHART = DIST / f"scrapebroker-{VERSION}.tgz"
SBOM = DIST / f"scrapebroker-{VERSION}-{MACHINE}.cdx.json"
REPOSITORY = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["repository"]
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


def broken_links(page, top):
    """Returns the links of a page that lead to no file below a folder, and to none of the repository at this version."""
    text = page.read_text()
    for target in links(text):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or not file.is_relative_to(top):
            yield f"{page.relative_to(top)}: no file {name}"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
            yield f"{page.relative_to(top)}: no heading for {target}"
    for name in re.findall(rf"\]\({re.escape(REPOSITORY)}/blob/v{re.escape(VERSION)}/([^)#]*)", text):
        if not (ROOT / name).exists():
            yield f"{page.relative_to(top)}: no file {name} in the repository"


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
            self.assertRegex(run(top / "scrapebroker", "--version"), rf"^scrapebroker {VERSION} \([0-9a-f]{{12}}\)\n$")
            for file in ["LICENSE", "manifest.yml", "docs/CONFIGURATION.md", "deploy/tsuru/metrics.yaml"]:
                self.assertTrue((top / file).is_file(), file)
            self.assertTrue(os.access(top / "deploy/cf/register.sh", os.X_OK))
            port = free_port()
            environment = {"SCRAPEBROKER__LISTEN": f"127.0.0.1:{port}"}
            quiet = subprocess.DEVNULL
            with process(top / "scrapebroker", "serve", cwd=folder, env=environment, stdout=quiet, stderr=quiet) as child:
                eventually(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200)
                child.terminate()
                self.assertEqual(0, child.wait(timeout=20))

    def test_each_link_of_the_packaged_documentation_leads_to_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            run("tar", "--extract", "--file", TARBALL, "--directory", folder)
            run("dpkg-deb", "--extract", released("*.deb"), folder)
            folders = [pathlib.Path(folder, TARBALL.name.removesuffix(".tar.gz")), pathlib.Path(folder, "usr/share/doc/scrapebroker")]
            for top in folders:
                pages = list(top.rglob("*.md"))
                self.assertGreater(len(pages), 15)
                self.assertEqual([], [mistake for page in pages for mistake in broken_links(page, top)])

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
        # The tarball lacks the licences, and the Debian package is compressed less.
        compared = [line for line in after if TARBALL.name not in line and not line.endswith(".deb")]
        self.assertTrue(compared)
        for line in compared:
            self.assertIn(line, before)

    @unittest.skipUnless(SBOM.exists(), "only a released program does not depend on the folder of its build")
    def test_the_program_does_not_contain_folders_of_the_build(self):
        program = member(TARBALL, f"scrapebroker-{VERSION}-linux-{MACHINE}/scrapebroker")
        home = os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")
        for folder in (home, run("rustc", "--print", "sysroot", cwd=ROOT).strip(), ROOT):
            self.assertFalse(f"{folder}/".encode() in program, folder)

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


class Refusals(unittest.TestCase):
    """What scripts/dist does not do."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def refuse(self, script, **environment):
        """Runs the script in the folder, and expects that it fails. Returns its message."""
        environment = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
        done = subprocess.run([script], cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        self.assertEqual(1, done.returncode, done.stdout)
        return done.stderr

    def test_a_folder_with_other_files_stays(self):
        files = self.folder / "my files"
        files.mkdir()
        (files / "notes").write_text("text")
        for sums in (None, "0123  package.deb\n"):
            if sums:
                (files / "SHA256SUMS").write_text(sums)
            # The folder is relative to the present one, not to that of the script.
            message = self.refuse(ROOT / "scripts/dist", SCRAPEBROKER_DIST="my files")
            self.assertIn(f"{files}, which contains files that scripts/dist did not write:\nnotes\n", message)
        self.assertEqual("text", (files / "notes").read_text())

    def test_a_release_is_not_built_from_files_without_a_commit(self):
        clone = self.folder / "clone"
        run("git", "clone", "--quiet", "--shared", "--no-tags", ROOT, clone)
        (clone / "scripts/dist").write_bytes((ROOT / "scripts/dist").read_bytes())
        (clone / "docs/new.md").write_text("# New\n")
        message = self.refuse(clone / "scripts/dist", SCRAPEBROKER_BINARY=None, SCRAPEBROKER_DIST=None)
        self.assertIn("A release is built from a commit", message)
        self.assertIn("?? docs/new.md\n", message)
        self.assertFalse((clone / "target").exists())
