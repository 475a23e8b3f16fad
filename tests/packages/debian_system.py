"""A minimal Debian system that systemd has booted, in a container whose network is a loopback
interface."""

import contextlib
import fcntl
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

from support import ROOT, eventually, run

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
ENVIRONMENT = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]


class DebianSystem:
    """The tree of files of a system, and its first process once it is booted."""

    def __init__(self, tree):
        self.tree = tree
        self.leader = None

    def shell(self, script):
        """Runs a script of the shell as root in the booted system. Returns its standard output, and
        fails if one of its commands fails."""
        enter = ["nsenter", f"--target={self.leader}", "--all", "--root"]
        return run(*AS_ROOT, *enter, *ENVIRONMENT, "bash", "-euo", "pipefail", "-c", f"cd /root\n{script}")

    def chroot(self, script):
        """The same in the tree, without systemd and with the network of this machine."""
        return run(*AS_ROOT, "chroot", self.tree, *ENVIRONMENT, "bash", "-euo", "pipefail", "-c", script)

    def copy(self, source, target):
        """Copies a file or a folder of this machine into the tree."""
        target = self.tree / target.lstrip("/")
        run(*AS_ROOT, "mkdir", "-p", target.parent)
        run(*AS_ROOT, "cp", "-r", source, target)

    def write(self, target, text):
        """Writes a file into the tree."""
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            self.copy(file.name, target)
        run(*AS_ROOT, "chmod", "644", self.tree / target.lstrip("/"))

    def process(self, *command, **options):
        """Starts a program of this machine in the network of the system."""
        enter = ["nsenter", f"--target={self.leader}", "--net"]
        return subprocess.Popen([*AS_ROOT, *enter, *command], **options)

    def properties(self, unit, *names):
        """Returns properties of a unit of systemd."""
        shown = self.shell(shlex.join(["systemctl", "show", f"--property={','.join(names)}", unit]))
        return dict(line.split("=", 1) for line in shown.splitlines())

    @contextlib.contextmanager
    def booted(self, *options):
        """Boots the system until the end of the block. Only one system runs at a time: containers
        share the control groups of the machine, where their services of one name are one group."""
        lock = ROOT / "target/booted.lock"
        lock.touch()
        with locked(lock), self._booted(*options):
            yield self

    @contextlib.contextmanager
    def _booted(self, *options):
        command = ["systemd-nspawn", f"--directory={self.tree}", "--boot", "--private-network"]
        command += ["--register=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        # Where systemd does not run there is no unit to put the container into.
        if not pathlib.Path("/run/systemd/system").exists():
            command.append("--keep-unit")
        # If this process is killed, so is unshare, and with it the first process of the namespace, which ends all.
        namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = ["setpriv", "--pdeathsig=KILL", *namespace, *command]
        with tempfile.TemporaryFile("w+") as console:
            child = subprocess.Popen(
                [*AS_ROOT, *command, *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
            try:
                self.leader = eventually(lambda: first_process(child), 20, "a container is started")
                eventually(self._is_running, 60, "the system is booted")
                yield
            except BaseException:
                console.seek(0)
                print(console.read())
                raise
            finally:
                if self.leader:
                    subprocess.run([*AS_ROOT, "kill", "-KILL", str(self.leader)], check=False)
                else:
                    child.terminate()
                child.wait(timeout=20)
                self.leader = None

    def _is_running(self):
        state = "systemctl is-system-running || true"
        return self.shell(state).strip() in ("running", "degraded")


def first_process(child):
    """Returns the first process of a container, below sudo and systemd-nspawn."""
    if child.poll() is not None:
        raise AssertionError(f"systemd-nspawn has ended with {child.returncode}")
    process = child.pid
    while True:
        name = pathlib.Path(f"/proc/{process}/comm").read_text().strip()
        if name == "systemd":
            return process
        children = pathlib.Path(f"/proc/{process}/task/{process}/children").read_text().split()
        if not children:
            return None
        process = int(children[-1])


def remove_stale_systems():
    """Removes what checks left that were killed. The owner of a system holds the lock of its folder."""
    for folder in (ROOT / "target").glob("system-*"):
        with locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as is_stale:
            if not is_stale:
                continue
            tree = folder / "tree"
            if tree.is_mount():
                run(*AS_ROOT, "umount", "--lazy", tree)
            run(*AS_ROOT, "rm", "-r", "--one-file-system", folder)


@contextlib.contextmanager
def locked(path, operation=fcntl.LOCK_EX):
    """Locks a file or a folder until the end of the block. Yields whether it could."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def debian_system():
    """Unpacks a system into memory, and removes it at the end of the block. scripts/check-packages has a mount
    namespace of its own, so that the memory is free even if the check is killed."""
    archive = run(*AS_ROOT, ROOT / "scripts/debian-tree").strip()
    with contextlib.ExitStack() as stack:
        with locked(ROOT / "target"):
            remove_stale_systems()
            folder = pathlib.Path(tempfile.mkdtemp(prefix="system-", dir=ROOT / "target"))
            stack.callback(shutil.rmtree, folder)
            stack.enter_context(locked(folder))
        tree = folder / "tree"
        tree.mkdir()
        # Memory is used for files only. The size is what a plan of Prometheus on disk requires.
        run(*AS_ROOT, "mount", "-t", "tmpfs", "-o", "size=8g,mode=755", "system", tree)
        stack.callback(run, *AS_ROOT, "umount", "--lazy", tree)
        run(*AS_ROOT, "tar", "-xf", archive, "-C", tree, "--numeric-owner", "--exclude=./dev/*")
        yield DebianSystem(tree)
