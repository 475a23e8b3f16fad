"""scripts/bosh-release: the release that it builds is complete, and its program runs."""

import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import support
import yaml

from bosh import release, test_run

# Names and versions that the director accepts.
IDENTIFIER = re.compile(r"[-0-9A-Za-z_+.]+")


def digest(path):
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


class Tarball(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="bosh-release-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.file = support.released("*-bosh.tgz")
        cls.unpacked = cls.folder / "release"
        cls.unpack(cls.file, cls.unpacked)
        cls.manifest = yaml.safe_load((cls.unpacked / "release.MF").read_text())

    @staticmethod
    def unpack(archive, folder):
        """Unpacks as the director does."""
        folder.mkdir(parents=True, exist_ok=True)
        errors = subprocess.run(["tar", "-C", folder, "-xf", archive], capture_output=True, text=True, check=True).stderr
        if errors:
            raise AssertionError(errors)

    def test_the_manifest_names_the_release_and_the_version_of_the_program(self):
        self.assertEqual(("scrapebroker", support.VERSION), (self.manifest["name"], self.manifest["version"]))
        for item in [self.manifest, *self.manifest["jobs"], *self.manifest["packages"]]:
            for key in ("name", "version"):
                self.assertTrue(IDENTIFIER.fullmatch(item[key]), item[key])
        with tarfile.open(self.file) as tar:
            first = next(member for member in tar if member.isfile())
        self.assertEqual("./release.MF", first.name)

    def test_checksums_are_those_of_the_archives(self):
        files = {"license.tgz": self.manifest["license"]}
        for kind in ("jobs", "packages"):
            files.update({f"{kind}/{item['name']}.tgz": item for item in self.manifest[kind]})
        self.assertEqual(
            {**{name: item["sha1"] for name, item in files.items()}},
            {str(p.relative_to(self.unpacked)): digest(p) for p in self.unpacked.rglob("*.tgz")})

    def test_jobs_are_those_of_the_folder_with_all_files(self):
        self.assertEqual(set(release.SPECS), {item["name"] for item in self.manifest["jobs"]})
        for item in self.manifest["jobs"]:
            folder = self.folder / "jobs" / item["name"]
            self.unpack(self.unpacked / "jobs" / f"{item['name']}.tgz", folder)
            spec = yaml.safe_load((folder / "job.MF").read_text())
            self.assertEqual(item["name"], spec["name"])
            self.assertEqual(item["packages"], spec["packages"])
            self.assertTrue((folder / "monit").is_file())
            for template in spec["templates"]:
                source = release.RELEASE / "jobs" / item["name"] / "templates" / template
                self.assertEqual(source.read_text(), (folder / "templates" / template).read_text())

    def test_the_package_compiles_and_the_unpacked_job_runs_its_program(self):
        (package,) = self.manifest["packages"]
        source, target = self.folder / "source", self.folder / "target"
        self.unpack(self.unpacked / "packages" / f"{package['name']}.tgz", source)
        target.mkdir()
        support.run("bash", "packaging", cwd=source, env={**os.environ, "BOSH_INSTALL_TARGET": str(target)})
        self.assertEqual(
            (support.ROOT / "deploy/cf/register.sh").read_text(), (target / "bin/register.sh").read_text())

        folder = self.folder / "job"
        self.unpack(self.unpacked / "jobs/scrapebroker.tgz", folder)
        properties = test_run.local()
        files = release.render_job(str(folder), {"scrapebroker": properties})
        with tempfile.TemporaryDirectory(prefix="bosh-") as root:
            machine = release.Vm(root, files, program=target / "bin/scrapebroker")
            with machine.started() as child:
                done = machine.run(test_run.POST_START)
                self.assertEqual(0, done.returncode, done.stderr + machine.log())
                self.assertEqual(200, support.get(test_run.url(properties, "/-/ready"))[0])
                self.assertEqual("0\n", machine.run(test_run.DRAIN).stdout)
                self.assertEqual(0, child.wait(timeout=1))


class Identity(unittest.TestCase):
    """Fingerprints: BOSH treats jobs and packages with the same fingerprint as the same."""

    def build(self, folder, program=b"program", change=None):
        """Builds a release of a copy of the repository. Returns its bytes and its fingerprints."""
        copy = pathlib.Path(folder) / "copy"
        for name in ["deploy/bosh", "deploy/cf", "scripts"]:
            shutil.copytree(support.ROOT / name, copy / name, dirs_exist_ok=True)
        for name in ["Cargo.toml", "LICENSE"]:
            shutil.copy2(support.ROOT / name, copy)
        if change:
            change(copy)
        (copy / "program").write_bytes(program)
        support.run(copy / "scripts/bosh-release", copy / "program", copy / "release.tgz", "--version", "9.9.9")
        content = (copy / "release.tgz").read_bytes()
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            manifest = json.load(tar.extractfile("./release.MF"))
        self.assertEqual("9.9.9", manifest["version"])
        items = [*manifest["jobs"], *manifest["packages"]]
        return content, [item["fingerprint"] for item in items]

    def test_the_same_files_give_the_same_release_and_others_other_fingerprints(self):
        def other_template(copy):
            path = copy / "deploy/bosh/jobs/scrapebroker/templates/drain.erb"
            path.write_text(path.read_text() + "\n")

        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            first, fingerprints = self.build(a)
            second, _ = self.build(b)
            self.assertEqual(first, second)
            _, changed = self.build(b, program=b"another program")
            self.assertEqual([True, True, False], [x == y for x, y in zip(fingerprints, changed)])
            _, changed = self.build(b, change=other_template)
            self.assertEqual([True, False, True], [x == y for x, y in zip(fingerprints, changed)])


if __name__ == "__main__":
    unittest.main()
