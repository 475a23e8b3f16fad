"""Renders the manifests of deploy/kubernetes, and finds things in the result."""

import json
import os

import jsonschema
import kubernetes_validate
import support
import yaml

FOLDER = support.ROOT / "deploy" / "kubernetes"
COMPONENTS = ["events", "prometheus-operator", "events-servicemonitor", "query"]

VERSIONS = ["1.25", "1.37"]
"""Versions of Kubernetes whose schemas the objects must match."""


CUSTOM_RESOURCES = json.loads((support.ROOT / "tests/packages/helm/custom_resources.json").read_text())
"""Schemas of the objects of the Prometheus operator."""


def render(folder):
    """Renders a kustomization. Returns its text."""
    return support.run(support.KUBECTL, "kustomize", folder)


def render_all(folder, base, components=(), extra=""):
    """Renders `base` with components in the namespace `metrics`. The kustomization is in `folder`."""
    above = os.path.relpath(FOLDER.resolve(), folder.resolve())
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "namespace: metrics"]
    lines += ["resources:", f"- {above}/{base}"]
    lines += ["components:"] * bool(components)
    lines += [f"- {above}/components/{name}" for name in components]
    (folder / "kustomization.yaml").write_text("\n".join([*lines, extra, ""]))
    return render(folder)


def objects(text):
    """Returns the objects of a text."""
    return [it for it in yaml.safe_load_all(text) if it]


def only(found, kind):
    """Returns the object of a kind, of which there is one. Dashboards do not count."""
    (it,) = [it for it in found if it["kind"] == kind and not is_dashboard(it)]
    return it


def has(found, kind):
    """Whether there is an object of a kind."""
    return any(it["kind"] == kind for it in found)


def is_dashboard(it):
    """Whether an object is a dashboard."""
    return it["kind"] == "ConfigMap" and "grafana_dashboard" in it["metadata"].get("labels", {})


def workload(found):
    """Returns the StatefulSet or the Deployment."""
    return only(found, "StatefulSet" if has(found, "StatefulSet") else "Deployment")


def pod(found):
    """Returns the specification of the pods."""
    return workload(found)["spec"]["template"]["spec"]


def container(found):
    """Returns the only container of the pods."""
    (it,) = pod(found)["containers"]
    return it


def environment(found):
    """Returns the variables of the container."""
    return {variable["name"]: variable["value"] for variable in container(found)["env"]}


def validate(found):
    """Fails if an object does not match the schema of a version of Kubernetes."""
    for it in found:
        kind = f"{it['apiVersion']}/{it['kind']}"
        if kind in CUSTOM_RESOURCES["kinds"]:
            schema = {"$ref": f"#/kinds/{kind.replace('/', '~1')}"} | CUSTOM_RESOURCES
            jsonschema.validate(it, schema, cls=jsonschema.Draft7Validator)
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(it, version, strict=True)
