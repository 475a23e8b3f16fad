"""A real Prometheus scrapes the running program with the settings of the rendered monitors."""

import json
import re
import subprocess
import tempfile
import unittest

import yaml

from helm.test_running import VALUES, running
from support import eventually, free_port, get, process


def snake_case(value):
    """The fields of a monitor as Prometheus spells them."""
    if isinstance(value, dict):
        return {re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), key): snake_case(inner) for key, inner in value.items()}
    return [snake_case(item) for item in value] if isinstance(value, list) else value


def scrape_config(endpoint, pods, service, replacements):
    """A job as the operator makes it of an endpoint: one target per pod, with its labels."""
    relabelings = json.loads(replacements(json.dumps(endpoint.get("relabelings", []))))
    targets = [{"targets": [address], "labels": {"pod": pod, "container": "scrapebroker", "namespace": "n", "service": service}}
               for pod, address in pods.items()]
    return {
        "job_name": endpoint["port"], "scrape_interval": "1s", "scheme": endpoint["scheme"], "metrics_path": endpoint["path"],
        "honor_labels": endpoint["honorLabels"], "honor_timestamps": endpoint["honorTimestamps"],
        "static_configs": targets, "relabel_configs": [snake_case(item) for item in relabelings],
    }


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
            found = targets_of_prometheus(folder, jobs)
        self.assertEqual(sorted((target["labels"]["job"], target["labels"].get("pod")) for target in found),
                         [("events", None), ("metrics", "a"), ("metrics", "b")])


def targets_of_prometheus(folder, jobs):
    """The targets of a Prometheus with these jobs, once all of them are up."""
    with open(f"{folder}/prometheus.yml", "w") as file:
        yaml.safe_dump({"scrape_configs": jobs}, file)
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]

    def active():
        status, text = get(f"http://{address}/api/v1/targets?state=active")
        found = json.loads(text)["data"]["activeTargets"]
        return status == 200 and found and all(target["health"] == "up" for target in found) and found

    with process(*command, stderr=subprocess.DEVNULL):
        return eventually(active, what="all targets are up")
