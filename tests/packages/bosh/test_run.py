"""The process of the rendered job: start, health, drain, sources of routes."""

import base64
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import certificates
import support

from bosh import release

HEALTHY = "/var/vcap/jobs/scrapebroker/bin/dns/healthy"
DRAIN = "/var/vcap/jobs/scrapebroker/bin/drain"
PRE_START = "/var/vcap/jobs/scrapebroker/bin/pre-start"
POST_START = "/var/vcap/jobs/scrapebroker/bin/post-start"
PASSWORD = "pass\"word'with ${HOME} <%= 1 %> and spaces "


def local(**properties):
    """Returns properties for free ports of the loopback address."""
    ports = {support.free_port() for _ in range(8)}
    return {
        "listen": f"127.0.0.1:{ports.pop()}", "health_listen": f"127.0.0.1:{ports.pop()}", "drain_wait": "1s",
        "shutdown_grace": "5s", **properties,
    }


def url(properties, path):
    return f"http://{properties['listen']}{path}"


def basic(username, password):
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class Lifecycle(unittest.TestCase):
    def test_start_health_drain(self):
        properties = local(broker={"username": "platform", "password": PASSWORD}, drain_wait="3s")
        with release.vm(properties) as machine:
            self.assertEqual((0, ""), (machine.run(PRE_START).returncode, machine.run(PRE_START).stdout))
            self.assertNotEqual(0, machine.run(HEALTHY).returncode)
            with machine.started() as child:
                done = machine.run(POST_START)
                self.assertEqual(0, done.returncode, done.stderr + machine.log())
                self.assertEqual(0, machine.run(HEALTHY).returncode)
                self.assertEqual(200, support.get(url(properties, "/-/ready"))[0])
                headers = {"Authorization": basic("platform", PASSWORD), "X-Broker-API-Version": "2.17"}
                self.assertEqual(200, support.get(url(properties, "/broker/v2/catalog"), headers=headers)[0])
                self.assertTrue(machine.path("/var/vcap/store/scrapebroker/scrapebroker.db").exists())

                command = machine.command(DRAIN)
                with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as drain:
                    support.eventually(
                        lambda: support.get(url(properties, "/-/ready"))[0] == 503, seconds=2.5, what="503"
                    )
                    self.assertNotEqual(0, machine.run(HEALTHY).returncode)
                    self.assertIsNone(drain.poll())
                    output, errors = drain.communicate(timeout=20)
                self.assertEqual((0, "0\n", ""), (drain.returncode, output, errors))
                self.assertEqual(0, child.wait(timeout=1))
            self.assertFalse(machine.path(release.PIDFILE).exists())
            log = machine.path("/var/vcap/sys/log/scrapebroker/drain.log").read_text()
            self.assertIn("draining process", log)
            self.assertIn("has ended", log)

    def test_a_drain_lets_a_running_scrape_complete(self):
        with SlowGorouter(delay=2) as gorouter:
            properties = local(routes={"gorouters": [gorouter.source]}, backends={"skip_verify": True})
            with release.vm(properties) as machine, machine.started():
                support.eventually(lambda: machine.run(HEALTHY).returncode == 0, what="ready")
                scrape = url(properties, f"/v1/apps/{gorouter.APP}/metrics")
                results = []
                thread = threading.Thread(target=lambda: results.append(support.get(scrape)))
                thread.start()
                self.assertTrue(gorouter.scraped.wait(10))
                done = machine.run(DRAIN)
                thread.join()
                self.assertEqual("0\n", done.stdout)
                self.assertEqual(200, results[0][0])
                self.assertIn("requests_total", results[0][1])

    def test_the_drain_of_a_process_that_does_not_run_prints_0(self):
        with release.vm(local()) as machine:
            done = machine.run(DRAIN)
            self.assertEqual((0, "0\n", ""), (done.returncode, done.stdout, done.stderr))
            machine.path(release.PIDFILE).write_text("no number\n")
            self.assertEqual("0\n", machine.run(DRAIN).stdout)

    def test_the_drain_sends_no_signal_to_another_process(self):
        with release.vm(local()) as machine, support.process("sleep", "60") as other:
            machine.path(release.PIDFILE).write_text(f"{other.pid}\n")
            done = machine.run(DRAIN)
            self.assertEqual((0, "0\n"), (done.returncode, done.stdout))
            self.assertIsNone(other.poll())

    def test_a_drain_ends_although_the_process_does_not(self):
        properties = local(drain_wait="1ms", shutdown_grace="1ms")
        with release.vm(properties) as machine, machine.started() as child:
            support.eventually(lambda: machine.run(HEALTHY).returncode == 0, what="ready")
            os.kill(child.pid, signal.SIGSTOP)
            try:
                begin = time.monotonic()
                self.assertEqual("0\n", machine.run(DRAIN).stdout)
                self.assertGreater(time.monotonic() - begin, 4)
                self.assertIsNone(child.poll())
            finally:
                os.kill(child.pid, signal.SIGCONT)

    def test_a_mistake_fails_pre_start_with_its_key(self):
        with release.vm(local(scrape={"access": "closed"})) as machine:
            done = machine.run(PRE_START)
            self.assertEqual((64, ""), (done.returncode, done.stdout))
            self.assertIn("scrape.access", done.stderr)

    def test_sqlite_without_a_persistent_disk_fails_pre_start(self):
        with release.vm(local(), disk=False) as machine:
            done = machine.run(PRE_START)
            self.assertEqual(1, done.returncode)
            self.assertIn("persistent_disk_type", done.stderr)

    def test_postgresql_needs_no_persistent_disk(self):
        properties = local(database={"host": "db", "password": "p"}, broker={"token_key": "a long random text"})
        with release.vm(properties, disk=False) as machine:
            done = machine.run(PRE_START)
            self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_a_process_that_does_not_become_ready_fails_post_start(self):
        unreachable = {"url": f"http://127.0.0.1:{support.free_port()}/routes"}
        properties = local(routes={"gorouters": [unreachable]}, start_timeout=2)
        with release.vm(properties) as machine, machine.started():
            done = machine.run(POST_START)
            self.assertEqual(1, done.returncode)
            self.assertIn("not ready after 2 s", done.stderr)


