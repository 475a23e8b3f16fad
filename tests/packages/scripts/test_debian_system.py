"""A check that is killed leaves no system behind."""

import os
import pathlib
import signal
import subprocess
import sys
import unittest

from debian_system import locked, remove_stale_systems
from support import ROOT, eventually

CHECK = """
import os, time, unittest
from debian_system import debian_system

class Check(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.system = cls.enterClassContext(debian_system())
        cls.enterClassContext(cls.system.booted())

    def test(self):
        device = self.system.tree.stat().st_dev
        print(f"{os.major(device)}:{os.minor(device)}", self.system.tree.parent, flush=True)
        time.sleep(600)

unittest.main()
"""


def is_mounted(device):
    """Returns whether a file system is mounted in the mount namespace of any process."""
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f" {device} " in (process / "mountinfo").read_text():
                return True
        except OSError:
            continue
    return False


@unittest.skipUnless(os.geteuid() == 0, "a mount namespace requires root")
class KilledCheckTest(unittest.TestCase):
    def run_and_end(self, number):
        """Starts a check as scripts/check-packages does, and ends it with a signal. Returns the folder of its system."""
        command = ["unshare", "--mount", sys.executable, "-c", CHECK]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with subprocess.Popen(command, cwd=ROOT / "tests/packages", **options) as child:
            device, folder = child.stdout.readline().rstrip("\n").split(" ", 1)
            self.assertTrue(is_mounted(device))
            child.send_signal(number)
            child.wait(timeout=60)
        eventually(lambda: not is_mounted(device), 20, "the memory of the system is free")
        return pathlib.Path(folder)

    def test_a_terminated_check_removes_its_system(self):
        folder = self.run_and_end(signal.SIGTERM)
        self.assertFalse(folder.exists())

    def test_the_next_check_removes_the_folder_of_a_killed_one(self):
        folder = self.run_and_end(signal.SIGKILL)
        with locked(ROOT / "target"):
            remove_stale_systems()
        self.assertFalse(folder.exists())

    def test_a_system_in_use_stays(self):
        folder = ROOT / "target/system-in-use"
        folder.mkdir(exist_ok=True)
        self.addCleanup(folder.rmdir)
        with locked(folder):
            remove_stale_systems()
            self.assertTrue(folder.exists())
