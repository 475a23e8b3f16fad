"""A real Prometheus scrapes the running program with the settings of the rendered monitors."""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

from gorouter import ENDPOINT
from helm.secrets_outside import existing_secrets
from helm.test_running import VALUES, running
from support import eventually, free_port, get, process


def snake_case(value):
    """The fields of a monitor as Prometheus spells them."""
    if isinstance(value, dict):
        return {re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), key): snake_case(inner) for key, inner in value.items()}
    return [snake_case(item) for item in value] if isinstance(value, list) else value


def scrape_config(endpoint, pods, service, replacements=str, namespace="n"):
    """A job as the operator makes it of an endpoint: one target per pod, with its labels."""
    relabelings = json.loads(replacements(json.dumps(endpoint.get("relabelings", []))))
    targets = [
        {"targets": [address], "labels": {
            "pod": pod, "container": "scrapebroker", "namespace": namespace, "service": service,
            "__meta_kubernetes_service_name": service, "__meta_kubernetes_namespace": namespace}}
        for pod, address in pods.items()
    ]
    return {
        "job_name": endpoint["port"], "scrape_interval": "1s", "scheme": endpoint.get("scheme", "http"), "metrics_path": endpoint["path"],
        "honor_labels": endpoint.get("honorLabels", False), "honor_timestamps": endpoint.get("honorTimestamps", True),
        "static_configs": targets, "relabel_configs": [snake_case(item) for item in relabelings],
    }


@contextlib.contextmanager
def app(address):
    """Serves the metrics of an instance until the end of the block."""
    host, port = address.split(":")
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "metrics").write_text("orders 42\n")
        command = [sys.executable, "-m", "http.server", "--bind", host, port, "--directory", folder]
        with process(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            yield


def tls_config(settings, ca):
    """TLS settings as the operator writes them: the CA of a Secret is a file."""
    return {"server_name": settings.get("serverName", ""), "ca_file": str(ca)} if "ca" in settings else {}


class Scraping(unittest.TestCase):
    def test_each_pod_is_a_target_of_metrics_and_the_service_is_the_only_one_of_events(self):
        values = VALUES | {"serviceMonitor": {"enabled": True, "events": {"enabled": True}}}
        with running(values) as (objects, ports, _), tempfile.TemporaryDirectory() as folder:
            service = objects.one("Service")["metadata"]
            host = f"{service['name']}.{service['namespace']}.svc:8090"
            # The name of the Service has no address here, and both pods are the same program under two names.
            jobs = [
                scrape_config(endpoint, {"a": f"127.0.0.1:{ports[endpoint['port']]}", "b": f"localhost:{ports[endpoint['port']]}"},
                              service["name"], lambda text: text.replace(host, f"127.0.0.1:{ports['events']}"))
                for endpoint in objects.one("ServiceMonitor")["spec"]["endpoints"]
            ]
            found = prometheus_targets(folder, jobs)
        self.assertEqual(sorted((target["labels"]["job"], target["labels"].get("pod")) for target in found),
                         [("events", None), ("metrics", "a"), ("metrics", "b")])


    def test_with_tls_certificates_are_verified_for_metrics_and_service_discovery(self):
        ca = {"tlsConfig": {"ca": {"secret": {"name": "scrapebroker-tls", "key": "ca.crt"}}}}
        instance = f"127.0.0.1:{free_port()}"
        values = VALUES | {
            "tls": {"existingSecret": "scrapebroker-tls"},
            "config": VALUES["config"] | {"base_url": "https://metrics.example.com", "routes": {"file": "/etc/scrapebroker/config/routes.json"}},
            "files": {"routes.json": json.dumps({"shop.example.com": [ENDPOINT | {"address": instance}]})},
            "serviceMonitor": {"enabled": True} | ca, "scrapeConfig": {"enabled": True} | ca,
        }
        with app(instance), running(values) as (objects, ports, _), tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "ca.crt")
            file.write_text(existing_secrets()["scrapebroker-tls"]["ca.crt"])
            address = f"127.0.0.1:{ports['metrics']}"
            endpoint = objects.one("ServiceMonitor")["spec"]["endpoints"][0]
            metrics = scrape_config(endpoint, {"a": address}, "s") | {"tls_config": tls_config(endpoint["tlsConfig"], file)}
            spec = objects.one("ScrapeConfig")["spec"]
            found = spec["httpSDConfigs"][0]
            url = re.sub(r"^(https://)[^/]+", rf"\g<1>{address}", found["url"])
            login = {"username": VALUES["broker"]["username"], "password": VALUES["broker"]["password"]}
            apps = {
                "job_name": spec["jobName"], "scrape_interval": "1s", "tls_config": tls_config(spec["tlsConfig"], file), "basic_auth": login,
                "http_sd_configs": [{"url": url, "basic_auth": login, "tls_config": tls_config(found["tlsConfig"], file)}],
                # The certificate is verified for the host of the target. It has no address here.
                "relabel_configs": [{"target_label": "url", "source_labels": ["__scheme__", "__address__"], "separator": "://"},
                                    {"target_label": "__address__", "replacement": address}],
            }
            apps["tls_config"] |= {"server_name": "metrics.example.com"}
            targets = prometheus_targets(folder, [metrics, apps])
        found = {target["labels"]["job"]: target["labels"].get("url") for target in targets}
        self.assertEqual(found, {"metrics": None, "scrapebroker-apps": "https://metrics.example.com:443"})


def up(target):
    return target["health"] == "up"


def prometheus_targets(folder, jobs, ready=up):
    """The targets of a Prometheus with these jobs, once it has some of each job and all of them are ready."""
    with open(f"{folder}/prometheus.yml", "w") as file:
        yaml.safe_dump({"scrape_configs": jobs}, file)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]

    def active():
        status, text = get(f"http://{address}/api/v1/targets?state=active")
        # Prometheus answers 503 with a text while it starts.
        found = json.loads(text)["data"]["activeTargets"] if status == 200 else []
        named = {target["scrapePool"] for target in found} == {job["job_name"] for job in jobs}
        return named and all(map(ready, found)) and found

    with process(*command, stderr=subprocess.DEVNULL):
        return eventually(active, what="all targets are there")
