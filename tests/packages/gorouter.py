"""Stands in for a gorouter in a `DebianSystem`, with one app that it also is."""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

ADDRESS = "127.0.0.1:8082"
"""Where gorouter shows its table."""

ENDPOINT = {
    "address": ADDRESS,
    "tls": False,
    "ttl": 120,
    "private_instance_id": "shop-0",
    "tags": {
        "app_id": "33333333-0000-4000-8000-000000000003",
        "app_name": "shop",
        "component": "route-emitter",
        "instance_id": "0",
        "organization_name": "acme",
        "space_name": "prod",
    },
}


@contextlib.contextmanager
def gorouter(system):
    """Serves the route `shop.example.com`, and metrics of the app, until the end of the block."""
    host, port = ADDRESS.split(":")
    with tempfile.TemporaryDirectory() as folder:
        files = pathlib.Path(folder)
        (files / "routes").write_text(json.dumps({"shop.example.com": [ENDPOINT]}))
        (files / "metrics").write_text("orders 42\n")
        command = [sys.executable, "-m", "http.server", "--bind", host, port]
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = system.process(*command, cwd=folder, **silent)
        try:
            yield
        finally:
            child.terminate()
            child.wait()
