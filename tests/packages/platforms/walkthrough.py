"""Runs the commands of a page with stand-ins for the tools of a platform."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import support

# Each tool logs its arguments, its folder, and the files that its arguments name.
STUB = """#!/usr/bin/env python3
import json, os, pathlib, sys

name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
files = {a: pathlib.Path(a).read_text() for a in arguments if a.endswith((".json", ".yaml")) and os.path.isfile(a)}
with open(os.environ["STUB_LOG"], "a") as log:
    entry = {"name": name, "arguments": arguments, "folder": os.getcwd(), "files": files,
             "password": os.environ.get("CF_BROKER_PASSWORD")}
    log.write(json.dumps(entry) + "\\n")
if name == "make":
    print(os.environ["SCRAPEBROKER_BINARY"])
if arguments[:1] == ["service-access"]:
    print("broker: scrapebroker\\n   offering   plan    access   orgs\\n   metrics    default none")
"""


def blocks(page):
    """Returns the blocks of shell commands of a page in docs."""
    text = (support.ROOT / "docs" / page).read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class Walkthrough:
    """The commands of a page, or only some of them, run in a copy of the files that they use."""

    def __init__(self, folder, page, tools, files, variables, only=None, program=support.PROGRAM):
        self.folder = pathlib.Path(folder)
        work = self.folder / "repository"
        work.mkdir()
        for name in ["deploy", "scripts"]:
            shutil.copytree(support.ROOT / name, work / name)
        for name in ["Cargo.toml", "LICENSE", "manifest.yml"]:
            shutil.copy2(support.ROOT / name, work)
        for name, text in files.items():
            (work / name).write_text(text)
        stubs = self.folder / "bin"
        stubs.mkdir()
        for tool in [*tools, "make"]:
            (stubs / tool).write_text(STUB)
            (stubs / tool).chmod(0o755)
        log = self.folder / "log"
        environment = {
            **os.environ, **variables, "PATH": f"{stubs}:{os.environ['PATH']}", "STUB_LOG": str(log),
            "SCRAPEBROKER_BINARY": str(program),
        }
        script = "set -eu\n" + "\n".join(only or blocks(page))
        done = subprocess.run(
            ["bash", "-c", script], cwd=work, env=environment, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{page}: {done.returncode}\n{done.stdout}{done.stderr}")
        self.work = work
        self.calls = [json.loads(line) for line in log.read_text().splitlines()]

    def called(self, *arguments):
        """Returns the calls whose arguments begin with these."""
        return [call for call in self.calls if call["arguments"][: len(arguments)] == list(arguments)]

    def position(self, *arguments):
        """Returns the number of the only call whose arguments begin with these."""
        (call,) = self.called(*arguments)
        return self.calls.index(call)


@contextlib.contextmanager
def container(folder):
    """A copy of a deployed folder, in which the app may write, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="app-") as copy:
        yield shutil.copytree(folder, pathlib.Path(copy) / "app")


def clean_environment(**variables):
    """Returns the environment of an app: variables of this process do not reach it."""
    return {"PATH": "/usr/bin:/bin", **variables}
