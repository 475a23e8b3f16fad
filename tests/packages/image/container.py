"""Runs the program of an image as a container runtime does."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import support

UID = 65532
DATA = "/var/lib/scrapebroker"

# The arguments are: whether the network is the program's own, the root, the number of mounts, a source and a target for each, the command. Where
# a mount needs a folder or file that the image lacks, runtimes create it before they make the root
# read-only.
ENTER = """
[ "$1" = host ] || ip link set lo up
root=$2; mounts=$3; shift 3
mount --bind "$root" "$root"
mkdir -p "$root/proc"
for ((i = 0; i < mounts; i++)); do
    target=$root$2
    if [ -d "$1" ]; then mkdir -p "$target"; else mkdir -p "${target%/*}"; [ -e "$target" ] || : >"$target"; fi
    mount --bind "$1" "$target"
    shift 2
done
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs \
    unshare --root="$root" --wd=/var/lib/scrapebroker --setgid=65532 --setuid=65532 "$@"
"""


class Container:
    """A running program. It is process 1 of its namespace, and its root is read-only."""

    def __init__(self, process, log):
        self.process = process
        self.log = log

    def pid(self):
        """Returns the number of the program outside of its namespace."""
        number = self.process.pid
        children = pathlib.Path(f"/proc/{number}/task/{number}/children")
        return int(support.eventually(children.read_text, what="child of unshare"))

    def output(self):
        """Returns what the program has written."""
        return self.log.read_text()

    def kill(self):
        """Kills the program, and thus its namespace, if it still runs."""
        if self.process.poll() is None:
            os.kill(self.pid(), signal.SIGKILL)
            self.process.wait(timeout=30)

    def stop(self, number=signal.SIGTERM):
        """Sends a signal, and returns the exit code of the program."""
        os.kill(self.pid(), number)
        return self.process.wait(timeout=30)

    def get(self, port, path, host="127.0.0.1"):
        """Returns the status of a GET request that is sent inside of the container's own network."""
        request = "import http.client, sys; c = http.client.HTTPConnection(sys.argv[3], int(sys.argv[1])); "
        request += "c.request('GET', sys.argv[2]); print(c.getresponse().status)"
        inside = ["nsenter", "--target", str(self.pid()), "--net", sys.executable, "-c", request]
        return int(support.run(*inside, str(port), path, host))


@contextlib.contextmanager
def run(root, log, arguments, mounts=None, environment=None, network="host"):
    """Runs the image's program below `root` until the end of the block.

    Its network is that of the `host`, or its `own`, which has the loopback interface only.
    """
    pairs = [str(part) for target, source in (mounts or {}).items() for part in (source, target)]
    command = [
        *("unshare", "--mount", "--pid", "--fork", *(["--net"] if network == "own" else [])),
        *("bash", "-euc", ENTER, "enter", network, str(root), str(len(pairs) // 2), *pairs),
        *("/usr/bin/scrapebroker", *arguments),
    ]
    variables = {"PATH": os.environ["PATH"], **(environment or {})}
    with log.open("w") as output:
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=output)
    container = Container(process, log)
    try:
        yield container
    finally:
        container.kill()


def data_folder(path):
    """Creates an empty volume as a runtime does, which gives it the owner of the image's folder."""
    path.mkdir(mode=0o700)
    os.chown(path, UID, UID)
    return path


def answers(url, body=None):
    """Waits until a URL answers 200, and returns the body."""

    def check():
        status, text = support.get(url)
        return (text or " ") if status == 200 and (body is None or body in text) else None

    return support.eventually(check, what=url)
