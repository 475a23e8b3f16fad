"""What the checks of several packages need."""

import atexit
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import tomllib
import unittest
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
"""The top of the repository."""

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]

DIST = pathlib.Path(os.environ["SCRAPEBROKER_DIST"]).resolve()
"""The files of the release: what `make dist` built."""

PROGRAM = pathlib.Path(os.environ["SCRAPEBROKER_BINARY"]).resolve()
"""The program in the packages."""

KUBECTL = pathlib.Path(sys.executable).with_name("kubectl")
"""That of the requirements: Debian's kubectl has an old kustomize."""

UPDATE = bool(os.environ.get("SCRAPEBROKER_UPDATE"))
"""Whether golden files are written instead of compared."""


# A check that is terminated stops its processes and removes its files, as after Ctrl-C. unittest leaves the cleanups
# of classes undone then.
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler)


@atexit.register
def clean_up(test_class=unittest.TestCase):
    """Runs the cleanups of classes that are left."""
    for subclass in test_class.__subclasses__():
        clean_up(subclass)
        subclass.doClassCleanups()


def run(*command, **options):
    """Runs a command. Returns its standard output, and fails with all its output if it fails."""
    done = subprocess.run(command, text=True, capture_output=True, **options)
    if done.returncode != 0:
        shown = " ".join(map(str, command))
        raise AssertionError(f"{shown}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def compare_golden(test, path, text):
    """Compares a text with a golden file, or writes the file if SCRAPEBROKER_UPDATE is set."""
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    expected = path.read_text() if path.exists() else ""
    test.maxDiff = None
    test.assertEqual(expected, text, f"{path.relative_to(ROOT)} differs; SCRAPEBROKER_UPDATE=1 writes it")


def released(pattern):
    """Returns the file of the release whose name matches a pattern."""
    [path] = DIST.glob(pattern)
    return path


def unpack_image(folder):
    """Unpacks the files of the image with their owners. Returns the folder."""
    folder.mkdir()
    run("tar", "--extract", "--file", released("*-image-*.tar.gz"), "--directory", folder, "--numeric-owner")
    return folder


def free_port():
    """Returns a port that is free on 127.0.0.1 at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def process(*command, **options):
    """Runs a program until the end of the block."""
    with subprocess.Popen(command, **options) as child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()


def get(url, timeout=10, headers=None):
    """Returns the status and the body of a GET request."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def eventually(check, seconds=30, what="condition"):
    """Calls `check` until it returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    error = None
    while time.monotonic() < deadline:
        try:
            if result := check():
                return result
        except (OSError, AssertionError) as caught:
            error = caught
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}") from error
