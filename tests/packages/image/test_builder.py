"""The Dockerfile that builds the program, with a stand-in for the compiler; and scripts/build-static."""

import os
import pathlib
import re
import stat
import subprocess
import tempfile
import tomllib
import unittest

import support
from image import builder
from image.buildah import buildah

DOCKERFILE = support.ROOT / "deploy" / "docker" / "Dockerfile"
SCRIPT = support.ROOT / "scripts" / "build-static"


class MultiStageTest(unittest.TestCase):
    """One build for all tests."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.program = builder.compile_program(cls.folder / "built", "-static")
        cls.buildah = cls.enterClassContext(buildah())
        toolchain = tomllib.loads((support.ROOT / "rust-toolchain.toml").read_text())["toolchain"]
        base = builder.base_image(cls.folder / "base", cls.program)
        name = f"docker.io/library/rust:{toolchain['channel']}-bookworm"
        cls.buildah.build(base / "Dockerfile", base, name)
        cls.buildah.build(DOCKERFILE, support.ROOT, "sources", "--target", "build", REVISION="0123456789ab")
        cls.buildah.build(DOCKERFILE, support.ROOT, "image", VERSION="1.2.3", REVISION="0123456789ab")

    def test_the_image_contains_the_tree_of_the_script(self):
        support.run(support.ROOT / "scripts" / "image-tree", self.folder / "expected", self.program)
        expected = self.folder / "expected" / "root"
        with self.buildah.files("image") as root:
            found = contents(root)
        self.assertEqual(sorted(contents(expected)), sorted(found))
        different = [path for path, content in contents(expected).items() if content != found[path]]
        self.assertEqual([], different)

    def test_only_the_data_folder_belongs_to_the_user(self):
        with self.buildah.files("image") as root:
            owners = {str(path.relative_to(root)): path.lstat().st_uid for path in root.rglob("*")}
            mode = (root / "var/lib/scrapebroker").stat().st_mode
        self.assertEqual({"var/lib/scrapebroker": 65532}, {path: uid for path, uid in owners.items() if uid})
        self.assertEqual(0o700, stat.S_IMODE(mode))

    def test_the_configuration_has_user_and_labels(self):
        config = self.buildah.config("image")
        self.assertEqual("65532:65532", config["User"])
        self.assertEqual(["/usr/bin/scrapebroker"], config["Entrypoint"])
        self.assertEqual("1.2.3", config["Labels"]["org.opencontainers.image.version"])
        self.assertEqual("0123456789ab", config["Labels"]["org.opencontainers.image.revision"])

    def test_the_builder_uses_its_own_compiler_and_knows_the_commit(self):
        environment = self.buildah.config("sources")["Env"]
        self.assertIn("SCRAPEBROKER_COMMIT=0123456789ab", environment)
        self.assertTrue(any(variable.startswith("RUSTUP_TOOLCHAIN=1.") for variable in environment))

    def test_the_builder_gets_every_source_and_nothing_else(self):
        listed = support.run("git", "-C", support.ROOT, "ls-files", "--", "src", "crates", "migrations")
        with self.buildah.files("sources") as root:
            sources = root / "src"
            missing = [path for path in listed.split() if not (sources / path).exists()]
            self.assertEqual([], [path for path in missing if (support.ROOT / path).exists()])
            included = included_files(sources)
            self.assertIn("broker-catalog.json", [path.name for path in included])
            self.assertEqual([], [path for path in included if not path.exists()])
            # cargo refuses a manifest whose members or targets are missing.
            support.run("cargo", "metadata", "--no-deps", "--locked", "--offline", cwd=sources)
            self.assertFalse((sources / ".git").exists())
            self.assertFalse((sources / "docs").exists())
            self.assertFalse((sources / "target").exists(), "the files of the build are not in the layer")


class BuildStaticTest(unittest.TestCase):
    """scripts/build-static, with a cargo that provides a given program."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.tools = builder.toolchain(self.folder / "bin")

    def build(self, program):
        """Runs the script."""
        target = self.folder / "target"
        variables = {"PATH": f"{self.tools}:/usr/bin:/bin", "BUILT": program, "CARGO_TARGET_DIR": target}
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        return subprocess.run([SCRIPT], env=environment, text=True, capture_output=True, check=False)

    def test_it_prints_the_path_of_a_static_program(self):
        done = self.build(builder.compile_program(self.folder / "static", "-static"))
        self.assertEqual(0, done.returncode, done.stderr)
        path = self.folder / "target/x86_64-unknown-linux-gnu/release/scrapebroker"
        self.assertEqual(f"{path}\n", done.stdout)

    def test_a_program_that_is_static_but_relocatable_is_accepted(self):
        done = self.build(builder.compile_program(self.folder / "static", "-static-pie"))
        self.assertEqual(0, done.returncode, done.stderr)

    def test_a_program_with_a_loader_is_refused(self):
        done = self.build(builder.compile_program(self.folder / "dynamic"))
        self.assertEqual(1, done.returncode)
        self.assertIn("is not static: it requires a loader", done.stderr)


def included_files(sources):
    """Returns the files that the program's sources include, without those of tests."""
    found = []
    for file in [*sources.glob("src/**/*.rs"), *sources.glob("crates/*/src/**/*.rs")]:
        if "tests" in file.parts or file.name == "tests.rs":
            continue
        text = re.sub(r"#\[cfg\(doctest\)\]\n.*\n", "", file.read_text())
        paths = re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', text)
        found += [file.parent / path for path in paths]
    return found


def contents(root):
    """Returns mode and content of each file below a folder."""
    return {
        str(path.relative_to(root)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(root.rglob("*"))
    }
