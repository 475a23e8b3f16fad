"""Renders and runs the BOSH release in deploy/bosh."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import support
import yaml

RELEASE = support.ROOT / "deploy/bosh"
RENDER = pathlib.Path(__file__).parent / "render.rb"
SPECS = {path.parent.name: yaml.safe_load(path.read_text()) for path in RELEASE.glob("jobs/*/spec")}
SPEC = SPECS["scrapebroker"]
INSTANCE = {
    "name": "scrapebroker", "index": 0, "id": "3b1f6d0a-5f2c-4a0e-9d2f-6f6f1f4b7c11", "bootstrap": True,
    "az": "z1", "ip": "10.0.0.20", "address": "10.0.0.20", "deployment": "cf", "networks": {},
}
PIDFILE = "/var/vcap/sys/run/bpm/scrapebroker/scrapebroker.pid"


class Loader(yaml.SafeLoader):
    """Reads YAML 1.2, which the program writes: it has no dates."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class RenderError(Exception):
    """A template, or a property, is refused."""


def render_jobs(requests):
    """Returns the files by path, or an error, for each job with its properties and links.

    A job is the name of one in deploy/bosh, or a folder.
    """
    requests = [
        {"job": str(pathlib.Path(RELEASE / "jobs", job)), "properties": properties, "links": links or {}, "spec": INSTANCE}
        for job, properties, links in requests
    ]
    answers = json.loads(support.run("ruby", "-W0", str(RENDER), input=json.dumps(requests)))
    return [answer.get("files") or RenderError(answer["error"]) for answer in answers]


def render_job(job, properties, links=None):
    """Returns the files of a job by path."""
    (files,) = render_jobs([(job, properties, links)])
    if isinstance(files, RenderError):
        raise files
    return files


def render_each(sets, links=None):
    """Returns the files of the job scrapebroker by path, or an error, for each set of properties below its name."""
    return render_jobs([("scrapebroker", {"scrapebroker": properties}, links) for properties in sets])


def render(properties, links=None):
    """Returns the files of the job scrapebroker by path, rendered with properties below its name."""
    return render_job("scrapebroker", {"scrapebroker": properties}, links)


class Vm:
    """A folder that stands for /var of a VM, with the job and its package."""

    def __init__(self, root, files, disk=True, program=support.PROGRAM):
        self.root = pathlib.Path(root)
        self.disk = disk
        self.add_job("scrapebroker", files)
        installed = self.path("/var/vcap/packages/scrapebroker/bin/scrapebroker")
        installed.parent.mkdir(parents=True)
        try:
            os.link(program, installed)
        except OSError:
            # The program is on another disk.
            shutil.copy2(program, installed)
        for folder in ["data/scrapebroker", "store/scrapebroker", "sys/log/scrapebroker", "sys/run/bpm/scrapebroker"]:
            self.path(f"/var/vcap/{folder}").mkdir(parents=True)

    def path(self, path):
        """Returns where a path on the VM is on this machine."""
        return self.root / pathlib.PurePosixPath(path).relative_to("/var")

    def add_job(self, job, files):
        """Writes the files of a job, as the agent does: those in bin/ are executable."""
        for name, text in files.items():
            path = self.path(f"/var/vcap/jobs/{job}/{name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o750 if name.startswith("bin/") else 0o640)

    def command(self, *command):
        """Returns a command that runs another one with the folder as /var, and jobs and packages read-only."""
        mounts = 'mount --bind "$1" /var; '
        for folder in ["/var/vcap/jobs", "/var/vcap/packages"]:
            mounts += f"mount --bind {folder} {folder}; mount -o remount,bind,ro {folder}; "
        if self.disk:
            mounts += "mount --bind /var/vcap/store /var/vcap/store; "
        user = [] if os.getuid() == 0 else ["--map-root-user"]
        script = f'set -eu; {mounts} cd /; shift; exec "$@"'
        return ["unshare", *user, "--mount", "sh", "-c", script, "sh", str(self.root), *command]

    def run(self, *command, **options):
        """Runs a command on the VM. Returns the completed process."""
        return subprocess.run(self.command(*command), text=True, capture_output=True, check=False, **options)

    @contextlib.contextmanager
    def started(self):
        """Starts the process of bpm.yml with its arguments and variables, until the end of the block."""
        bpm = yaml.safe_load(self.path("/var/vcap/jobs/scrapebroker/config/bpm.yml").read_text())
        process = bpm["processes"][0]
        environment = {"PATH": "/usr/bin:/bin", "HOME": process["workdir"], **process["env"]}
        command = ["env", "--chdir", process["workdir"], process["executable"], *process["args"]]
        with open(self.path("/var/vcap/sys/log/scrapebroker/scrapebroker.stderr.log"), "wb") as log:
            with support.process(*self.command(*command), env=environment, stderr=log) as child:
                self.path(PIDFILE).write_text(f"{child.pid}\n")
                yield child

    def log(self):
        """Returns what the process has logged."""
        return self.path("/var/vcap/sys/log/scrapebroker/scrapebroker.stderr.log").read_text()


@contextlib.contextmanager
def vm(properties, links=None, disk=True):
    """A VM with the job, rendered with properties, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="bosh-") as root:
        yield Vm(root, render(properties, links), disk)


def effective(properties, links=None):
    """Returns the configuration that the program reads from the rendered files."""
    with vm(properties, links) as machine:
        done = machine.run(
            "/var/vcap/packages/scrapebroker/bin/scrapebroker", "check-config",
            "--config", "/var/vcap/jobs/scrapebroker/config/config.yml",
        )
    if done.returncode != 0:
        raise AssertionError(f"check-config: {done.returncode}\n{done.stdout}{done.stderr}")
    return yaml.load(done.stdout, Loader)