class Backup(unittest.TestCase):
    def test_the_command_of_the_page_writes_a_copy_while_the_process_runs(self):
        page = (support.ROOT / "docs/install/bosh.md").read_text()
        (command,) = re.findall(r"--command 'sudo --user vcap (\S+ backup [^']*)'", page)
        with release.vm(local()) as machine, machine.started():
            support.eventually(lambda: machine.run(HEALTHY).returncode == 0, what="ready")
            done = machine.run(*command.replace("\\\n", " ").split())
            self.assertEqual(0, done.returncode, done.stderr)
            copy = machine.path("/var/vcap/data/scrapebroker/backup.db")
            self.assertEqual(b"SQLite format 3", copy.read_bytes()[:15])


    def test_bbr_restores_what_it_backed_up(self):
        broker = {"username": "platform", "password": PASSWORD}
        properties = local(broker=broker, release_level_backup=True, drain_wait="1ms")
        with release.vm(properties) as machine:
            environment = self.tools(machine)

            def bbr(script):
                variables = {**environment, "BBR_ARTIFACT_DIRECTORY": "/var/vcap/artifact/"}
                done = machine.run(f"/var/vcap/jobs/scrapebroker/bin/bbr/{script}", env=variables)
                self.assertEqual(0, done.returncode, f"{script}: {done.stdout}{done.stderr}")

            with machine.started():
                self.assertEqual(0, machine.run(POST_START).returncode, machine.log())
                self.assertEqual(201, self.instance(properties, "PUT"))
                bbr("backup")
                self.assertEqual(
                    ["scrapebroker.db", "scrapebroker.db.token-key"],
                    sorted(path.name for path in machine.path("/var/vcap/artifact").iterdir()))
                self.assertEqual([], list(machine.path("/var/vcap/data/scrapebroker").iterdir()))
                bbr("pre-restore-lock")
            key = machine.path("/var/vcap/store/scrapebroker/scrapebroker.db.token-key").read_bytes()
            for file in machine.path("/var/vcap/store/scrapebroker").iterdir():
                file.unlink()
            bbr("restore")
            restored = machine.path("/var/vcap/store/scrapebroker/scrapebroker.db.token-key")
            self.assertEqual((key, 0o600), (restored.read_bytes(), restored.stat().st_mode & 0o777))
            with machine.started():
                bbr("post-restore-unlock")
                self.assertEqual(200, self.instance(properties, "GET"))
            calls = machine.path("/var/vcap/monit").read_text().splitlines()
            self.assertEqual(["stop scrapebroker", "start scrapebroker"], calls)

    def tools(self, machine):
        """Adds stand-ins for monit, which stops the process, and for runuser. Returns the environment with them."""
        folder = machine.path("/var/vcap/bosh/bin")
        folder.mkdir(parents=True)
        machine.path("/var/vcap/artifact").mkdir()
        stop = f'if [ "$1" = stop ]; then kill "$(cat {release.PIDFILE})"; fi'
        (folder / "monit").write_text(f'#!/bin/sh\necho "$@" >>/var/vcap/monit\n{stop}\n')
        (folder / "runuser").write_text('#!/bin/sh\n[ "$1 $2 $3" = "-u vcap --" ] || exit 1\nshift 3\nexec "$@"\n')
        for tool in folder.iterdir():
            tool.chmod(0o755)
        return {**os.environ, "PATH": f"/var/vcap/bosh/bin:{os.environ['PATH']}"}

    def instance(self, properties, method):
        """Creates or gets a service instance. Returns the status."""
        headers = {
            "Authorization": basic("platform", PASSWORD), "X-Broker-API-Version": "2.17",
            "Content-Type": "application/json",
        }
        catalog = json.loads(support.get(url(properties, "/broker/v2/catalog"), headers=headers)[1])
        service = next(service for service in catalog["services"] if service["name"] == "metrics")
        guid = "22222222-3333-4444-8555-666666666666"
        body = {
            "service_id": service["id"], "plan_id": service["plans"][0]["id"],
            "organization_guid": guid, "space_guid": guid,
        }
        request = urllib.request.Request(
            url(properties, f"/broker/v2/service_instances/{guid}"), headers=headers, method=method,
            data=json.dumps(body).encode() if method == "PUT" else None)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code

    def test_bbr_does_nothing_unless_it_is_enabled(self):
        with release.vm(local()) as machine:
            for script in ["backup", "pre-restore-lock", "restore", "post-restore-unlock"]:
                done = machine.run(f"/var/vcap/jobs/scrapebroker/bin/bbr/{script}")
                self.assertEqual((0, "scrapebroker.release_level_backup is false\n"), (done.returncode, done.stdout))

    def test_bbr_with_postgresql_is_refused(self):
        with self.assertRaisesRegex(release.RenderError, "needs SQLite on the persistent disk"):
            release.render({"release_level_backup": True, "database": {"host": "db", "password": "p"}})


