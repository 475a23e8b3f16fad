"""A stand-in for the image of the Rust compiler, which only a registry offers.

It contains the shell and the commands that scripts/build-static and scripts/image-tree call, and a
cargo that provides a program which is built already, after it has checked how it is called.
"""

import os
import pathlib
import re
import shutil

import support

COMMANDS = "bash cat dirname env grep install mkdir mv readelf realpath sed sh stat tar test".split()

CARGO = r"""#!/bin/sh -eu
# Arguments and variables of a static build.
[ "$*" = "build --release --locked --bin scrapebroker" ]
separator=$(printf '\037')
case $CARGO_ENCODED_RUSTFLAGS in
    *"-C${separator}target-feature=+crt-static"*"--cfg${separator}getrandom_backend=\"linux_raw\""*) ;;
    *) exit 1 ;;
esac
install -D "${BUILT:-/built}" "$CARGO_TARGET_DIR/$CARGO_BUILD_TARGET/release/scrapebroker"
"""

RUSTC = r"""#!/bin/sh -eu
case "$*" in
    -vV) echo 'host: x86_64-unknown-linux-gnu' ;;
    '--print sysroot') echo /usr/local ;;
    *) exit 1 ;;
esac
"""


def compile_program(path, *options):
    """Compiles a program that does nothing."""
    source = path.with_suffix(".c")
    source.write_text("int main(void) { return 0; }\n")
    support.run("cc", *options, "-o", path, source)
    return path


def toolchain(folder):
    """Writes cargo and rustc into a folder."""
    folder.mkdir(parents=True)
    for name, text in {"cargo": CARGO, "rustc": RUSTC}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def base_image(folder, program):
    """Writes the context of the image. The program is what its cargo builds."""
    root = folder / "root"
    toolchain(root / "usr/local/bin")
    for command in COMMANDS:
        copy_command(root, shutil.which(command, path="/usr/bin:/bin"))
    (root / "bin").symlink_to("usr/bin")
    copy(root, pathlib.Path("/etc/ssl/certs/ca-certificates.crt"))
    (root / "tmp").mkdir()
    shutil.copy(program, root / "built")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY root /\nENV PATH=/usr/local/bin:/usr/bin:/bin\n")
    return folder


def copy_command(root, path):
    """Copies a command and its libraries."""
    copy(root, pathlib.Path(path))
    for library in re.findall(r"/\S+", support.run("ldd", path).replace(f"{path}:", "")):
        copy(root, pathlib.Path(library))


def copy(root, path):
    """Copies a file to the same path below a folder."""
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(os.path.realpath(path), target)
