"""docs/install/systemd.md: its commands are run in a system that systemd has booted."""

import pathlib
import re
import resource
import shutil
import unittest

from broker import Broker
from debian_system import debian_system
from gorouter import gorouter
from pages import code_blocks
from support import PROGRAM, ROOT, eventually

PAGE = "docs/install/systemd.md"
COMMANDS = code_blocks(PAGE, "sh")
DROP_INS = code_blocks(PAGE, "ini")
UNIT = "scrapebroker.service"
SOCKET = "scrapebroker.socket"
DEFAULTS = "/etc/default/scrapebroker"
NO_DRAIN = "SCRAPEBROKER__DRAIN_WAIT=0s\n"

IN_MEMORY = "aaaaaaaa-0000-4000-8000-000000000001"
ON_DISK = "aaaaaaaa-0000-4000-8000-000000000002"
RULES = "groups: [{name: test, interval: 1s, rules: [{record: test, expr: vector(7)}]}]"


class Unit(unittest.TestCase):
    """The tests use one system, in the order of their names. The last one removes the service."""

    @classmethod
    def setUpClass(cls):
        cls.system = system = cls.enterClassContext(debian_system())
        cls.enterClassContext(system.booted(*mounts_of_prometheus()))
        cls.enterClassContext(gorouter(system))
        system.copy(PROGRAM, "/root/scrapebroker")
        system.copy(PROGRAM.parent / "deploy/systemd", "/root/deploy/systemd")
        system.write(DEFAULTS, NO_DRAIN)
        for heading in ("Install", "Configure", "Start"):
            run_block(system, heading)
        password = system.shell("cat /etc/scrapebroker/broker-password").strip()
        cls.broker = Broker(system, password)

    def state(self):
        return self.system.properties(UNIT, "ActiveState", "SubState", "Result", "NRestarts", "MainPID")

    def wait_until_ready(self):
        ready = "curl -fsS http://127.0.0.1:8085/-/ready"
        eventually(lambda: self.system.shell(ready), 30, "the service is ready")

    def restart_afterwards(self):
        """Restarts the service at the end of the test, after the cleanups that follow."""
        self.addCleanup(self.system.shell, f"systemctl daemon-reload; systemctl restart {UNIT}")

    def change_unit(self, text, unit=UNIT):
        """Applies a drop-in file until the end of the test."""
        file = f"/etc/systemd/system/{unit}.d/test.conf"
        self.system.write(file, text)
        self.addCleanup(self.system.shell, f"rm {file}")
        self.system.shell("systemctl daemon-reload")

    def test_a_systemd_accepts_the_unit_without_a_warning(self):
        shown = self.system.shell(f"systemd-analyze verify {UNIT} {SOCKET} 2>&1")
        self.assertEqual("", shown)

    def test_a_the_exposure_is_the_one_on_the_page(self):
        page = (ROOT / PAGE).read_text()
        [documented] = re.findall(r"exposure of (\d+\.\d)", page)
        self.assertLessEqual(self.exposure(), float(documented))
        self.restart_afterwards()
        self.addCleanup(self.system.shell, f"rm /etc/systemd/system/{UNIT}.d/cgroups.conf")
        run_block(self.system, "Cgroups for Prometheus servers")
        [documented] = re.findall(r"exposure\s+is (\d+\.\d)", page)
        self.assertLessEqual(self.exposure(), float(documented))

    def exposure(self):
        shown = self.system.shell(f"systemd-analyze security --no-pager {UNIT}")
        return float(re.search(rf"exposure level for {UNIT}: (\d+\.\d)", shown)[1])

    def test_a_the_service_runs_with_few_rights(self):
        process = self.state()["MainPID"]
        status = self.system.shell(f"cat /proc/{process}/status")
        for line in ("CapEff:\t0{16}", "CapBnd:\t0{16}", "NoNewPrivs:\t1", "Seccomp:\t2"):
            self.assertRegex(status, line)
        user = self.system.shell(f"stat -c %U:%G /proc/{process}").strip()
        self.assertEqual("scrapebroker:scrapebroker", user)
        # A system without the right to raise limits has those of the machine.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        expected = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
        limits = self.system.shell(f"cat /proc/{process}/limits")
        self.assertRegex(limits, rf"Max open files +{expected} ")

    def test_a_the_service_notifies_systemd(self):
        shown = self.system.properties(UNIT, "Type", "StatusText", "WatchdogUSec")
        self.assertEqual(("notify", "1min"), (shown["Type"], shown["WatchdogUSec"]))
        self.assertIn("8085", shown["StatusText"])

    def test_a_the_service_serves_when_its_start_has_ended(self):
        for _ in range(3):
            healthy = "curl -fsS http://127.0.0.1:8085/-/healthy"
            self.system.shell(f"systemctl restart {UNIT}; {healthy}")

    def test_a_only_the_state_and_shared_memory_are_writable(self):
        process = self.state()["MainPID"]
        inside = f"nsenter --target {process} --mount -- sh -c"
        for folder in ("/var/lib/scrapebroker", "/dev/shm", "/tmp"):
            self.system.shell(f"{inside} 'touch {folder}/test && rm {folder}/test'")
        for folder in ("/etc", "/etc/scrapebroker", "/usr", "/var/lib", "/srv", "/root"):
            refused = self.system.shell(f"{inside} 'touch {folder}/test 2>&1 || true'")
            self.assertIn("Read-only file system", refused, folder)

    def test_a_the_configuration_is_hidden_from_other_users(self):
        reads = "runuser -u daemon -- cat /etc/scrapebroker/config.yml 2>&1 || true"
        self.assertIn("Permission denied", self.system.shell(reads))

    def test_b_an_app_is_scraped(self):
        url = "http://127.0.0.1:8085/v1/apps/metrics?route_url=shop.example.com"
        text = self.system.shell(f"curl -fsS '{url}'")
        self.assertRegex(text, r"orders\{.*app_name=\"shop\".*\} 42")

    def test_c_prometheus_servers_run_and_keep_their_samples(self):
        for instance, plan in ((IN_MEMORY, "small"), (ON_DISK, "standard")):
            self.broker.create_prometheus(instance, plan, {"rules": RULES})
        for instance in (IN_MEMORY, ON_DISK):
            eventually(lambda: self.broker.is_created(instance), 30, "the instance is created")
            eventually(lambda: self.broker.query(instance, "test") == [7], 30, "a rule is evaluated")
        before = self.system.shell("date +%s.%N").strip()
        self.system.shell(f"systemctl stop {UNIT}")
        self.assertEqual("", self.prometheus_servers())
        self.system.shell(f"systemctl start {UNIT}")
        for instance in (IN_MEMORY, ON_DISK):
            kept = lambda: self.broker.query(instance, f"test&time={before}") == [7]
            eventually(kept, 30, "the samples from before the stop are there")

    def prometheus_servers(self):
        arguments = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
        return self.system.shell(f"{arguments} | grep ^--config.file= || true")

    def test_d_prometheus_servers_answer_while_the_service_drains(self):
        self.restart_afterwards()
        self.change_unit("[Service]\nEnvironment=SCRAPEBROKER__DRAIN_WAIT=3s\nEnvironmentFile=\n")
        self.system.shell(f"systemctl restart {UNIT}")
        eventually(lambda: self.broker.query(ON_DISK, "test") == [7], 30, "the server is back")
        self.system.shell(f"systemctl stop --no-block {UNIT}")
        status = "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:8085/-/ready"
        eventually(lambda: self.system.shell(status) == "503", 3, "the service drains")
        self.assertEqual([7], self.broker.query(ON_DISK, "test"))
        stopped = lambda: self.state()["ActiveState"] == "inactive"
        eventually(stopped, 20, "the service is stopped")
        self.assertEqual("success", self.state()["Result"])

    def test_e_a_reload_reaches_the_program(self):
        self.system.shell(f"systemctl reload {UNIT}")
        log = f"journalctl --unit={UNIT} --output=cat"
        eventually(lambda: "reload succeeded" in self.system.shell(log), 10, "the files are reloaded")

    def test_e_a_drain_by_sigusr1_ends_the_service(self):
        command = re.search(r"`(systemctl kill [^`]*)`", (ROOT / PAGE).read_text())[1]
        self.system.shell(command)
        eventually(lambda: self.state()["ActiveState"] == "inactive", 20, "the service is stopped")
        self.assertEqual(("success", "0"), (self.state()["Result"], self.state()["NRestarts"]))
        self.system.shell(f"systemctl start {UNIT}")

    def test_f_a_killed_service_and_its_servers_are_restarted(self):
        self.wait_until_ready()
        before = self.state()["MainPID"]
        eventually(lambda: self.broker.query(ON_DISK, "test") == [7], 30, "the server is back")
        self.system.shell(f"kill -9 {before}")
        restarted = lambda: self.state()["NRestarts"] == "1" and self.state()["MainPID"] != before
        eventually(restarted, 20, "the service is restarted")
        eventually(lambda: self.broker.query(ON_DISK, "test") == [7], 30, "the server is back")
        two = lambda: len(self.prometheus_servers().splitlines()) == 2
        eventually(two, 20, "no server is left over")

    def test_f_a_service_that_hangs_is_restarted(self):
        self.restart_afterwards()
        self.change_unit("[Service]\nWatchdogSec=1s\nRestartSec=1s\n")
        self.system.shell(f"systemctl restart {UNIT}")
        self.system.shell(f"kill -STOP {self.state()['MainPID']}")
        log = f"journalctl --unit={UNIT} --output=cat"
        eventually(lambda: "Watchdog timeout" in self.system.shell(log), 20, "the watchdog has expired")
        self.wait_until_ready()

    def test_g_an_invalid_configuration_is_not_retried(self):
        self.system.write(DEFAULTS, "SCRAPEBROKER__DRAIN_WAIT=soon\n")
        self.addCleanup(self.system.shell, f"systemctl reset-failed {UNIT}; systemctl start {UNIT}")
        self.addCleanup(self.system.write, DEFAULTS, NO_DRAIN)
        self.system.shell(f"systemctl restart {UNIT} || true")
        eventually(lambda: self.state()["ActiveState"] == "failed", 20, "the service has failed")
        self.assertEqual("exit-code", self.state()["Result"])
        log = self.system.shell(f"journalctl --unit={UNIT} --output=cat")
        self.assertIn("drain_wait", log)

    def test_h_connections_wait_in_the_socket_of_the_page(self):
        self.use_socket()
        request = "curl -fsS --max-time 20 http://127.0.0.1:8085/-/healthy"
        self.system.shell(request)
        # The request is sent while no program serves.
        self.system.shell(f"systemctl stop {UNIT}; {request} & sleep 0.5; systemctl start {UNIT}; wait $!")

    def test_h_the_socket_of_the_page_may_have_port_443(self):
        self.restart_afterwards()
        self.change_unit(DROP_INS["A socket of systemd"][0], SOCKET)
        self.use_socket()
        self.system.shell("curl -fsS http://127.0.0.1:443/-/healthy")

    def use_socket(self):
        self.restart_afterwards()
        self.addCleanup(self.system.write, DEFAULTS, NO_DRAIN)
        self.addCleanup(self.system.shell, f"systemctl disable --now {SOCKET}")
        run_block(self.system, "A socket of systemd")

    def test_h_port_80_works_with_the_drop_in_of_the_page(self):
        self.restart_afterwards()
        setting = "Environment=SCRAPEBROKER__HEALTH_LISTEN=127.0.0.1:80\n"
        self.change_unit(DROP_INS["Ports below 1024 without a socket"][0] + setting)
        self.system.shell(f"systemctl restart {UNIT}")
        ready = "curl -fsS http://127.0.0.1/-/ready"
        eventually(lambda: self.system.shell(ready).strip() == "ready", 30, "the service is ready")

    def test_h_samples_on_another_disk_work_with_the_drop_in_of_the_page(self):
        self.restart_afterwards()
        self.system.shell("install -d -o scrapebroker -g scrapebroker /srv/prometheus")
        setting = "Environment=SCRAPEBROKER__PROMETHEUS__DATA_DIR=/srv/prometheus/data\n"
        self.change_unit(DROP_INS["Samples on another disk"][0] + setting)
        self.system.shell(f"systemctl restart {UNIT}")
        moved = "ls -d /srv/prometheus/data/*"
        eventually(lambda: self.system.shell(moved), 30, "the samples are in the other folder")
        eventually(lambda: self.broker.query(ON_DISK, "test") == [7], 30, "the server is back")

    def test_h_secrets_as_credentials_work_with_the_drop_in_of_the_page(self):
        self.restart_afterwards()
        secret, file = "/etc/scrapebroker/broker-password", "/etc/scrapebroker/config.yml"
        self.system.shell(f"chown root:root {secret}; chmod 600 {secret}; cp -p {file} /root/")
        restore = f"chown root:scrapebroker {secret}; chmod 640 {secret}; cp -p /root/config.yml {file}"
        self.addCleanup(self.system.shell, restore)
        self.system.shell(f"sed -i /password_file:/d {file}; chgrp scrapebroker {file}")
        self.change_unit(DROP_INS["Secrets as credentials of systemd"][0])
        self.system.shell(f"systemctl restart {UNIT}")
        self.assertTrue(self.broker.call("GET", "/broker/v2/catalog")["services"])

    def test_i_the_backup_of_the_page_has_the_database_and_its_key(self):
        run_block(self.system, "Backup")
        copies = self.system.shell("ls /var/backups/scrapebroker").split()
        self.assertEqual([".db", ".db.token-key"], [name[10:] for name in copies])
        self.system.shell("rm -r /var/backups/scrapebroker")

    def test_i_the_upgrade_of_the_page_restarts_the_service(self):
        before = self.state()["MainPID"]
        run_block(self.system, "Upgrade")
        self.wait_until_ready()
        self.assertNotEqual(before, self.state()["MainPID"])

    def test_z_removing_leaves_nothing(self):
        for block in COMMANDS["Remove"]:
            self.system.shell(block)
        left = "find / -xdev -name '*scrapebroker*' -not -path '/root/*' -not -path '/proc/*'"
        self.assertEqual("", self.system.shell(left))
        self.assertEqual("", self.system.shell("getent passwd scrapebroker || true"))
        self.assertEqual("", self.prometheus_servers())


def run_block(system, heading):
    [block] = COMMANDS[heading]
    system.shell(block)


def mounts_of_prometheus():
    """Returns options that mount the programs of this machine into the system."""
    programs = [pathlib.Path(shutil.which(name)).resolve() for name in ("prometheus", "promtool")]
    return [f"--bind-ro={program}" for program in programs]