class Postgres(unittest.TestCase):
    def test_the_job_logs_in_with_any_name_and_password(self):
        script = 'echo "$SCRAPEBROKER_TEST_POSTGRES"; exec sleep 300'
        command = [support.ROOT / "scripts/with-postgres", "sh", "-c", script]
        with support.process(*command, stdout=subprocess.PIPE, text=True) as server:
            self.log_in(server.stdout.readline().strip())

    def log_in(self, admin):
        name = "user name/with?signs@and:more%41"

        def sql(statement, database=admin):
            return support.run("psql", "--no-psqlrc", "--tuples-only", "--no-align", database, "-c", statement)

        literal, identifier = PASSWORD.replace("'", "''"), name.replace('"', '""')
        sql(f"CREATE ROLE \"{identifier}\" LOGIN PASSWORD '{literal}'")
        sql(f'CREATE DATABASE "{identifier}" OWNER "{identifier}"')
        # The server trusts every client until now. The administrator needs no password.
        rules = "host all scrapebroker all trust\nhost all all all scram-sha-256\n"
        file = sql("SHOW hba_file").strip()
        sql(f"COPY (SELECT unnest(string_to_array('{rules}', E'\\n'))) TO '{file}'")
        self.assertEqual("t", sql("SELECT pg_reload_conf()").strip())
        port = int(admin.rsplit(":", 1)[1].split("/")[0])
        database = {"host": "127.0.0.1", "port": port, "username": name, "password": PASSWORD, "name": name}
        broker = {"token_key": "a long random text"}
        with release.vm(local(database=database, broker=broker), disk=False) as machine, machine.started():
            done = machine.run(POST_START)
            self.assertEqual(0, done.returncode, machine.log())
            there = f"{admin.rsplit('/', 1)[0]}/{urllib.parse.quote(name, safe='')}"
            self.assertIn("bindings", sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", there))
            self.assertEqual("0\n", machine.run(DRAIN).stdout)
        wrong = local(database={**database, "password": "wrong"}, broker=broker, start_timeout=2)
        with release.vm(wrong, disk=False) as machine, machine.started():
            self.assertEqual(1, machine.run(POST_START).returncode)
            support.eventually(lambda: "password authentication failed" in machine.log(), what="the reason is logged")


class SlowGorouter:
    """A server with a route table like gorouter's that needs a password, and an app that answers late."""

    APP = "11111111-2222-4333-8444-555555555555"

    def __init__(self, delay=0):
        self.scraped = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/metrics":
                    outer.scraped.set()
                    time.sleep(delay)
                    self.answer(200, "# TYPE requests_total counter\nrequests_total 1\n", "text/plain; version=0.0.4")
                elif self.headers["Authorization"] == basic("router-status", PASSWORD):
                    self.answer(200, json.dumps(outer.table()), "application/json")
                else:
                    self.answer(401, "401 Unauthorized", "text/plain")

            def answer(self, status, text, content_type):
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = self.server.server_address[1]
        self.address = f"127.0.0.1:{port}"
        self.source = {
            "url": f"http://{self.address}/routes", "username": "router-status", "password": PASSWORD,
        }

    def table(self):
        tags = {
            "app_id": self.APP, "app_name": "shop", "space_id": self.APP, "space_name": "prod",
            "organization_id": self.APP, "organization_name": "sales", "instance_id": "0",
            "process_id": self.APP, "process_type": "web", "process_instance_id": self.APP, "component": "route-emitter",
        }
        endpoint = {
            "address": self.address, "availability_zone": "z1", "protocol": "http1", "tls": False, "ttl": 120,
            "tags": tags, "private_instance_id": self.APP,
        }
        return {"shop.example.com": [endpoint]}

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Nats:
    """nats-server with mutual TLS, and the link that the job nats-tls provides."""

    def __init__(self, folder, authority):
        self.port = support.free_port()
        self.ca = authority.certificate
        self.client = authority.sign("nats_client", usage="clientAuth")
        server = authority.sign("localhost", ["localhost", "127.0.0.1"], usage="serverAuth")
        self.folder = pathlib.Path(folder)
        for name, text in [("ca", self.ca), ("cert", server[0]), ("key", server[1]), ("client", "".join(self.client))]:
            (self.folder / name).write_text(text)
        (self.folder / "nats.conf").write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f"authorization {{ user: nats, password: {json.dumps(PASSWORD)} }}\n"
            f'tls {{ cert_file: "{folder}/cert", key_file: "{folder}/key", ca_file: "{folder}/ca", verify: true }}\n'
        )
        self.links = {
            "nats-tls": {
                "properties": {"nats": {
                    "user": "nats", "password": PASSWORD, "hostname": "localhost", "port": self.port,
                    "external": {"tls": {"ca": self.ca}},
                }},
                "instances": [{"address": "127.0.0.1"}],
            }
        }

    def publish(self, subject, message):
        """Publishes one message, as a component of the platform does."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca"))
        context.load_cert_chain(self.folder / "client")
        payload = json.dumps(message).encode()
        login = json.dumps({"verbose": False, "user": "nats", "pass": PASSWORD, "tls_required": True}).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain:
            plain.recv(4096)
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                size = str(len(payload)).encode()
                connection.sendall(b"CONNECT " + login + b"\r\nPUB " + subject.encode() + b" " + size + b"\r\n")
                connection.sendall(payload + b"\r\nPING\r\n")
                answer = b""
                while b"PONG" not in answer:
                    part = connection.recv(4096)
                    if not part or b"-ERR" in answer:
                        raise AssertionError(f"NATS: {answer}")
                    answer += part


class Sources(unittest.TestCase):
    def test_routes_come_from_a_gorouter_with_a_password(self):
        with SlowGorouter() as gorouter:
            properties = local(routes={"gorouters": [gorouter.source]})
            with release.vm(properties) as machine, machine.started():
                self.assertEqual(0, machine.run(POST_START).returncode, machine.log())
                status, text = support.get(url(properties, "/v1/apps/sales/prod/shop/metrics"))
                self.assertEqual(200, status)
                self.assertRegex(text, r'requests_total\{[^}]*app_name="shop"[^}]*\} 1')

    def test_routes_come_from_nats_with_mutual_tls(self):
        server = shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin")
        with tempfile.TemporaryDirectory(prefix="bosh-nats-") as folder, SlowGorouter() as app:
            nats = Nats(folder, certificates.Authority("nats_ca"))
            with support.process(server, "-c", f"{folder}/nats.conf", stderr=subprocess.DEVNULL):
                cert, key = nats.client
                properties = local(routes={
                    "stale_after": "8s", "refresh_interval": "1s",
                    "nats": {"enabled": True, "tls": {"cert": cert, "key": key}},
                })
                with release.vm(properties, nats.links) as machine, machine.started():
                    endpoint = app.table()["shop.example.com"][0]
                    host, port = endpoint["address"].split(":")
                    message = {
                        "host": host, "port": int(port), "uris": ["shop.example.com"], "tags": endpoint["tags"],
                        "private_instance_id": app.APP, "stale_threshold_in_seconds": 60,
                    }

                    def registered():
                        nats.publish("router.register", message)
                        return support.get(url(properties, "/v1/apps/metrics?route_url=shop.example.com"))[0] == 200

                    support.eventually(registered, seconds=15, what=f"routes from NATS; {machine.log()}")
                    done = machine.run(POST_START)
                    self.assertEqual(0, done.returncode, done.stderr)
                    self.assertEqual("0\n", machine.run(DRAIN).stdout)

    def test_nats_refuses_a_job_without_the_client_certificate(self):
        server = shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin")
        with tempfile.TemporaryDirectory(prefix="bosh-nats-") as folder:
            nats = Nats(folder, certificates.Authority("nats_ca"))
            with support.process(server, "-c", f"{folder}/nats.conf", stderr=subprocess.DEVNULL):
                properties = local(routes={"stale_after": "4s", "refresh_interval": "1s", "nats": {"enabled": True}},
                                   start_timeout=4)
                with release.vm(properties, nats.links) as machine, machine.started():
                    self.assertEqual(1, machine.run(POST_START).returncode)
                    self.assertIn("routes.nats", support.get(url(properties, "/-/ready"))[1])
                    self.assertIn("fatal alert", machine.log())


if __name__ == "__main__":
    unittest.main()
