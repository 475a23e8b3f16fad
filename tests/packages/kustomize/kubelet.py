"""Runs the pod of rendered manifests: files of ConfigMaps and Secrets, environment, user, root."""

import contextlib
import os

import support
from image import container
from kustomize import manifests


def volumes(found, secrets, folder):
    """Writes the files of the pod's volumes. Returns the source of each mount by its path.

    Secrets are maps of keys and values, by the name of the Secret.
    """
    contents = {}
    for volume in manifests.pod(found)["volumes"]:
        if "secret" in volume:
            contents[volume["name"]] = (secrets[volume["secret"]["secretName"]], volume["secret"]["defaultMode"])
        else:
            contents[volume["name"]] = (config_map(found, volume["configMap"]["name"]), 0o644)
    mounts = {}
    for mount in manifests.container(found)["volumeMounts"]:
        source = folder / mount["name"]
        mounts[mount["mountPath"]] = source
        if mount["name"] in contents:
            write(source, *contents[mount["name"]])
        elif not source.exists():
            container.data_folder(source)
    return mounts


def config_map(found, name):
    """Returns the data of a ConfigMap."""
    (data,) = [it["data"] for it in found if it["kind"] == "ConfigMap" and it["metadata"]["name"] == name]
    return data


def write(folder, files, mode):
    """Writes files for the group of the pod, as the kubelet does with `fsGroup`."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.write_text(text)
        os.chown(path, 0, container.UID)
        path.chmod(mode)


@contextlib.contextmanager
def pod(found, root, folder, secrets, arguments=None, mounts=None):
    """Runs the container of the pod, or other `arguments` in it, until the end of the block."""
    specification = manifests.container(found)
    with container.run(
        root,
        folder / "log",
        arguments or specification["args"],
        {**volumes(found, secrets, folder), **(mounts or {})},
        manifests.environment(found),
        network="own",
    ) as running:
        yield running


def probe(running, found, name):
    """Waits until a probe succeeds, for as long as Kubernetes would."""
    specification = manifests.container(found)[f"{name}Probe"]
    ports = {port["name"]: port["containerPort"] for port in manifests.container(found)["ports"]}
    get = specification["httpGet"]
    seconds = min(60, specification["periodSeconds"] * specification["failureThreshold"])
    support.eventually(lambda: running.get(ports[get["port"]], get["path"]) == 200, seconds, name)
