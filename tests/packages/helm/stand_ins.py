"""Stand-ins for the commands `helm` and `kubectl` in the page docs/install/helm.md.

`helm` accepts the options of Helm that the page uses, and renders with the Helm SDK. `kubectl create` runs the real kubectl without a
cluster. Both write what they made into the folder $CLUSTER. $CHART is the package that a release pushes to $CHART_ADDRESS.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import helm_python
import yaml
from helm_python import _native

CLUSTER = pathlib.Path(os.environ["CLUSTER"])


def parser():
    top = argparse.ArgumentParser(prog="helm", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True)
    for name in ["install", "upgrade", "template"]:
        command = commands.add_parser(name, allow_abbrev=False)
        command.add_argument("release")
        command.add_argument("chart")
        command.add_argument("--version")
        command.add_argument("--values", action="append", default=[])
        command.add_argument("--namespace", default="default")
        if name == "template":
            command.add_argument("--show-only")
            command.add_argument("--api-versions", action="append", default=[])
        else:
            command.add_argument("--wait", action="store_true")
            command.add_argument("--create-namespace", action="store_true")
        if name == "upgrade":
            command.add_argument("--install", action="store_true")
    test = commands.add_parser("test", allow_abbrev=False)
    test.add_argument("release")
    test.add_argument("--namespace", default="default")
    test.add_argument("--logs", action="store_true")
    return top


def helm(arguments):
    options = parser().parse_args(arguments)
    state = CLUSTER / f"{options.namespace}-{options.release}.json"
    if options.command == "test":
        pods = [text for path, text in json.loads(state.read_text()).items() if "/tests/" in path and text.strip()]
        assert pods, "the release has no test"
        return
    values = {}
    for file in options.values:
        values |= yaml.safe_load(pathlib.Path(file).read_text())
    rendered = render(options, values)
    if options.command == "template":
        shown = f"scrapebroker/{options.show_only}"
        print(rendered[shown] if options.show_only else "---\n".join(rendered.values()))
    else:
        state.write_text(json.dumps(rendered))


def render(options, values):
    settings = {"name": options.release, "namespace": options.namespace, "api_versions": getattr(options, "api_versions", [])}
    path = options.chart
    if path == os.environ["CHART_ADDRESS"]:
        path = os.environ["CHART"]
    with helm_python.Chart.load(path) as chart:
        assert options.version in (None, chart.version), f"the version is {chart.version}, not {options.version}"
        return json.loads(_native.call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(settings)))


def kubectl(arguments):
    if arguments[0] == "create":
        command = [os.environ["KUBECTL"], *arguments, "--dry-run=client", "--output=json"]
        made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        (CLUSTER / f"{made['kind']}-{made['metadata']['name']}.json").write_text(json.dumps(made))
    else:
        with open(CLUSTER / "kubectl.log", "a") as log:
            print(*arguments, file=log)


if __name__ == "__main__":
    {"helm": helm, "kubectl": kubectl}[sys.argv[1]](sys.argv[2:])
