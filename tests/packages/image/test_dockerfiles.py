"""Both Dockerfiles follow hadolint's rules and describe the same image."""

import pathlib
import re
import sys
import tomllib
import unittest

import support

FOLDER = support.ROOT / "deploy" / "docker"
MULTI_STAGE = FOLDER / "Dockerfile"
PREBUILT = FOLDER / "Dockerfile.prebuilt"


def instructions(path):
    """Returns the instructions of a Dockerfile, without comments and line breaks."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [line for line in joined.splitlines() if line]


def settings(path):
    """Returns the instructions of the last stage that copy nothing."""
    lines = instructions(path)
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    return [line for line in lines[last:] if not line.startswith(("COPY ", "ADD "))]


class DockerfilesTest(unittest.TestCase):
    """The text of the Dockerfiles."""

    def test_hadolint_finds_nothing(self):
        hadolint = pathlib.Path(sys.executable).with_name("hadolint")
        for path in [MULTI_STAGE, PREBUILT]:
            self.assertEqual("", support.run(hadolint, "--failure-threshold", "style", path))

    def test_both_describe_the_same_image(self):
        self.assertEqual(settings(MULTI_STAGE), settings(PREBUILT))

    def test_the_builder_has_the_compiler_of_the_repository(self):
        toolchain = tomllib.loads((support.ROOT / "rust-toolchain.toml").read_text())
        self.assertIn(f"ARG RUST_VERSION={toolchain['toolchain']['channel']}", instructions(MULTI_STAGE))

    def test_the_default_version_is_that_of_the_program(self):
        manifest = tomllib.loads((support.ROOT / "Cargo.toml").read_text())
        for path in [MULTI_STAGE, PREBUILT]:
            self.assertIn(f"ARG VERSION={manifest['package']['version']}", instructions(path))
