"""scripts/apt-install, with packages of daemons in a minimal Debian system."""

import pathlib
import tempfile
import textwrap
import unittest

from debian_system import debian_system
from support import ROOT, run

POLICY = "/usr/sbin/policy-rc.d"

# As debhelper writes it, and what the policy says about a start.
POSTINST = """\
#!/bin/sh -e
deb-systemd-helper unmask NAME.service
if deb-systemd-helper --quiet was-enabled NAME.service; then
    deb-systemd-helper enable NAME.service
else
    deb-systemd-helper update-state NAME.service
fi
update-rc.d NAME defaults
policy-rc.d NAME start || echo "$?" >/root/NAME-policy
[ ! -e /root/script ] || kill -KILL "$(cat /root/script)"
sleep 0.5
"""

FILES = {
    "DEBIAN/control": """\
        Package: NAME
        Version: VERSION
        Architecture: all
        Maintainer: Test <test@example.com>
        Description: test
        """,
    "lib/systemd/system/NAME.service": """\
        [Service]
        ExecStart=/bin/true
        [Install]
        WantedBy=multi-user.target
        """,
    "etc/init.d/NAME": """\
        #!/bin/sh
        ### BEGIN INIT INFO
        # Provides: NAME
        # Required-Start:
        # Required-Stop:
        # Default-Start: 2 3 4 5
        # Default-Stop: 0 1 6
        ### END INIT INFO
        """,
}


def daemon(folder, name, version):
    """Builds the package of a daemon. Returns its path."""
    tree = folder / f"{name}-{version}"
    for path, text in {**FILES, "DEBIAN/postinst": POSTINST}.items():
        file = tree / path.replace("NAME", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).replace("NAME", name).replace("VERSION", version))
        file.chmod(0o755 if text.startswith("#!") or "#!/bin/sh" in text else 0o644)
    run("dpkg-deb", "--root-owner-group", "--build", tree, f"{tree}.deb")
    return f"{tree}.deb"


class AptInstall(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.system = system = cls.enterClassContext(debian_system())
        system.copy(ROOT / "scripts/apt-install", "/root/apt-install")
        # All packages are files.
        system.chroot("rm -f /etc/apt/sources.list.d/*; : >/etc/apt/sources.list")
        with tempfile.TemporaryDirectory() as folder:
            for name in ("new", "installed", "restricted", "killed", "first", "second"):
                for version in ("1", "2"):
                    package = daemon(pathlib.Path(folder), name, version)
                    system.copy(package, f"/root/{name}-{version}.deb")

    def assert_enabled(self, expected, name):
        """Compares whether systemd and sysvinit start a daemon at the next boot."""
        links = self.system.chroot(f"cd /etc; find systemd/system rc?.d -name {name}.service -o -name 'S*{name}'").split()
        found = {link.partition("/")[0] for link in links}
        self.assertEqual({"systemd", "rc2.d", "rc3.d", "rc4.d", "rc5.d"} if expected else set(), found)

    def has_policy(self):
        return self.system.chroot(f"ls {POLICY} || true 2>&1").strip() == POLICY

    def test_a_new_daemon_is_neither_started_nor_enabled(self):
        self.system.chroot("/root/apt-install /root/new-1.deb")
        self.assertEqual("101", self.system.chroot("cat /root/new-policy").strip())
        self.assert_enabled(False, "new")
        self.assertFalse(self.has_policy())

        self.system.chroot("apt-get install -qy /root/new-2.deb")
        self.assert_enabled(False, "new")

    def test_a_daemon_that_was_installed_stays_enabled(self):
        self.system.chroot("apt-get install -qy /root/installed-1.deb")
        self.assert_enabled(True, "installed")
        self.system.chroot("/root/apt-install /root/installed-2.deb")
        self.assert_enabled(True, "installed")

    def test_the_policy_of_an_administrator_stays(self):
        self.system.write(POLICY, "#!/bin/sh\nexit 104\n")
        self.addCleanup(self.system.chroot, f"rm {POLICY}")
        self.system.chroot(f"chmod +x {POLICY}; /root/apt-install /root/restricted-1.deb")
        self.assertTrue(self.has_policy())

    def test_the_next_run_removes_the_policy_of_one_that_was_killed(self):
        # The process of the script becomes that of the shell.
        self.system.chroot("(echo $BASHPID >/root/script; exec /root/apt-install /root/killed-1.deb) || true; rm /root/script")
        self.assertTrue(self.has_policy())
        self.system.chroot("/root/apt-install /root/killed-2.deb")
        self.assertFalse(self.has_policy())

    def test_parallel_runs_wait_for_each_other(self):
        self.system.chroot("for name in first second; do /root/apt-install /root/$name-1.deb & done; wait -n; wait -n")
        for name in ("first", "second"):
            self.assertEqual("101", self.system.chroot(f"cat /root/{name}-policy").strip())
            self.assert_enabled(False, name)
        self.assertFalse(self.has_policy())
