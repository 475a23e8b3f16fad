"""scripts/build-static, with a small program."""

import os
import pathlib
import shutil
import tempfile
import unittest

from support import ROOT, run

FILES = {
    "Cargo.toml": """\
[package]
name = "scrapebroker"
version = "1.2.3"
edition = "2024"

[dependencies]
dependency = { path = "cargo home/dependency" }
""",
    "Cargo.lock": """\
version = 4

[[package]]
name = "dependency"
version = "1.0.0"

[[package]]
name = "scrapebroker"
version = "1.2.3"
dependencies = ["dependency"]
""",
    # The names of files that a program contains are those of its panics.
    "src/main.rs": """\
include!(concat!(env!("OUT_DIR"), "/generated.rs"));

fn main() {
    let count = std::env::args().count();
    generated(count);
    dependency::check(count);
    assert!(count > 1, "main");
}
""",
    "build.rs": """\
fn main() {
    let file = format!("{}/generated.rs", std::env::var("OUT_DIR").unwrap());
    std::fs::write(file, r#"fn generated(count: usize) { assert!(count > 2, "generated"); }"#).unwrap();
}
""",
    "cargo home/dependency/Cargo.toml": """\
[package]
name = "dependency"
version = "1.0.0"
edition = "2024"
""",
    "cargo home/dependency/src/lib.rs": """\
pub fn check(count: usize) { assert!(count > 3, "dependency"); }
""",
}


def build(folder):
    """Builds the program in a folder. Returns its content."""
    for name, text in FILES.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/build-static", folder / "scripts")
    shutil.copy(ROOT / "rust-toolchain.toml", folder)
    environment = {**os.environ, "CARGO_HOME": str(folder / "cargo home"), "CARGO_NET_OFFLINE": "true"}
    environment.pop("CARGO_TARGET_DIR", None)
    return pathlib.Path(run(folder / "scripts/build-static", env=environment).rstrip("\n")).read_bytes()


class BuildStatic(unittest.TestCase):
    def test_the_program_does_not_depend_on_the_folders_of_the_build(self):
        with tempfile.TemporaryDirectory() as folder:
            first, second = pathlib.Path(folder, "first"), pathlib.Path(folder, "it's the second")
            programs = [build(first), build(second)]
        self.assertTrue(programs[0] == programs[1], "the programs differ")
        self.assertFalse(folder.encode() in programs[0], "the program contains the folder of the build")
        generated = f"/target/{os.uname().machine}-unknown-linux-gnu/release/build/"
        self.assertTrue(generated.encode() in programs[0], "the program names no source file")
