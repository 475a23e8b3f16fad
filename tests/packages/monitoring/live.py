"""A demo in which things fail, a second Scrapebroker, and a Prometheus that scrapes both."""

import base64
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import signal
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

from support import PROGRAM, eventually, free_port, get, process

from .files import RULE_FILES

SHOP = "shop.example.com"
# Time in which Prometheus stores samples every second after everything has failed that should fail.
OBSERVED_SECONDS = 12


class Demo:
    """What the demo says about itself."""

    def __init__(self, pid, text):
        self.pid = pid
        login = re.search(r"Open (http://[^/]+)/\S* +user (\w+), password (\w+)", text)
        self.url, self.user, self.password = login.groups()
        self.events = re.search(r"POST '(http://[^/]+)/event", text).group(1)
        self.pool = re.search(r"'(http://[^/]+)/api/v1/query", text).group(1)

    @property
    def address(self):
        return urllib.parse.urlsplit(self.url).netloc

    def login(self, password):
        return {"Authorization": "Basic " + base64.b64encode(f"{self.user}:{password}".encode()).decode()}

    def prometheus_pids(self):
        """The Prometheus servers that the demo started."""
        children = pathlib.Path(f"/proc/{self.pid}/task").glob("*/children")
        return sorted({int(pid) for path in children for pid in path.read_text().split()})


@contextlib.contextmanager
def demo(folder):
    output = folder / "demo.out"
    with open(output, "w") as file:
        command = [PROGRAM, "demo", "--listen", f"127.0.0.1:{free_port()}"]
        with process(*command, stdout=file, stderr=file, cwd=folder) as child:
            eventually(lambda: "Ctrl-C stops it" in output.read_text(), seconds=40, what="start of the demo")
            yield Demo(child.pid, output.read_text())


class Second:
    """A Scrapebroker with what the demo lacks: external exporters, affinity, and a pool that rejects queries."""

    def __init__(self, demo, prometheus):
        self.address = f"127.0.0.1:{free_port()}"
        self.pool = f"127.0.0.1:{free_port()}"
        self.prometheus = prometheus
        _, metrics = get(f"{demo.url}/metrics")
        self.gorouter = re.search(r'source="gorouter ([^"]+)"', metrics).group(1)

    def configuration(self, folder):
        port = self.prometheus.rsplit(":", 1)[1]
        return {
            "listen": self.address,
            "database_url": f"sqlite://{folder / 'second.db'}",
            "routes": {"gorouters": [{"url": f"http://{self.gorouter}/routes"}], "refresh_interval": "5s"},
            "prometheus": {"provisioner": "none"},
            "external_exporters": [
                {"name": "prometheus", "host": self.prometheus},
                {"name": "unreachable", "host": "127.0.0.1:1"},
            ],
            "query": {
                "listen": self.pool,
                "pools": [
                    {
                        "name": "small",
                        "selection_interval": "1s",
                        "strategy": "random",
                        "affinity": ["source-ip"],
                        "max_concurrent": 1,
                        "locators": [{"static": [f"http://{self.prometheus}", f"http://localhost:{port}"]}],
                    }
                ],
            },
        }


@contextlib.contextmanager
def second(demo, address, folder):
    second = Second(demo, address)
    path = folder / "second.yml"
    path.write_text(yaml.safe_dump(second.configuration(folder)))
    with open(folder / "second.out", "w") as file:
        with process(PROGRAM, "serve", "--config", path, stdout=file, stderr=file, cwd=folder):
            eventually(lambda: get(f"http://{second.address}/-/ready")[0] == 200, what="start of the second one")
            yield second


def merged(job, address, **parameters):
    """A job that scrapes the merged metrics of the demo's app."""
    return {
        "job_name": job,
        "honor_labels": True,
        "metrics_path": "/v1/apps/metrics",
        "params": {"route_url": [SHOP], **parameters},
        "static_configs": [{"targets": [address]}],
    }


