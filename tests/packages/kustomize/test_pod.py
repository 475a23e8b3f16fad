"""The pods of the manifests start, serve and stop, with SQLite and with PostgreSQL."""

import contextlib
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

import support
import yaml
from kustomize import kubelet, manifests

SECRETS = {"scrapebroker": {"username": "cloud-controller", "password": "not-a-password", "token-key": "0" * 64}}

POOL = """
query:
  pools:
    - name: main
      locators:
        - static: ["http://127.0.0.1:9"]
"""


class PodTest(unittest.TestCase):
    """One tree of the image for all tests."""

    @classmethod
    def setUpClass(cls):
        if os.geteuid() != 0:
            raise AssertionError("the pods run as another user, so this check requires root")
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.folder.chmod(0o755)
        cls.root = support.unpack_image(cls.folder / "image")

    def setUp(self):
        self.scratch = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(dir=self.folder)))
        self.scratch.chmod(0o755)

    def render(self, *variant):
        """Renders a variant of the manifests."""
        return manifests.objects(manifests.render_all(self.scratch, *variant))

    def start(self, found, secrets, mounts=None):
        """Starts a pod, and waits until its probes succeed."""
        running = self.enterContext(kubelet.pod(found, self.root, self.scratch, secrets, mounts=mounts))
        for probe in ["startup", "liveness", "readiness"]:
            kubelet.probe(running, found, probe)
        return running

    def stop(self, running, found):
        """Stops a pod within its grace period."""
        start = time.monotonic()
        self.assertEqual(0, running.stop(), running.output())
        self.assertLess(time.monotonic() - start, manifests.pod(found)["terminationGracePeriodSeconds"])

    def test_with_sqlite_it_keeps_its_database_on_the_volume(self):
        found = self.render("base")
        running = self.start(found, SECRETS)
        self.assertEqual(200, running.get(8085, "/metrics"))
        self.stop(running, found)
        database = self.scratch / "data" / "scrapebroker.db"
        before = database.stat().st_ino
        self.start(found, SECRETS)
        self.assertEqual(before, database.stat().st_ino)

    def test_with_postgresql_it_writes_nothing(self):
        found = self.render("overlays/postgresql")
        with postgresql(self.scratch) as (url, sockets):
            secrets = {**SECRETS, "scrapebroker-database": {"url": url}}
            running = self.start(found, secrets, {"/run/postgresql": sockets})
            self.assertEqual(200, running.get(8085, "/metrics"))
            self.assertIn('"database":"postgres://', running.output())
            self.stop(running, found)
        self.assertEqual([], list((self.root / "var/lib/scrapebroker").iterdir()))

    def test_components_open_their_listeners(self):
        found = self.render("base", manifests.COMPONENTS)
        config = manifests.only(found, "ConfigMap")["data"]
        config["config.yml"] += POOL
        running = self.start(found, SECRETS)
        self.assertEqual(200, running.get(8090, "/metrics"))
        self.assertEqual(200, running.get(9090, "/-/healthy"))
        self.assertEqual(503, running.get(9090, "/api/v1/query?query=up"), "the only replica is unreachable")

    def test_listeners_with_ipv6_addresses_accept_ipv4_too(self):
        found = self.render("base", manifests.COMPONENTS)
        config = manifests.only(found, "ConfigMap")["data"]
        config["config.yml"] = config["config.yml"].replace("0.0.0.0:", "'[::]:").replace(":8086", ":8086'") + POOL
        config["config.yml"] += "listen: '[::]:8085'\n"
        for variable in manifests.container(found)["env"]:
            variable["value"] = variable["value"].replace("0.0.0.0:", "[::]:")
        running = self.start(found, SECRETS)
        for host in ["127.0.0.1", "::1"]:
            for port, path in {8085: "/metrics", 8086: "/-/ready", 8090: "/metrics", 9090: "/-/healthy"}.items():
                self.assertEqual(200, running.get(port, path, host), (host, port))

    def test_check_config_accepts_the_configuration_and_names_its_limits(self):
        found = self.render("base")
        with kubelet.pod(found, self.root, self.scratch, SECRETS, ["check-config"]) as running:
            self.assertEqual(0, running.process.wait(timeout=20), running.output())
            effective = yaml.safe_load(running.output())
        grace = sum(seconds(effective[key]) for key in ["drain_wait", "shutdown_grace"])
        self.assertLessEqual(grace + 10, manifests.pod(found)["terminationGracePeriodSeconds"])
        self.assertEqual("[::]:8085", effective["listen"])
        self.assertEqual("0.0.0.0:8086", effective["health_listen"])
        limit = manifests.container(found)["resources"]["limits"]["memory"]
        needed = mebibytes(effective["scrape"]["max_memory"]) * 1.25 + 50
        self.assertLess(needed, mebibytes(limit))

    def test_the_configuration_is_read_from_the_mounted_file(self):
        found = self.render("base")
        manifests.only(found, "ConfigMap")["data"]["config.yml"] += "unknown_key: 1\n"
        with kubelet.pod(found, self.root, self.scratch, SECRETS) as running:
            self.assertEqual(64, running.process.wait(timeout=20))
            self.assertIn("unknown_key", running.output())

    def test_the_backup_of_the_page_is_written(self):
        found = self.render("base")
        self.start(found, SECRETS)
        page = (support.ROOT / "docs/install/kubernetes.md").read_text()
        (path,) = re.findall(r"/usr/bin/scrapebroker backup (\S+)", page)
        command = ["backup", path]
        with kubelet.pod(found, self.root, self.scratch, SECRETS, command) as running:
            self.assertEqual(0, running.process.wait(timeout=20), running.output())
        self.assertGreater((self.scratch / "data" / pathlib.Path(path).name).stat().st_size, 0)


@contextlib.contextmanager
def postgresql(folder):
    """Runs a PostgreSQL server. Yields the URL in the pod, and the folder of the server's socket."""
    temporary = folder / "postgresql"
    temporary.mkdir()
    temporary.chmod(0o1777)
    command = [support.ROOT / "scripts" / "with-postgres", "sh", "-c"]
    command += ['echo "$SCRAPEBROKER_TEST_POSTGRES"; exec sleep 600']
    environment = {**os.environ, "TMPDIR": str(temporary)}
    environment.pop("SCRAPEBROKER_TEST_POSTGRES", None)
    log = temporary / "log"
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": log.open("w"), "text": True}
    with support.process(*command, **options) as server:
        url = server.stdout.readline()
        if not url:
            raise AssertionError(log.read_text())
        (port,) = re.findall(r":(\d+)/", url)
        (sockets,) = {path.parent for path in temporary.glob(f"*/.s.PGSQL.{port}")}
        sockets.chmod(0o755)
        yield f"postgres:///postgres?host=/run/postgresql&port={port}&user=scrapebroker", sockets


def seconds(text):
    """Returns the seconds of a duration such as `15s`."""
    return int(re.fullmatch(r"(\d+)s", text)[1])


def mebibytes(text):
    """Returns the MiB of a size such as `256MiB`, `256.0 MiB` or `512Mi`."""
    number, unit = re.fullmatch(r"([\d.]+) ?([KMG]i)B?", text).groups()
    return float(number) * {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024}[unit]
