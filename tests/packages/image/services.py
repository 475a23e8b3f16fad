"""The platform around a container: an app, a router, an exporter with HTTPS, and a DNS server."""

import contextlib
import http.server
import json
import socket
import ssl
import struct
import threading

import support

DNS_ADDRESS = "127.53.0.1"
"""A loopback address of its own, because a resolver queries port 53 only."""

APP_ID = "4d0c1f4a-8f0e-4a56-8a53-0d6a7b1c2001"


@contextlib.contextmanager
def web(answers, tls=None):
    """Serves texts by path. Yields the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers GET requests."""

        def do_GET(self):
            """Answers with the text of the path."""
            text = answers.get(self.path.partition("?")[0])
            body = (text or "").encode()
            self.send_response(404 if text is None else 200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Writes nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server.server_port


@contextlib.contextmanager
def serving(server):
    """Runs a server until the end of the block."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def dns(names):
    """Answers queries for the IPv4 addresses of names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((DNS_ADDRESS, 53))
        listener.settimeout(0.2)
        stopped = threading.Event()

        def serve():
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    query, client = listener.recvfrom(512)
                    listener.sendto(dns_answer(query, names), client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def dns_answer(query, names):
    """Returns the answer to a query (RFC 1035, section 4): header, question, and an address."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
    address = names.get(".".join(labels))
    found = address is not None and kind == 1
    code = 0 if address else 3
    header = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, int(found), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(address) if found else b""
    return header + question + record


def route_table(address):
    """Returns the table of a gorouter with one app of one instance."""
    tags = {
        "app_id": APP_ID,
        "app_name": "shop",
        "space_id": "5a3d7c52-1c68-4e0a-9f1b-1b2c3d4e3001",
        "space_name": "prod",
        "organization_id": "0b6f6b1e-51f5-4c2b-9d65-6f1f2f7a1001",
        "organization_name": "acme",
        "instance_id": "0",
    }
    endpoint = {"address": address, "protocol": "http1", "tls": False, "ttl": 120, "tags": tags}
    return json.dumps({"shop.example.com": [endpoint]})


def certificate(folder, name):
    """Creates a CA, and a server certificate for a name. Returns the paths of CA, certificate and key."""
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    leaf, leaf_key = folder / "leaf.pem", folder / "leaf.key"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    of_ca = ["-subj", "/CN=test CA", "-keyout", ca_key, "-out", ca, "-addext", "keyUsage=keyCertSign"]
    support.run(*new, "-days", "2", *of_ca)
    usage = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName=DNS:{name}"]
    of_leaf = ["-subj", f"/CN={name}", "-keyout", leaf_key, "-out", leaf, "-CA", ca, "-CAkey", ca_key]
    support.run(*new, "-days", "2", *of_leaf, *usage)
    return ca, leaf, leaf_key