def configuration(demo, second):
    """All ways in which Prometheus scrapes Scrapebroker: own metrics, merged metrics, single targets and events."""
    events = urllib.parse.urlsplit(demo.events).netloc
    login = {"username": demo.user, "password": demo.password}
    jobs = [
        {"job_name": "scrapebroker", "static_configs": [{"targets": [demo.address, second.address]}]},
        merged("other", second.address, metric_path=["/actuator/prometheus"]),
        merged("shop", demo.address),
        {
            "job_name": "apps",
            "honor_labels": True,
            "http_sd_configs": [{"url": f"{demo.url}/sd", "refresh_interval": "5s", "basic_auth": login}],
        },
        {
            "job_name": "events",
            "honor_labels": True,
            # The demo scrapes the events from the same address.
            "params": {"scraper": ["check"]},
            "static_configs": [{"targets": [events]}],
        },
    ]
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in RULE_FILES],
        "scrape_configs": jobs,
    }


class Prometheus:
    """Queries of a Prometheus."""

    def __init__(self, url):
        self.url = url

    def api(self, path, **parameters):
        query = urllib.parse.urlencode(parameters, doseq=True)
        status, body = get(f"{self.url}/api/v1/{path}?{query}")
        assert status == 200, f"{path} {parameters}: {body}"
        return json.loads(body)["data"]

    def label_values(self, series, label):
        return self.api(f"label/{label}/values", **{"match[]": series})

    def instant(self, expression):
        return self.api("query", query=expression)["result"]

    def graph(self, expression, seconds=60):
        end = time.time()
        return self.api("query_range", query=expression, start=end - seconds, end=end, step=1)["result"]


@contextlib.contextmanager
def prometheus(address, settings, folder):
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(settings))
    command = [
        "prometheus",
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with open(folder / "prometheus.out", "w") as file, process(*command, stdout=file, stderr=file):
        url = f"http://{address}"
        eventually(lambda: get(f"{url}/-/ready")[0] == 200, what="start of Prometheus")
        yield Prometheus(url)


def post(url, body=b""):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST"), timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def post_events(demo):
    for number in range(3):
        assert post(f"{demo.events}/event?type=deploy&app=shop&version={number}") == 200
    assert post(f"{demo.events}/event?type=backup") == 200
    assert post(f"{demo.events}/event?__reserved=x") == 422


def at_once(urls):
    """The statuses of requests that are sent at the same time."""
    with concurrent.futures.ThreadPoolExecutor(len(urls)) as executor:
        return {status for status, _ in executor.map(get, urls)}


def graph(pool, expression):
    """The URL of a query that takes a moment."""
    end = int(time.time())
    query = urllib.parse.urlencode({"query": expression, "start": end - 3000, "end": end, "step": 1})
    return f"{pool}/api/v1/query_range?{query}"


def query(demo, second):
    """Queries to pools and to a Prometheus instance: different ones, and equal ones at the same time."""
    assert at_once([graph(demo.pool, f"up + {number}") for number in range(5)]) == {200}
    assert at_once([graph(demo.pool, "up")] * 32) == {200}
    statuses = at_once([graph(f"http://{second.pool}", f"up + {number}") for number in range(16)])
    assert statuses <= {200, 429}, statuses
    status, body = get(f"{demo.url}/prometheus", headers=demo.login(demo.password) | {"Accept": "application/json"})
    assert status == 200, body
    for instance in json.loads(body)["instances"]:
        url = f"{demo.url}/prometheus/{instance['id']}/api/v1/query?query=up"
        status, body = get(url, headers=demo.login(demo.password))
        assert status == 200, body


def fail(demo):
    """Refused logins, and a killed Prometheus server."""
    for _ in range(3):
        assert get(f"{demo.url}/routes", headers=demo.login("wrong"))[0] == 401
    os.kill(demo.prometheus_pids()[0], signal.SIGKILL)


def use(demo, second):
    post_events(demo)
    query(demo, second)


@contextlib.contextmanager
def observed_demo():
    """The demo, and a Prometheus that has scraped it before, while and after things failed."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        demo_ = stack.enter_context(demo(folder))
        address = f"127.0.0.1:{free_port()}"
        second_ = stack.enter_context(second(demo_, address, folder))
        prometheus_ = stack.enter_context(prometheus(address, configuration(demo_, second_), folder))
        eventually(lambda: prometheus_.instant("promfetch_metric_fetch_failed_by_app"), what="samples and rules")
        eventually(lambda: prometheus_.instant('up{app_name="shop"}'), what="targets of service discovery")
        use(demo_, second_)
        fail(demo_)
        end = time.monotonic() + OBSERVED_SECONDS
        while time.monotonic() < end:
            use(demo_, second_)
            time.sleep(1)
        yield demo_, prometheus_
