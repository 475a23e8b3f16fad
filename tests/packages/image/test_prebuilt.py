"""The image of a prebuilt program: its configuration, its files, and the program that runs in it."""

import contextlib
import gzip
import os
import pathlib
import re
import signal
import stat
import tempfile
import unittest

import support
from image import container, services
from image.buildah import buildah

TAG = "scrapebroker-test"
DOCKERFILE = support.ROOT / "deploy" / "docker" / "Dockerfile.prebuilt"

CONFIG = """
listen: 127.0.0.1:{listen}
health_listen: 127.0.0.1:{health}
drain_wait: 0s
broker:
  username: cloud-controller
  password_file: /run/secrets/scrapebroker/broker-password
routes:
  gorouters:
    - {{ url: "http://router.test:{router}/routes" }}
external_exporters:
  - {{ name: billing, host: "billing.example.test:{exporter}", scheme: https }}
prometheus: {{ provisioner: none }}
"""


def listing(root):
    """Returns mode, owner and time of each file below a folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
    return found


class PrebuiltTest(unittest.TestCase):
    """One image for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.folder.chmod(0o755)
        context = cls.folder / "context"
        context.mkdir()
        files = gzip.decompress(support.released("*-image-*.tar.gz").read_bytes())
        (context / "root.tar").write_bytes(files)
        cls.buildah = cls.enterClassContext(buildah())
        cls.buildah.build(DOCKERFILE, context, TAG, VERSION="1.2.3", REVISION="0123456789ab")
        cls.root = cls.enterClassContext(cls.buildah.files(TAG))

    def setUp(self):
        self.scratch = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(dir=self.folder)))
        self.scratch.chmod(0o755)
        self.data = container.data_folder(self.scratch / "data")
        self.log = self.scratch / "log"

    def run_image(self, *arguments, mounts=None, environment=None):
        """Starts the program of the image with an empty volume."""
        mounts = {container.DATA: self.data, **(mounts or {})}
        running = container.run(self.root, self.log, arguments, mounts, environment)
        return self.enterContext(running)

    def test_the_configuration_says_how_the_image_runs(self):
        config = self.buildah.config(TAG)
        self.assertEqual("65532:65532", config["User"])
        self.assertEqual(["/usr/bin/scrapebroker"], config["Entrypoint"])
        self.assertEqual(["serve"], config["Cmd"])
        self.assertEqual("/var/lib/scrapebroker", config["WorkingDir"])
        self.assertEqual(["/var/lib/scrapebroker"], list(config["Volumes"]))
        self.assertEqual({"8085/tcp", "8086/tcp", "8090/tcp", "9090/tcp"}, set(config["ExposedPorts"]))
        self.assertEqual("SIGTERM", config["StopSignal"])

    def test_labels_name_version_commit_source_and_licence(self):
        labels = self.buildah.config(TAG)["Labels"]
        prefix = "org.opencontainers.image."
        found = {name.removeprefix(prefix): text for name, text in labels.items() if name.startswith(prefix)}
        self.assertEqual("1.2.3", found["version"])
        self.assertEqual("0123456789ab", found["revision"])
        self.assertEqual("https://github.com/scrapebroker/scrapebroker", found["source"])
        self.assertEqual("Apache-2.0", found["licenses"])
        self.assertEqual({"title", "description", "version", "revision", "source", "licenses"}, set(found))

    def test_only_the_data_folder_belongs_to_the_user(self):
        files = listing(self.root)
        owned = [path for path, (_, uid, gid, _) in files.items() if (uid, gid) != (0, 0)]
        self.assertEqual(["var/lib/scrapebroker"], owned)
        mode, uid, gid, _ = files["var/lib/scrapebroker"]
        self.assertEqual((0o700, container.UID, container.UID), (stat.S_IMODE(mode), uid, gid))

    def test_no_other_user_can_write_and_no_file_changes_the_user(self):
        for path, (mode, *_) in listing(self.root).items():
            writable = stat.S_IMODE(mode) & (stat.S_IWGRP | stat.S_IWOTH)
            changes_user = stat.S_ISREG(mode) and stat.S_IMODE(mode) & (stat.S_ISUID | stat.S_ISGID)
            self.assertFalse(writable and path != "tmp", path)
            self.assertFalse(changes_user, path)

    def test_the_image_contains_one_program(self):
        programs = [
            path
            for path, (mode, *_) in listing(self.root).items()
            if stat.S_ISREG(mode) and mode & stat.S_IXUSR and not path.startswith("lib")
        ]
        self.assertEqual(["usr/bin/scrapebroker"], programs)

    def test_the_program_scrapes_what_it_finds_by_name(self):
        """Names are in /etc/hosts and on a DNS server, and the CA of the exporter is in the bundle."""
        ca, *pair = services.certificate(self.scratch, "billing.example.test")
        with contextlib.ExitStack() as stack:
            app = stack.enter_context(services.web({"/metrics": "jobs_total 7\n"}))
            exporter = stack.enter_context(services.web({"/metrics": "invoices_total 11\n"}, pair))
            table = services.route_table(f"127.0.0.1:{app}")
            router = stack.enter_context(services.web({"/routes": table}))
            stack.enter_context(services.dns({"billing.example.test": "127.0.0.1"}))
            listen, health = support.free_port(), support.free_port()
            ports = {"listen": listen, "health": health, "router": router, "exporter": exporter}
            self.run_image(
                *("serve", "--config", "/etc/scrapebroker/config.yml"),
                mounts=self.files_of_runtime(CONFIG.format(**ports), ca),
            )
            container.answers(f"http://127.0.0.1:{health}/-/ready")
            url = f"http://127.0.0.1:{listen}/v1/apps/metrics?route_url=shop.example.com"
            text = container.answers(url, "jobs_total")
        self.assertRegex(text, r'(?m)^jobs_total\{.*app_name="shop".*\} 7$')
        self.assertRegex(text, r"(?m)^invoices_total\{.*\} 11$")

    def files_of_runtime(self, config, ca):
        """Writes the files that a runtime or an operator mounts. Returns them by their path."""
        bundle = (self.root / "etc/ssl/certs/ca-certificates.crt").read_text()
        texts = {
            "/etc/hosts": "127.0.0.1 localhost router.test\n",
            "/etc/resolv.conf": f"nameserver {services.DNS_ADDRESS}\n",
            "/etc/scrapebroker/config.yml": config,
            "/etc/ssl/certs/ca-certificates.crt": bundle + ca.read_text(),
            "/run/secrets/scrapebroker/broker-password": "not-a-real-password\n",
        }
        mounts = {}
        for target, text in texts.items():
            mounts[target] = self.scratch / target.rpartition("/")[2]
            mounts[target].write_text(text)
        return mounts

    def test_without_settings_it_serves_and_writes_to_its_volume_only(self):
        port = support.free_port()
        settings = {"SCRAPEBROKER__LISTEN": f"127.0.0.1:{port}", "SCRAPEBROKER__DRAIN_WAIT": "0s"}
        running = self.run_image("serve", environment=settings)
        container.answers(f"http://127.0.0.1:{port}/-/healthy")
        before = listing(self.root)
        container.answers(f"http://127.0.0.1:{port}/-/ready")
        container.answers(f"http://127.0.0.1:{port}/metrics", "process_resident_memory_bytes")
        self.assertEqual(0, running.stop(), running.output())
        self.assertEqual(before, listing(self.root))
        written = listing(self.data)
        self.assertIn("scrapebroker.db", written)
        self.assertEqual({container.UID}, {uid for _, uid, _, _ in written.values()})

    def test_the_program_runs_as_the_user_without_privileges(self):
        port = support.free_port()
        running = self.run_image("serve", environment={"SCRAPEBROKER__LISTEN": f"127.0.0.1:{port}"})
        container.answers(f"http://127.0.0.1:{port}/-/healthy")
        status = pathlib.Path(f"/proc/{running.pid()}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        self.assertEqual(["65532"] * 4, fields["Uid"].split())
        self.assertEqual(["65532"] * 4, fields["Gid"].split())
        self.assertEqual("", fields["Groups"].strip())
        self.assertEqual(0, int(fields["CapEff"], 16))
        self.assertEqual("1", fields["NSpid"].split()[-1])
        self.assertFalse((self.root / "dev").exists(), "the namespace must have no /dev")

    def test_sigusr1_drains_before_the_program_stops(self):
        port, health = support.free_port(), support.free_port()
        settings = {
            "SCRAPEBROKER__LISTEN": f"127.0.0.1:{port}",
            "SCRAPEBROKER__HEALTH_LISTEN": f"127.0.0.1:{health}",
            "SCRAPEBROKER__DRAIN_WAIT": "2s",
        }
        running = self.run_image("serve", environment=settings)
        container.answers(f"http://127.0.0.1:{health}/-/healthy")
        os.kill(running.pid(), signal.SIGUSR1)
        support.eventually(lambda: support.get(f"http://127.0.0.1:{health}/-/ready")[0] == 503)
        self.assertEqual(0, running.process.wait(timeout=20), running.output())

    def test_the_configuration_of_the_page_is_valid(self):
        page = (support.ROOT / "docs/install/docker.md").read_text()
        (config,) = re.findall(r"cat > config.yml <<'END'\n(.*?)^END$", page, re.MULTILINE | re.DOTALL)
        (self.scratch / "config.yml").write_text(config)
        secrets = self.scratch / "secrets"
        secrets.mkdir()
        for name in re.findall(r"> secrets/(\S+)", page):
            (secrets / name).write_text("0" * 64 + "\n")
        mounts = {
            "/etc/scrapebroker/config.yml": self.scratch / "config.yml",
            "/run/secrets/scrapebroker": secrets,
        }
        running = self.run_image("check-config", "--config", "/etc/scrapebroker/config.yml", mounts=mounts)
        self.assertEqual(0, running.process.wait(timeout=20), running.output())
        self.assertIn("scrapebroker.example.com", running.output())

    def test_the_demo_runs_in_the_image(self):
        temporary = self.scratch / "tmp"
        temporary.mkdir()
        temporary.chmod(0o1777)
        port = support.free_port()
        running = self.run_image("demo", "--listen", f"127.0.0.1:{port}", mounts={"/tmp": temporary})
        url = f"http://127.0.0.1:{port}/v1/apps/metrics?route_url=shop.example.com"
        container.answers(url, "scrapebroker_instance_up")
        support.eventually(lambda: "Open http" in running.output(), what="URLs of the demo")
        self.assertEqual(0, running.stop(signal.SIGINT), running.output())

    def test_a_wrong_setting_is_reported(self):
        running = self.run_image("serve", environment={"SCRAPEBROKER__LISTEN": "nowhere"})
        self.assertEqual(64, running.process.wait(timeout=20))
        self.assertIn("listen", running.output())
