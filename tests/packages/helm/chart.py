"""Renders the chart with the Helm SDK, and reads what it rendered."""

import base64
import functools
import json
import pathlib
import re
import tempfile

import helm_python
import yaml
from helm_python import _native

from support import ROOT

CHART = ROOT / "deploy/helm/scrapebroker"
HERE = pathlib.Path(__file__).resolve().parent
RELEASE, NAMESPACE = "metrics", "platform"

APIS = [
    "monitoring.coreos.com/v1",
    "monitoring.coreos.com/v1/ServiceMonitor",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/Probe",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1alpha1",
    "monitoring.coreos.com/v1alpha1/ScrapeConfig",
    "azmonitoring.coreos.com/v1",
    "azmonitoring.coreos.com/v1/ServiceMonitor",
    "gateway.networking.k8s.io/v1",
    "gateway.networking.k8s.io/v1/HTTPRoute",
]
"""What a cluster with the Prometheus Operator and the Gateway API has in addition."""


@functools.cache
def load(path=CHART):
    return helm_python.Chart.load(path)


def value_sets():
    """The names of the value sets, and their values."""
    files = sorted((HERE / "values").glob("*.yaml"))
    return {file.stem: yaml.safe_load(file.read_text()) or {} for file in files}


def render_files(values, path=CHART, name=RELEASE, namespace=NAMESPACE, apis=APIS):
    """The rendered text of each template, by its path in the chart."""
    options = {"name": name, "namespace": namespace, "api_versions": apis}
    # The package's render() does not pass on the versions of APIs. The function of the library that it calls does.
    files = _native.call_string("helm_render", load(path)._raw(), json.dumps(values), json.dumps(options))
    return json.loads(files)


def render(values, **options):
    """The rendered objects."""
    return Objects(render_files(values, **options))


class Loader(yaml.CSafeLoader):
    """Refuses a key that is twice in a map. The API server would use one of both values."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key is given twice: {sorted(keys)}{node.start_mark}"
        return super().construct_mapping(node, deep)


class Objects(list):
    """Rendered objects, and the text of NOTES.txt."""

    def __init__(self, files):
        super().__init__()
        self.notes = ""
        for path, text in sorted(files.items()):
            if path.endswith("NOTES.txt"):
                self.notes = text
            else:
                self += [document for document in yaml.load_all(text, Loader) if document]

    @classmethod
    def of(cls, items):
        objects = cls({})
        objects += items
        return objects

    def all(self, kind):
        return [item for item in self if item["kind"] == kind]

    def one(self, kind, name=None):
        """The only object of a kind, or that with this name."""
        found = [item for item in self.all(kind) if name in (None, item["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} objects {kind} {name or ''}"
        return found[0]

    def workload(self):
        found = self.all("StatefulSet") + self.all("Deployment")
        assert len(found) == 1, f"{len(found)} workloads"
        return found[0]

    def template(self):
        return self.workload()["spec"]["template"]

    def container(self):
        return self.template()["spec"]["containers"][0]

    def ports(self):
        """Names and numbers of the container's ports."""
        return {port["name"]: port["containerPort"] for port in self.container()["ports"]}

    def secrets(self):
        """Rendered Secrets: names and their texts."""
        return {secret["metadata"]["name"]: secret_texts(secret) for secret in self.all("Secret")}

    def config(self):
        """The rendered configuration."""
        maps = [item for item in self.all("ConfigMap") if "scrapebroker.yml" in item["data"]]
        assert len(maps) == 1
        return yaml.safe_load(maps[0]["data"]["scrapebroker.yml"])


def secret_texts(secret):
    texts = dict(secret.get("stringData", {}))
    for key, value in secret.get("data", {}).items():
        texts[key] = base64.b64decode(value).decode()
    return texts


def mounted_files(objects, existing):
    """The files that the container sees: paths and texts. `existing` are Secrets outside of the chart."""
    secrets = existing | objects.secrets()
    maps = {item["metadata"]["name"]: item["data"] for item in objects.all("ConfigMap")}
    volumes = {volume["name"]: volume for volume in objects.template()["spec"]["volumes"]}
    files = {}
    for mount in objects.container()["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        if "secret" in volume:
            source, texts = volume["secret"], secrets[volume["secret"]["secretName"]]
        elif "configMap" in volume:
            source, texts = volume["configMap"], maps[volume["configMap"]["name"]]
        else:
            continue
        for item in source.get("items") or [{"key": key, "path": key} for key in texts]:
            files[f"{mount['mountPath']}/{item['path']}"] = texts[item["key"]]
    return files


def variables(objects, existing):
    """The environment of the container. A reference to a variable that is not before it in the list stays as it is."""
    secrets = existing | objects.secrets()
    found = {}
    for variable in objects.container()["env"]:
        if "value" in variable:
            found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found.get(name[1], name[0]), variable["value"])
        elif reference := variable["valueFrom"].get("secretKeyRef"):
            found[variable["name"]] = secrets[reference["name"]][reference["key"]]
    return found


class PodFolder(tempfile.TemporaryDirectory):
    """A folder with the files of the container. Paths in them point into the folder, and `hosts` have other addresses."""

    def __init__(self, objects, existing, hosts=None):
        super().__init__()
        self.hosts = hosts or {}
        self.root = pathlib.Path(self.name)
        (self.root / "var/lib/scrapebroker").mkdir(parents=True)
        for path, text in mounted_files(objects, existing).items():
            file = self.root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.inside(text))
        self.variables = {key: self.inside(value) for key, value in variables(objects, existing).items()}

    def __enter__(self):
        return self

    def inside(self, text):
        for folder in ["/etc/scrapebroker/", "/var/lib/scrapebroker"]:
            text = text.replace(folder, f"{self.root}{folder}")
        for host, address in self.hosts.items():
            text = text.replace(host, address)
        return text
