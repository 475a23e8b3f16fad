"""Calls of the service broker in a system that has only curl."""

import json
import shlex

ORGANIZATION = "11111111-0000-4000-8000-000000000001"
SPACE = "11111111-0000-4000-8000-000000000002"
METRICS = ("6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a01", "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a11")
"""The ids of the service `metrics` and of its plan in the built-in catalog."""
PROMETHEUS = "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a02"
"""The id of the service `prometheus`."""
PLANS = {
    "small": "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a21",
    "standard": "6f0a5f0e-3c53-4b53-9a5c-5b1f6f8f3a22",
}
"""Plans of the service: `small` stores in memory, `standard` on disk."""


class Broker:
    """A client of the broker in a `DebianSystem`."""

    def __init__(self, system, password, username="cloud-controller"):
        self.system = system
        self.credentials = f"{username}:{password}"

    def call(self, method, path, body=None):
        """Returns the JSON of an answer, and fails with the answer if its status is an error."""
        command = ["curl", "-sS", "--fail-with-body", "-u", self.credentials, "-X", method]
        command += ["-H", "X-Broker-API-Version: 2.16", "-H", "Content-Type: application/json"]
        if body is not None:
            command += ["-d", json.dumps(body)]
        return json.loads(self.system.shell(shlex.join([*command, f"http://127.0.0.1:8085{path}"])))

    def create_prometheus(self, instance, plan, parameters):
        """Starts to create an instance of the service `prometheus`."""
        body = {
            "service_id": PROMETHEUS,
            "plan_id": PLANS[plan],
            "organization_guid": ORGANIZATION,
            "space_guid": SPACE,
            "parameters": parameters,
        }
        self.call("PUT", f"/broker/v2/service_instances/{instance}?accepts_incomplete=true", body)

    def is_created(self, instance):
        """Returns whether the last operation on an instance has succeeded."""
        operation = self.call("GET", f"/broker/v2/service_instances/{instance}/last_operation")
        assert operation["state"] != "failed", operation
        return operation["state"] == "succeeded"

    def query(self, instance, query):
        """Returns the values that a Prometheus instance has for a query."""
        answer = self.call("GET", f"/prometheus/{instance}/api/v1/query?query={query}")
        return [float(series["value"][1]) for series in answer["data"]["result"]]
