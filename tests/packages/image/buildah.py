"""Builds images with buildah, without a daemon and without a registry."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import support


class Buildah:
    """Images and containers in a temporary folder."""

    def __init__(self, folder):
        self.folder = folder
        self.storage = [
            *("--root", f"{folder}/storage"),
            *("--runroot", f"{folder}/run"),
            *("--storage-driver", "vfs"),
        ]

    def __call__(self, command, *arguments):
        # Cache mounts of RUN instructions are folders in TMPDIR.
        environment = {**os.environ, "TMPDIR": self.folder}
        return support.run("buildah", *self.storage, command, *arguments, env=environment).strip()

    def build(self, dockerfile, context, tag, *options, **build_args):
        """Builds an image. RUN instructions are executed in a chroot, without network namespaces."""
        given = [f"--build-arg={name}={value}" for name, value in build_args.items()]
        common = ["--pull-never", "--isolation", "chroot", "--tag", tag]
        self("build", "--file", str(dockerfile), *common, *given, *options, str(context))

    def config(self, tag):
        """Returns the configuration that the image gives to containers."""
        return json.loads(self("inspect", "--type", "image", tag))["OCIv1"]["config"]

    @contextlib.contextmanager
    def files(self, tag):
        """Unpacks the image and yields the folder with its files."""
        container = self("from", "--pull-never", tag)
        try:
            yield pathlib.Path(self("mount", container))
        finally:
            self("umount", container)
            self("rm", container)


@contextlib.contextmanager
def buildah():
    """Yields an empty storage, and removes it."""
    if os.geteuid() != 0:
        raise AssertionError("images keep the owners of files, so this check requires root")
    folder = tempfile.mkdtemp(prefix="scrapebroker-buildah-")
    try:
        yield Buildah(folder)
    finally:
        shutil.rmtree(folder)
