"""Certificates for tests, made with openssl."""

import pathlib
import tempfile

import support


def _key():
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """A CA that signs certificates."""

    def __init__(self, name):
        with tempfile.TemporaryDirectory(prefix="bosh-ca-") as folder:
            folder = pathlib.Path(folder)
            support.run(
                "openssl", "req", "-x509", *_key(), "-subj", f"/CN={name}", "-days", "2",
                "-keyout", folder / "key", "-out", folder / "cert",
            )
            self.certificate = (folder / "cert").read_text()
            self.key = (folder / "key").read_text()

    def sign(self, name, names=(), usage="serverAuth,clientAuth"):
        """Returns a certificate and its key."""
        with tempfile.TemporaryDirectory(prefix="bosh-cert-") as folder:
            folder = pathlib.Path(folder)
            (folder / "ca").write_text(self.certificate)
            (folder / "ca-key").write_text(self.key)
            alternatives = ",".join(("IP:" if part[0].isdigit() else "DNS:") + part for part in names or [name])
            (folder / "extensions").write_text(f"subjectAltName={alternatives}\nextendedKeyUsage={usage}\n")
            support.run(
                "openssl", "req", "-new", *_key(), "-subj", f"/CN={name}",
                "-keyout", folder / "key", "-out", folder / "request",
            )
            support.run(
                "openssl", "x509", "-req", "-in", folder / "request", "-CA", folder / "ca", "-CAkey", folder / "ca-key",
                "-days", "2", "-extfile", folder / "extensions", "-out", folder / "cert",
            )
            return (folder / "cert").read_text(), (folder / "key").read_text()
