"""The Secrets that the value sets and the examples of docs/install/helm.md expect to exist."""

import functools
import pathlib
import tempfile

from support import run

BCRYPT = "$2y$10$bwLzfBQd41SbKrw4Xb7F/ePOYfMyvayo5EWdTf9cgW8..QLaNhW62"

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: far
contexts: [{name: far, context: {cluster: far, user: reader}}]
clusters: [{name: far, cluster: {server: "https://10.9.0.1:6443"}}]
users: [{name: reader, user: {token: its-token}}]
"""


@functools.cache
def certificate():
    """A self-signed certificate and its key."""
    with tempfile.TemporaryDirectory() as folder:
        cert, key = pathlib.Path(folder, "cert"), pathlib.Path(folder, "key")
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=metrics.example.com",
            "-addext", "subjectAltName=DNS:metrics.example.com", "-days", "2", "-keyout", key, "-out", cert)
        return cert.read_text(), key.read_text()


@functools.cache
def existing_secrets():
    cert, key = certificate()
    tls = {"tls.crt": cert, "tls.key": key, "ca.crt": cert}
    broker = {"username": "cc", "password": "a long password", "token-key": "a long random text"}
    database = "postgres://scrapebroker:its-password@db.example.com/scrapebroker"
    return {
        "broker-credentials": {"user": "cc", "pass": "a long password"},
        "far-cluster": {"kubeconfig": KUBECONFIG},
        "instance-identity": {"ca.crt": cert},
        "nats-client": tls | {"password": "the password of NATS"},
        "operators": {"ann": BCRYPT},
        "scrapebroker-broker": broker,
        "scrapebroker-database": {"uri": database, "url": database},
        "scrapebroker-login": {"host": "db.example.com", "dbname": "scrapebroker", "username": "odd user", "password": "p@ss:w/rd#?%"},
        "scrapebroker-operators": {"ann": BCRYPT},
        "scrapebroker-tls": tls,
        "tsuru-token": {"token": "its-token"},
    }
