"""The program runs with the rendered configuration: its probes, and the pod of `helm test`."""

import base64
import contextlib
import json
import os
import pathlib
import re
import subprocess
import unittest

import yaml

from helm.chart import Objects, PodFolder, render
from helm.secrets_outside import existing_secrets
from support import PROGRAM, ROOT, eventually, free_port, get, process, run

VALUES = {
    "broker": {"username": "cc", "password": "a password: with 'quotes' and ümlauts"},
    "config": {"drain_wait": "0s", "shutdown_grace": "1s"},
}


def with_free_ports(values):
    """Values whose listeners are on loopback ports that are free. The chart refuses such addresses, so names are replaced later."""
    ports = {"metrics": free_port(), "health": free_port(), "events": free_port()}
    config = values.get("config", {}) | {
        "listen": f"0.0.0.0:{ports['metrics']}", "health_listen": f"0.0.0.0:{ports['health']}", "events": {"listen": f"0.0.0.0:{ports['events']}"}}
    return values | {"config": config}, ports


@contextlib.contextmanager
def program(objects, ports, existing=None, hosts=None):
    """Runs the program as in the pod, once it is ready."""
    with PodFolder(objects, existing or existing_secrets(), hosts) as folder:
        config = folder.root / "etc/scrapebroker/config/scrapebroker.yml"
        config.write_text(config.read_text().replace("0.0.0.0:", "127.0.0.1:"))
        with process(PROGRAM, *objects.container()["args"], env=os.environ | folder.variables, cwd=folder.root / "var/lib/scrapebroker",
                     stderr=subprocess.DEVNULL):
            eventually(lambda: get(f"http://127.0.0.1:{ports['health']}/-/ready")[0] == 200, what="ready")
            yield


@contextlib.contextmanager
def running(values):
    """Runs the program with the rendered configuration. Yields the objects, the ports and the scheme."""
    values, ports = with_free_ports(values)
    objects = render(values)
    with program(objects, ports):
        yield objects, ports, "https" if "tls" in objects.config() else "http"


def run_test_pod(objects, url, credentials=None):
    """Runs the script of the pod of `helm test` with busybox, whose applets come first in PATH."""
    pod = objects.one("Pod")
    container = pod["spec"]["containers"][0]
    script = container["command"][2].replace("-lt 30", "-lt 2").replace("sleep 2", "sleep 0.1")
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(PodFolder(objects, existing_secrets()))
        applets = folder.root / "applets"
        applets.mkdir()
        subprocess.run(["busybox", "--install", "-s", applets], check=True)
        for name in ["USERNAME_FILE", "PASSWORD_FILE"]:
            if name in variables:
                file = folder.root / name
                file.write_text((credentials or VALUES["broker"])[name.removesuffix("_FILE").lower()])
                variables[name] = str(file)
        variables |= {"URL": url, "PATH": str(applets)}
        return subprocess.run([applets / "sh", "-c", script], env=variables, text=True, capture_output=True, timeout=60)


