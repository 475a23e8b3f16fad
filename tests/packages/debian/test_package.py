"""docs/install/debian.md: the commands of the page are run with the package."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

from broker import Broker, METRICS, ORGANIZATION, SPACE
from debian_system import debian_system
from gorouter import gorouter
from pages import code_blocks
from support import DIST, PROGRAM, ROOT, eventually, run

PAGE = "docs/install/debian.md"
COMMANDS = code_blocks(PAGE, "sh")
[CONFIGURATION] = code_blocks(PAGE, "yaml")["Configure"]
UNIT = "scrapebroker.service"
FILE = "/etc/scrapebroker/config.yml"
STATE = "/var/lib/scrapebroker"

[PACKAGE] = DIST.glob("*.deb")

INSTANCE = "/broker/v2/service_instances/aaaaaaaa-0000-4000-8000-000000000001"


def build(folder, *options, environment=None):
    """Builds the package in a folder. Returns its path."""
    command = [ROOT / "scripts/build-deb", PROGRAM, folder, *options]
    return pathlib.Path(run(*command, env={**os.environ, **(environment or {})}).rstrip("\n"))


def archive(package, which):
    """Returns the bytes of one of the two archives in a package, without their compression."""
    command = ["dpkg-deb", which, package]
    return subprocess.run(command, check=True, capture_output=True).stdout


class Package(unittest.TestCase):
    """The package as a file."""

    @classmethod
    def setUpClass(cls):
        listed = run("dpkg-deb", "--contents", PACKAGE).splitlines()
        cls.files = {line.split()[5].lstrip("."): line.split()[:2] for line in listed}

    def test_it_has_the_files_on_the_page(self):
        paths = set(re.findall(r"^\| `(/\S+)` \|", (ROOT / PAGE).read_text(), re.M))
        created_later = {STATE, "/dev/shm/scrapebroker"}
        self.assertLess(created_later, paths)
        for path in paths - created_later:
            self.assertTrue({path, f"{path}/"} & self.files.keys(), path)

    def test_everything_belongs_to_root_and_only_root_may_write(self):
        for path, (mode, owner) in self.files.items():
            self.assertEqual("0/0", owner, path)
            self.assertRegex(mode, r"^.....-..-.$", path)
        self.assertEqual("-rw-r-----", self.files[FILE][0])

    def test_the_unit_is_the_one_in_the_repository(self):
        with tempfile.TemporaryDirectory() as folder:
            run("dpkg-deb", "--extract", PACKAGE, folder)
            unit = pathlib.Path(folder) / f"usr/lib/systemd/system/{UNIT}"
            self.assertEqual((ROOT / f"deploy/systemd/{UNIT}").read_text(), unit.read_text())

    def test_lintian_finds_nothing(self):
        shown = run("lintian", "--allow-root", "--fail-on=error,warning", PACKAGE)
        self.assertEqual("", shown)

    def test_it_does_not_depend_on_when_and_by_whom_it_is_built(self):
        self.addCleanup(os.umask, os.umask(0o077))
        folder = self.enterContext(tempfile.TemporaryDirectory())
        again = build(folder, "--fast", environment={"TZ": "Asia/Tokyo"})
        for which in ("--fsys-tarfile", "--ctrl-tarfile"):
            equal = archive(PACKAGE, which) == archive(again, which)
            self.assertTrue(equal, f"{which} differs; make dist must have run for this commit")

    def test_the_packaged_configuration_is_valid_also_without_its_comments(self):
        text = (ROOT / "deploy/debian/config.yml").read_text()
        enabled = re.sub(r"^#(?! |$)", "", text, flags=re.M)
        added = yaml.safe_load(enabled).keys() - yaml.safe_load(text).keys()
        self.assertEqual({"base_url", "broker", "routes"}, added)
        with tempfile.TemporaryDirectory() as folder:
            files = pathlib.Path(folder)
            (files / "packaged.yml").write_text(text)
            (files / "enabled.yml").write_text(enabled.replace("/etc/scrapebroker", folder))
            for name in ("broker-password", "router-password"):
                (files / name).write_text("0123456789abcdef\n")
            for name in ("packaged.yml", "enabled.yml"):
                run(PROGRAM, "check-config", "--config", files / name)


class Installed(unittest.TestCase):
    """The tests use one system, in the order of their names. The last one purges the package."""

    @classmethod
    def setUpClass(cls):
        cls.system = system = cls.enterClassContext(debian_system())
        system.write("/etc/apt/apt.conf.d/yes", 'APT::Get::Assume-Yes "true";\n')
        system.copy(PACKAGE, f"/root/{PACKAGE.name}")
        no_drain = "[Manager]\nDefaultEnvironment=SCRAPEBROKER__DRAIN_WAIT=0s\n"
        system.write("/etc/systemd/system.conf.d/no-drain.conf", no_drain)
        # In the tree only, as in the build of an image. The rest of the tests is below systemd.
        system.chroot("cd /root\n" + COMMANDS["Install"][0].splitlines()[0])
        cls.enterClassContext(system.booted())
        cls.enterClassContext(gorouter(system))

    def status(self, path):
        command = "curl -sS --max-time 10 -o /dev/null -w '%{http_code}' http://127.0.0.1:8085"
        return self.system.shell(command + path)

    def broker(self):
        return Broker(self.system, self.system.shell("cat /etc/scrapebroker/broker-password").strip())

    def stat(self, *paths):
        return self.system.shell(f"stat --format='%a %U:%G' {' '.join(paths)}").splitlines()

    def process(self):
        return self.system.properties(UNIT, "MainPID")["MainPID"]

    def test_a_a_package_installed_without_systemd_is_started_at_boot(self):
        eventually(lambda: self.status("/-/healthy") == "200", 20, "the service is healthy")
        self.assertEqual("enabled", self.system.shell(f"systemctl is-enabled {UNIT}").strip())
        self.assertEqual("active", self.system.properties(UNIT, "ActiveState")["ActiveState"])

    def test_b_the_page_installs_a_running_service(self):
        self.system.shell(COMMANDS["Remove"][1])
        [block] = COMMANDS["Install"]
        self.system.shell(block)
        self.assertEqual("200", self.status("/-/healthy"))
        self.assertEqual("503", self.status("/broker/v2/catalog"))
        owner = self.system.shell(f"stat --format=%U /proc/{self.process()}").strip()
        self.assertEqual("scrapebroker", owner)
        expected = ["750 root:scrapebroker", "640 root:scrapebroker", "700 scrapebroker:scrapebroker"]
        self.assertEqual(expected, self.stat("/etc/scrapebroker", FILE, STATE))

    def test_c_the_page_configures_the_service(self):
        password, apply = COMMANDS["Configure"]
        self.system.shell(password)
        self.system.shell(f"cat >>{FILE} <<'EOF'\n{CONFIGURATION}EOF\n")
        self.system.shell(apply)
        self.assertTrue(self.broker().call("GET", "/broker/v2/catalog")["services"])
        url = "http://127.0.0.1:8085/v1/apps/metrics?route_url=shop.example.com"
        self.assertRegex(self.system.shell(f"curl -fsS '{url}'"), r"orders\{.*\} 42")

    def test_d_the_backup_of_the_page_has_the_database_and_its_key(self):
        [block] = COMMANDS["Backup"]
        self.system.shell(block)
        copies = self.system.shell("ls /var/backups/scrapebroker").split()
        self.assertEqual([".db", ".db.token-key"], [name[10:] for name in copies])
        self.system.shell("rm -r /var/backups/scrapebroker")

    def test_d_an_upgrade_keeps_the_configuration_its_mode_and_the_database(self):
        service, plan = METRICS
        body = {
            "service_id": service,
            "plan_id": plan,
            "organization_guid": ORGANIZATION,
            "space_guid": SPACE,
        }
        self.broker().call("PUT", INSTANCE, body)
        self.system.shell(f"chmod 644 {FILE}")
        before = self.process()
        self.system.shell(f"rm /root/{PACKAGE.name}")
        with tempfile.TemporaryDirectory() as folder:
            self.system.copy(newer_package(pathlib.Path(folder)), "/root/")
        [block] = COMMANDS["Upgrade"]
        self.system.shell(block)
        version = self.system.shell("dpkg-query --show --showformat='${Version}' scrapebroker")
        self.assertRegex(version, r"\+newer$")
        self.assertNotEqual(before, self.process())
        self.assertEqual(["644 root:scrapebroker"], self.stat(FILE))
        self.assertIn(CONFIGURATION, self.system.shell(f"cat {FILE}"))
        eventually(lambda: self.status("/-/ready") == "200", 20, "the service is ready")
        self.assertEqual(plan, self.broker().call("GET", INSTANCE)["plan_id"])

    def test_e_a_disabled_service_is_not_started_by_an_upgrade(self):
        self.system.shell(f"systemctl disable --now {UNIT}")
        self.system.shell("apt install --reinstall ./scrapebroker_*.deb")
        state = self.system.properties(UNIT, "ActiveState", "UnitFileState")
        self.assertEqual({"ActiveState": "inactive", "UnitFileState": "disabled"}, state)
        self.system.shell(f"systemctl enable --now {UNIT}")

    def test_f_a_removal_keeps_the_configuration_and_the_data(self):
        self.system.shell(COMMANDS["Remove"][0])
        self.assertEqual("", self.processes())
        self.assertIn(CONFIGURATION, self.system.shell(f"cat {FILE}"))
        self.system.shell(f"test -s {STATE}/scrapebroker.db -a -s {STATE}/scrapebroker.db.token-key")
        [block] = COMMANDS["Upgrade"]
        self.system.shell(block)
        eventually(lambda: self.status("/-/ready") == "200", 20, "the service is ready")
        self.assertEqual(METRICS[1], self.broker().call("GET", INSTANCE)["plan_id"])

    def test_g_purging_leaves_only_the_user(self):
        for block in COMMANDS["Remove"]:
            self.system.shell(block)
        self.assertEqual("", self.processes())
        left = "find / -xdev -name '*scrapebroker*' -not -path '/root/*' -not -path '/proc/*'"
        self.assertEqual("", self.system.shell(left))
        self.assertIn("nologin", self.system.shell("getent passwd scrapebroker"))

    def processes(self):
        return self.system.shell("grep -l scrapebroker /proc/[0-9]*/comm || true")


def newer_package(folder):
    """Packs the package once more into a folder, with a newer version."""
    tree = folder / "tree"
    run("dpkg-deb", "--raw-extract", PACKAGE, tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+newer", control.read_text(), flags=re.M))
    newer = folder / re.sub(r"_(?=[^_]*$)", "+newer_", PACKAGE.name)
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, newer)
    return newer
