"""An API server of Kubernetes in memory, for the actions of the Helm SDK.

It knows the kinds that the chart renders, stores objects as they are, and checks what the real one refuses: unknown kinds, and
changes of fields that cannot change. The texts in `stringData` of a Secret become `data`, as in the real one. No controller runs:
workloads are ready at once, and a callback runs pods.
"""

import base64
import contextlib
import http.server
import json
import threading
import urllib.parse

import helm_python
import yaml

KINDS = {
    "v1": ["ConfigMap", "Secret", "Service", "ServiceAccount", "Pod", "Namespace", "Event", "PersistentVolumeClaim"],
    "apps/v1": ["StatefulSet", "Deployment", "ReplicaSet"],
    "policy/v1": ["PodDisruptionBudget"],
    "networking.k8s.io/v1": ["NetworkPolicy", "Ingress"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding"],
}
OPERATOR = {
    "monitoring.coreos.com/v1": ["ServiceMonitor", "PodMonitor", "Probe", "PrometheusRule"],
    "monitoring.coreos.com/v1alpha1": ["ScrapeConfig"],
}
FIXED = ["selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"]
"""Fields of the `spec` of a workload that cannot change."""


def plural(kind):
    lower = kind.lower()
    return lower[:-1] + "ies" if lower.endswith("y") else lower + ("es" if lower.endswith("s") else "s")


def api_path(version):
    return f"api/{version}" if version == "v1" else f"apis/{version}"


def openapi_paths(version, kinds):
    """Says for each kind that the server validates fields, so that Helm does not."""
    group, _, number = version.rpartition("/")
    paths = {}
    for kind in kinds:
        patch = {"parameters": [{"name": "fieldValidation", "in": "query"}, {"name": "dryRun", "in": "query"}],
                 "x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind}, "responses": {}}
        paths[f"/{api_path(version)}/namespaces/{{namespace}}/{plural(kind)}/{{name}}"] = {"patch": patch}
    return paths


class Refused(Exception):
    def __init__(self, code, reason, message):
        super().__init__(message)
        self.status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message}


class Cluster:
    """Runs the API server until the end of the block. `run_pod` gets each created pod and returns whether it succeeds."""

    def __init__(self, kinds=None, run_pod=lambda pod: True):
        self.kinds = KINDS | (kinds or {})
        self.run_pod = run_pod
        self.objects, self.history = {}, []
        self.owned = {}  # Of each Secret, the keys of `data` that Helm applied last.
        self.changed = threading.Condition()
        self.closed = False

    def __enter__(self):
        class Handler(RequestHandler):
            cluster = self

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def helm(self, namespace):
        """The actions of Helm. Releases are in its memory, because it writes them in a format that this server does not read."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        return helm_python.Config(kube_apiserver=address, namespace=namespace, storage_driver="memory", qps=1000, burst_limit=1000)

    def names(self):
        """Kinds and names of all objects."""
        return {(item["kind"], item["metadata"]["name"]) for item in self.objects.values()}

    def record(self, event, path, item):
        with self.changed:
            version = str(len(self.history) + 1)
            item["metadata"]["resourceVersion"] = version
            if event == "DELETED":
                self.objects.pop(path)
            else:
                self.objects[path] = item
            self.history.append((event, path, json.loads(json.dumps(item))))
            self.changed.notify_all()
        return item

    def create(self, collection, item):
        path = f"{collection}/{item['metadata']['name']}"
        if path in self.objects:
            raise Refused(409, "AlreadyExists", f"{path} exists")
        item["metadata"] |= {"uid": path, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        self.record("ADDED", path, with_status(self.with_data(path, item)))
        if item["kind"] == "Pod":
            threading.Thread(target=self.finish, args=(path,), daemon=True).start()
        return self.objects[path]

    def finish(self, path):
        item = json.loads(json.dumps(self.objects[path]))
        phase = "Succeeded" if self.run_pod(item) else "Failed"
        item["status"] = {"phase": phase, "conditions": []}
        self.record("MODIFIED", path, item)

    def replace(self, path, item):
        old = self.objects.get(path)
        if old is None:
            return self.create(path.rsplit("/", 1)[0], item)
        if item["kind"] in ("StatefulSet", "Deployment"):
            for field in FIXED:
                if old["spec"].get(field) != item["spec"].get(field):
                    raise Refused(422, "Invalid", f"spec.{field}: Forbidden: field is immutable")
        item["metadata"] |= {key: old["metadata"][key] for key in ["uid", "generation", "creationTimestamp"]}
        return self.record("MODIFIED", path, with_status(self.with_data(path, item, old)))

    def with_data(self, path, item, old=None):
        """Merges `stringData` of a Secret into `data`. Helm owns only the keys that it applied as `data`, so the others stay."""
        if item["kind"] == "Secret":
            owned, self.owned[path] = self.owned.get(path, set()), set(item.get("data", {}))
            kept = {key: value for key, value in (old or {}).get("data", {}).items() if key not in owned}
            texts = {key: base64.b64encode(text.encode()).decode() for key, text in item.pop("stringData", {}).items()}
            item["data"] = kept | item.get("data", {}) | texts
        return item

    def discovery(self, path):
        groups = [version for version in self.kinds if version != "v1"]
        if path == "/version":
            return {"major": "1", "minor": "30", "gitVersion": "v1.30.0"}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            names = sorted({version.split("/")[0] for version in groups})
            found = {name: [{"groupVersion": version, "version": version.split("/")[1]} for version in groups if version.startswith(name + "/")]
                     for name in names}
            listed = [{"name": name, "versions": versions, "preferredVersion": versions[0]} for name, versions in found.items()]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        if path == "/openapi/v3":
            return {"paths": {api_path(version): {"serverRelativeURL": f"/openapi/v3/{api_path(version)}"} for version in self.kinds}}
        if path.startswith("/openapi/v3/"):
            version = path.removeprefix("/openapi/v3/").removeprefix("apis/").removeprefix("api/")
            return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "1"}, "paths": openapi_paths(version, self.kinds[version])}
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version in self.kinds:
            verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
            resources = [{"name": plural(kind), "singularName": kind.lower(), "kind": kind, "namespaced": kind != "Namespace", "verbs": verbs}
                         for kind in self.kinds[version]]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
        return None


def with_status(item):
    """A workload that is ready, and a pod that has not ended."""
    replicas = item.get("spec", {}).get("replicas", 1)
    if item["kind"] in ("StatefulSet", "Deployment"):
        item["status"] = {key: replicas for key in ["replicas", "readyReplicas", "updatedReplicas", "availableReplicas", "currentReplicas"]}
        item["status"]["observedGeneration"] = item["metadata"].get("generation", 1)
    if item["kind"] == "Pod":
        item["status"] = {"phase": "Pending", "conditions": []}
    return item


def selected(item, query):
    labels, fields = item["metadata"].get("labels", {}), {"metadata.name": item["metadata"]["name"]}
    for selector, values in [("labelSelector", labels), ("fieldSelector", fields)]:
        for term in filter(None, query.get(selector, [""])[0].split(",")):
            key, _, value = term.partition("=")
            if values.get(key) != value:
                return False
    return True


class RequestHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cluster = None

    def log_message(self, *_):
        pass

    def handle_request(self):
        url = urllib.parse.urlsplit(self.path)
        query, path = urllib.parse.parse_qs(url.query), url.path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "GET" and query.get("watch", ["false"])[0] in ("true", "1"):
            self.watch(path, query)
            return
        try:
            self.answer(200, self.result(path, query, yaml.safe_load(body) if body else None))
        except Refused as refused:
            self.answer(refused.status["code"], refused.status)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_request

    def result(self, path, query, item):
        cluster = self.cluster
        if self.command == "POST":
            return cluster.create(path, item)
        if self.command in ("PATCH", "PUT"):
            return cluster.replace(path, item)
        if self.command == "DELETE":
            if path not in cluster.objects:
                raise Refused(404, "NotFound", f"{path} not found")
            return cluster.record("DELETED", path, cluster.objects[path])
        if found := cluster.discovery(path) or cluster.objects.get(path):
            return found
        if kind := self.collection(path):
            items = [item for name, item in cluster.objects.items() if name.rsplit("/", 1)[0] == path and selected(item, query)]
            return {"kind": f"{kind[1]}List", "apiVersion": kind[0], "metadata": {"resourceVersion": str(len(cluster.history))}, "items": items}
        raise Refused(404, "NotFound", f"{path} not found")

    def collection(self, path):
        """The version and kind of a collection."""
        for version, kinds in self.cluster.kinds.items():
            prefix = "/api/v1/" if version == "v1" else f"/apis/{version}/"
            for kind in kinds:
                if path.startswith(prefix) and path.rsplit("/", 1)[1] == plural(kind):
                    return version, kind
        return None

    def watch(self, path, query):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            for event, item in self.events(path, query):
                self.wfile.write(json.dumps({"type": event, "object": item}).encode() + b"\n")

    def events(self, path, query):
        """The changes of a collection, on request after its present objects."""
        cluster, seen = self.cluster, int(query.get("resourceVersion", ["0"])[0] or 0)
        if query.get("sendInitialEvents") == ["true"]:
            with cluster.changed:
                seen = len(cluster.history)
                present = [item for name, item in cluster.objects.items() if name.rsplit("/", 1)[0] == path and selected(item, query)]
            yield from (("ADDED", item) for item in present)
            version, kind = self.collection(path)
            end = {"resourceVersion": str(seen), "annotations": {"k8s.io/initial-events-end": "true"}}
            yield "BOOKMARK", {"apiVersion": version, "kind": kind, "metadata": end}
        while not cluster.closed:
            with cluster.changed:
                cluster.changed.wait_for(lambda: cluster.closed or len(cluster.history) > seen, timeout=5)
                events, seen = cluster.history[seen:], len(cluster.history)
            yield from ((event, item) for event, name, item in events if name.rsplit("/", 1)[0] == path and selected(item, query))

    def answer(self, status, item):
        body = json.dumps(item).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
