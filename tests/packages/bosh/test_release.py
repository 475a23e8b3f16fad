"""The layout of the release: specs, package, properties, scripts."""

import io
import os
import pathlib
import re
import tarfile
import tempfile
import unittest

import support
import yaml

from bosh import release, test_register

# Keys that have no property, and the reason.
NO_PROPERTY = {
    "store_is_durable": "the persistent disk of BOSH outlives the process",
    "web_config_file": "the property web_config is the content of the file",
    "systemd_socket": "BPM starts the process, not systemd",
}

# Properties whose default is not that of the program.
OTHER_DEFAULTS = {
    "health_listen": "0.0.0.0:8086",
    "prometheus.provisioner": "none",
    "prometheus.data_dir": "/var/vcap/store/scrapebroker/prometheus",
    # Both are computed from other settings.
    "base_url": None,
    "database_url": None,
}

# Properties that are no key of the configuration.
JOB_PROPERTIES = {
    "database.host", "database.port", "database.name", "database.username", "database.password",
    "database.sslmode", "database.ca", "routes.nats.enabled", "routes.nats.tls.enabled", "env",
    "start_timeout", "release_level_backup", "web_config", "bpm.memory_limit", "bpm.open_files", "bpm.additional_volumes",
    "bpm.unrestricted_volumes",
}

TYPES = {
    "string": str, "secret": str, "certificate": str, "duration": str, "size": str,
    "integer": int, "boolean": bool, "list": list, "map": dict,
}


def documented_keys():
    """Returns the defaults of all keys in docs/CONFIGURATION.md that are not keys of items of a list."""
    text = (support.ROOT / "docs/CONFIGURATION.md").read_text()
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| (.*?) \| .* \| .* \|$", text, re.MULTILINE)
    return {key: None if default == "–" else value(default.strip("`")) for key, default in rows}


def value(text):
    """Returns a value as YAML has it. An address such as [::]:8085 is a text."""
    return text if text.startswith("[::]") else yaml.safe_load(text)


def properties():
    """Returns the properties of the job without their prefix."""
    return {name.removeprefix("scrapebroker."): value for name, value in release.SPEC["properties"].items()}


class Spec(unittest.TestCase):
    def test_each_template_is_listed_once_and_exists(self):
        for job, spec in release.SPECS.items():
            with self.subTest(job):
                templates = release.RELEASE / "jobs" / job / "templates"
                files = {str(path.relative_to(templates)) for path in templates.rglob("*") if path.is_file()}
                self.assertEqual(files, set(spec["templates"]))
                targets = list(spec["templates"].values())
                self.assertEqual(len(targets), len(set(targets)))

    def test_each_property_has_a_description_a_type_and_a_value_to_look_at(self):
        prefixes = {"scrapebroker": "scrapebroker.", "register-broker": "register_broker."}
        for job, spec in release.SPECS.items():
            for name, prop in spec["properties"].items():
                with self.subTest(name):
                    self.assertTrue(name.startswith(prefixes[job]))
                    self.assertTrue(prop["description"].strip().endswith("."))
                    self.assertLessEqual(set(prop), {"description", "type", "default", "example"})
                    if prop["type"] not in ("secret", "certificate"):
                        self.assertTrue("default" in prop or "example" in prop)
                    if "default" in prop:
                        self.assertIsInstance(prop["default"], TYPES[prop["type"]])

    def test_no_property_is_part_of_the_path_of_another(self):
        for spec in release.SPECS.values():
            names = list(spec["properties"])
            for name in names:
                self.assertEqual([], [other for other in names if other.startswith(f"{name}.")])

    def test_links_are_optional_and_provide_declared_properties(self):
        self.assertEqual(["nats", "nats-tls"], [link["name"] for link in release.SPEC["consumes"]])
        self.assertTrue(all(link["optional"] for link in release.SPEC["consumes"]))
        for link in release.SPEC["provides"]:
            self.assertLessEqual(set(link["properties"]), set(release.SPEC["properties"]))

    def test_packages_of_jobs_exist(self):
        for job, spec in release.SPECS.items():
            for package in spec["packages"]:
                self.assertTrue((release.RELEASE / "packages" / package / "spec").exists(), job)

    def test_each_key_of_the_configuration_has_a_property(self):
        self.assertGreater(len(documented_keys()), 90)
        self.assertEqual(set(documented_keys()) - set(NO_PROPERTY), set(properties()) - JOB_PROPERTIES)

    def test_defaults_are_those_of_the_configuration(self):
        for key, default in documented_keys().items():
            if key not in NO_PROPERTY:
                with self.subTest(key):
                    expected = OTHER_DEFAULTS.get(key, default)
                    self.assertEqual(expected, properties()[key].get("default"))

    def test_monit_uses_the_pidfile_of_bpm(self):
        monit = release.render({})["monit"]
        self.assertIn(f"with pidfile {release.PIDFILE}\n", monit)
        self.assertIn('"/var/vcap/jobs/bpm/bin/bpm start scrapebroker"', monit)
        self.assertIn('"/var/vcap/jobs/bpm/bin/bpm stop scrapebroker"', monit)