class Running(unittest.TestCase):
    def test_all_probes_succeed_and_the_files_are_in_the_volume(self):
        with running(VALUES) as (objects, ports, _):
            for name in ["startupProbe", "livenessProbe", "readinessProbe"]:
                action = objects.container()[name]["httpGet"]
                status, _ = get(f"{action['scheme'].lower()}://127.0.0.1:{ports[action['port']]}{action['path']}")
                self.assertEqual(status, 200, name)

    def test_the_monitored_path_has_the_metrics_that_dashboards_need(self):
        values = VALUES | {"serviceMonitor": {"enabled": True, "events": {"enabled": True}}}
        with running(values) as (objects, ports, scheme):
            for endpoint in objects.one("ServiceMonitor")["spec"]["endpoints"]:
                self.assertEqual(endpoint["scheme"], scheme)
                status, text = get(f"{scheme}://127.0.0.1:{ports[endpoint['port']]}{endpoint['path']}")
                self.assertEqual(status, 200)
                self.assertIn({"metrics": "scrapebroker_build_info", "events": "events_to_metrics"}[endpoint["port"]], text)

    def test_the_test_pod_succeeds(self):
        with running(VALUES) as (objects, ports, scheme):
            done = run_test_pod(objects, f"{scheme}://127.0.0.1:{ports['metrics']}")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("answers", done.stdout)

    def test_the_test_pod_fails_if_the_broker_refuses_the_credentials(self):
        with running(VALUES) as (objects, ports, scheme):
            done = run_test_pod(objects, f"{scheme}://127.0.0.1:{ports['metrics']}", {"username": "cc", "password": "wrong"})
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("does not accept the credentials", done.stderr)

    def test_the_test_pod_fails_if_nothing_answers(self):
        done = run_test_pod(render({}), f"http://127.0.0.1:{free_port()}")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("not ready after", done.stderr)

    def test_the_test_pod_fails_if_another_program_answers(self):
        with running(VALUES) as (_, ports, __):
            done = run_test_pod(render({}), f"http://127.0.0.1:{ports['events']}")
        self.assertNotEqual(done.returncode, 0)

    def test_the_url_of_service_discovery_answers_with_the_credentials(self):
        values = VALUES | {"scrapeConfig": {"enabled": True}}
        with running(values) as (objects, ports, _):
            found = objects.one("ScrapeConfig")["spec"]["httpSDConfigs"][0]
            path = re.sub(r"^https?://[^/]+", "", found["url"])
            keys = objects.secrets()[found["basicAuth"]["username"]["name"]]
            status, text = get(f"http://127.0.0.1:{ports['metrics']}{path}", headers=login(keys["username"], keys["password"]))
            self.assertEqual((status, text.strip()), (200, "[]"))


class PostgreSql(unittest.TestCase):
    def test_user_and_password_of_the_database_are_variables_without_url_encoding(self):
        for name in ["postgresql-login.yaml", "postgresql-keys.yaml"]:
            with self.subTest(name), postgresql(existing_secrets()["scrapebroker-login"]) as address:
                values, ports = with_free_ports(example(name))
                values["config"] |= {"drain_wait": "0s"}
                objects = json.loads(json.dumps(render(values)).replace("verify-full", "disable"))
                existing = existing_secrets() | {"scrapebroker-login": existing_secrets()["scrapebroker-login"] | {"host": address}}
                with program(Objects.of(objects), ports, existing, {"db.example.com": address}):
                    pass
                # The same with another password, so that the test above depends on it.
                existing["scrapebroker-login"]["password"] = "wrong"
                with PodFolder(Objects.of(objects), existing, {"db.example.com": address}) as folder:
                    done = subprocess.run([PROGRAM, "serve"], env=os.environ | folder.variables, text=True, capture_output=True, timeout=60)
                self.assertIn("password authentication failed for user \"odd user\"", done.stderr)


def example(name):
    """The values of an example of the page."""
    text = (ROOT / "docs/install/helm.md").read_text()
    return yaml.safe_load(re.search(rf"^```yaml\n# {re.escape(name)}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1])


@contextlib.contextmanager
def postgresql(login):
    """Runs a PostgreSQL with a database and a user who needs a password. Yields the address."""
    environment = {key: value for key, value in os.environ.items() if key != "SCRAPEBROKER_TEST_POSTGRES"}
    command = [ROOT / "scripts/with-postgres", "sh", "-c", 'echo "$SCRAPEBROKER_TEST_POSTGRES"; exec sleep 300']
    with process(*command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        url = server.stdout.readline().strip()
        folder = run("psql", url, "--no-align", "--tuples-only", "--command", "show data_directory").strip()
        for statement in [f"create user \"{login['username']}\" password '{login['password']}'",
                          f"create database {login['dbname']} owner \"{login['username']}\""]:
            run("psql", url, "--command", statement)
        rules = pathlib.Path(folder, "pg_hba.conf")
        rules.write_text("host all scrapebroker all trust\nhost all all all scram-sha-256\n")
        run("psql", url, "--command", "select pg_reload_conf()")
        yield re.search("@([^/]+)/", url)[1]


def login(username, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}
