"""The errand register-broker, with a stand-in for the cf CLI."""

import json
import tempfile
import unittest

import certificates
import support

from bosh import release

HOSTILE = "pass\"word'with ${HOME} $(id) ; & and spaces"

# Logs each call with its variables.
CF = """#!/usr/bin/env python3
import json, os, sys

with open("/var/vcap/data/calls", "a") as log:
    names = ("CF_USERNAME", "CF_PASSWORD", "CF_BROKER_PASSWORD", "SSL_CERT_FILE", "CF_HOME")
    log.write(json.dumps({"arguments": sys.argv[1:], **{name: os.environ.get(name) for name in names}}) + "\\n")
if sys.argv[1] == "auth" and os.environ["CF_PASSWORD"] == "wrong":
    sys.exit("Credentials were rejected")
if sys.argv[1] == "service-access":
    print("   offering   plan    access   orgs\\n   metrics    default none")
"""


def rendered(broker_password=HOSTILE, **properties):
    """Returns the files of the job, with the link of the job scrapebroker."""
    link = {"instances": [{"address": "10.0.0.20"}], "properties": {"scrapebroker": {
        "listen": "0.0.0.0:8085", "base_url": "https://scrapebroker.sys.example.com",
        "broker": {"username": "cloud-controller", "password": broker_password},
    }}}
    given = {"api_url": "https://api.sys.example.com", "password": HOSTILE, **properties}
    return release.render_job("register-broker", {"register_broker": given}, {"scrapebroker": link})


class RegisterBroker(unittest.TestCase):
    def run_errand(self, files, script=True):
        """Runs the errand. Returns the process, and the calls of cf."""
        with tempfile.TemporaryDirectory(prefix="bosh-errand-") as folder:
            machine = release.Vm(folder, release.render({}))
            machine.add_job("register-broker", files)
            cf = machine.path("/var/vcap/packages/cf-cli-8-linux/bin/cf")
            cf.parent.mkdir(parents=True)
            cf.write_text(CF)
            cf.chmod(0o755)
            if script:
                register = machine.path("/var/vcap/packages/scrapebroker/bin/register.sh")
                register.write_text((support.ROOT / "deploy/cf/register.sh").read_text())
                register.chmod(0o755)
            # As root on a VM.
            done = machine.run("/var/vcap/jobs/register-broker/bin/run")
            log = machine.path("/var/vcap/data/calls")
            return done, [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def test_the_broker_is_created_with_the_credentials_of_the_link(self):
        ca = certificates.Authority("routers").certificate
        done, calls = self.run_errand(rendered(ca=ca))
        self.assertEqual(0, done.returncode, done.stderr)
        commands = [call["arguments"] for call in calls]
        self.assertEqual(["api", "https://api.sys.example.com"], commands[0])
        self.assertEqual(["auth"], commands[1])
        self.assertEqual(("admin", HOSTILE), (calls[1]["CF_USERNAME"], calls[1]["CF_PASSWORD"]))
        self.assertIn(
            ["create-service-broker", "scrapebroker", "cloud-controller",
             "https://scrapebroker.sys.example.com/broker"], commands)
        self.assertEqual(HOSTILE, calls[3]["CF_BROKER_PASSWORD"])
        self.assertEqual(["enable-service-access", "metrics", "-b", "scrapebroker"], commands[-1])
        self.assertEqual({"/var/vcap/jobs/register-broker/config/ca.pem"}, {call["SSL_CERT_FILE"] for call in calls})
        self.assertNotIn(HOSTILE, json.dumps(commands))

    def test_the_session_of_the_admin_is_removed(self):
        done, calls = self.run_errand(rendered())
        self.assertEqual(0, done.returncode)
        (home,) = {call["CF_HOME"] for call in calls}
        self.assertFalse(release.pathlib.Path(home).exists())

    def test_names_and_organizations_with_any_characters(self):
        organizations = ["sales team", "a;b", "$(id)", "it's"]
        done, calls = self.run_errand(rendered(
            name="metrics-2", organizations=organizations, url="https://other.example.com", username="o'brien",
            skip_ssl_validation=True))
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(["api", "https://api.sys.example.com", "--skip-ssl-validation"], calls[0]["arguments"])
        self.assertEqual("o'brien", calls[1]["CF_USERNAME"])
        enabled = [call["arguments"][-1] for call in calls if call["arguments"][0] == "enable-service-access"]
        self.assertEqual(organizations, enabled)
        self.assertIn("https://other.example.com/broker", calls[3]["arguments"])

    def test_a_failed_login_fails_the_errand(self):
        done, calls = self.run_errand(rendered(password="wrong"))
        self.assertEqual(1, done.returncode)
        self.assertEqual("auth", calls[-1]["arguments"][0])

    def test_a_package_without_the_script_fails_the_errand(self):
        done, calls = self.run_errand(rendered(), script=False)
        self.assertEqual((1, []), (done.returncode, calls))
        self.assertIn("does not contain register.sh", done.stderr)

    def test_without_a_user_name_of_the_broker_nothing_is_rendered(self):
        link = {"instances": [], "properties": {"scrapebroker": {"base_url": "https://x", "broker": {"password": "p"}}}}
        given = {"register_broker": {"api_url": "https://api", "password": "p"}}
        with self.assertRaisesRegex(release.RenderError, "scrapebroker.broker.username"):
            release.render_job("register-broker", given, {"scrapebroker": link})


if __name__ == "__main__":
    unittest.main()