class Package(unittest.TestCase):
    BLOB = "scrapebroker/scrapebroker-linux-x86_64.tar.gz"

    def compile(self, members):
        """Runs the packaging script with a blob. Returns the exit code, the errors, and the installed files."""
        with tempfile.TemporaryDirectory(prefix="bosh-package-") as folder:
            folder = pathlib.Path(folder)
            blob = folder / "compile" / self.BLOB
            blob.parent.mkdir(parents=True)
            (folder / "target").mkdir()
            with tarfile.open(blob, "w:gz") as archive:
                for name, mode, content in members:
                    member = tarfile.TarInfo(name)
                    member.mode, member.size = mode, len(content)
                    archive.addfile(member, io.BytesIO(content))
            script = release.RELEASE / "packages/scrapebroker/packaging"
            done = support.subprocess.run(
                ["bash", str(script)], cwd=folder / "compile", capture_output=True, text=True, check=False,
                env={"PATH": os.environ["PATH"], "BOSH_INSTALL_TARGET": str(folder / "target")},
            )
            installed = {
                str(path.relative_to(folder / "target")): (path.read_bytes(), path.stat().st_mode & 0o777)
                for path in (folder / "target").rglob("*") if path.is_file()
            }
            return done.returncode, done.stderr, installed

    def test_the_spec_lists_the_blob_of_the_instructions(self):
        spec = yaml.safe_load((release.RELEASE / "packages/scrapebroker/spec").read_text())
        self.assertEqual([self.BLOB], spec["files"])
        self.assertEqual(["scrapebroker"], release.SPEC["packages"])
        for text in ["deploy/bosh/README.md", "scripts/bosh-release"]:
            self.assertIn(self.BLOB, (support.ROOT / text).read_text())

    def test_the_program_of_the_blob_is_installed(self):
        members = [
            ("scrapebroker-1.2.3/README.md", 0o644, b"read"),
            ("scrapebroker-1.2.3/bin/scrapebroker", 0o755, b"program"),
            ("scrapebroker-1.2.3/share/completions/scrapebroker", 0o644, b"completion"),
        ]
        program = {"bin/scrapebroker": (b"program", 0o755)}
        self.assertEqual((0, "", program), self.compile(members))
        members.append(("scrapebroker-1.2.3/deploy/cf/register.sh", 0o644, b"script"))
        self.assertEqual((0, "", {**program, "bin/register.sh": (b"script", 0o755)}), self.compile(members))

    def test_a_blob_without_the_program_fails(self):
        code, errors, installed = self.compile([("scrapebroker/README.md", 0o644, b"read")])
        self.assertEqual((1, {}), (code, installed))
        self.assertIn("must contain the program", errors)


class Scripts(unittest.TestCase):
    def test_scripts_pass_shellcheck(self):
        sets = [{}, {"database": {"host": "db", "password": "x"}, "health_listen": "[::]:9000", "drain_wait": "1m",
                 "prometheus": {"provisioner": "process"}},
                {"release_level_backup": True}]
        with tempfile.TemporaryDirectory(prefix="bosh-scripts-") as folder:
            scripts = [release.RELEASE / "packages/scrapebroker/packaging"]
            for number, values in enumerate(sets):
                jobs = [release.render(values), test_register.rendered(ca="CA" if number else "", organizations=["a b"])]
                for path, text in (item for files in jobs for item in files.items()):
                    if path.startswith("bin/"):
                        scripts.append(pathlib.Path(folder) / f"{number}-{path.replace('/', '-')}")
                        scripts[-1].write_text(text)
            self.assertEqual(28, len(scripts))
            support.run("shellcheck", "--enable=all", "--exclude=SC2312,SC2310,SC2250", *map(str, scripts))


if __name__ == "__main__":
    unittest.main()
