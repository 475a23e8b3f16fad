"""docs/install/cf-push.md and manifest.yml: the commands as written, and the app that they start."""

import json
import re
import shlex
import subprocess
import tempfile
import unittest

import certificates
import support
import yaml

from platforms import walkthrough

MANIFEST = yaml.safe_load((support.ROOT / "manifest.yml").read_text())
APP = MANIFEST["applications"][0]
PLATFORM = {
    "PORT": "8080",
    "VCAP_APPLICATION": json.dumps({"application_uris": ["scrapebroker.apps.example.com"]}),
    "VCAP_SERVICES": json.dumps({"postgresql": [{
        "name": "my-postgresql", "credentials": {"uri": "postgres://user:pass@10.0.0.20/scrapebroker?sslmode=verify-full"},
    }]}),
}


class CfPush(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="cf-push-")
        cls.addClassCleanup(cls.folder.cleanup)
        authority = certificates.Authority("platform")
        nats, router = authority.sign("nats_client"), authority.sign("gorouter.service.cf.internal")
        files = {
            "nats-ca.pem": authority.certificate, "nats.pem": nats[0], "nats-key.pem": nats[1],
            "instance-identity-ca.pem": authority.certificate, "router.pem": router[0], "router-key.pem": router[1],
        }
        cls.page = walkthrough.Walkthrough(
            cls.folder.name, "install/cf-push.md", ["cf"], files, {"NATS_PASSWORD": "a password: with \"signs\""})
        cls.variables = {call["arguments"][2]: call["arguments"][3] for call in cls.page.called("set-env")}

    def test_commands_name_the_app_of_the_manifest_and_run_in_order(self):
        self.assertTrue(all(call["arguments"][1] == APP["name"] for call in self.page.called("set-env")))
        first = self.page.calls.index(self.page.called("set-env")[0])
        self.assertLess(self.page.position("create-security-group"), self.page.position("push", "--no-start"))
        self.assertLess(self.page.position("push", "--no-start"), first)
        self.assertLess(self.page.position("bind-service", APP["name"]), self.page.position("start", APP["name"]))
        self.assertLess(self.page.position("start", APP["name"]), self.page.position("create-service-broker"))

    def test_the_pushed_folder_contains_only_the_program(self):
        self.assertEqual(["scrapebroker"], [path.name for path in (self.page.work / APP["path"]).iterdir()])
        self.assertEqual("./scrapebroker serve", APP["command"])

    def test_the_rules_are_a_security_group(self):
        (call,) = self.page.called("create-security-group")
        for rule in json.loads(call["files"]["rules.json"]):
            self.assertEqual("tcp", rule["protocol"])
            self.assertRegex(rule["ports"], r"^\d+(-\d+)?$")
            self.assertRegex(rule["destination"], r"^[\d.]+(/\d+|-[\d.]+)?$")

    def test_the_broker_is_registered_with_the_password_of_the_app(self):
        (call,) = self.page.called("create-service-broker")
        self.assertEqual(
            ["scrapebroker", self.variables["SCRAPEBROKER__BROKER__USERNAME"],
             "https://scrapebroker.apps.example.com/broker"],
            call["arguments"][1:])
        self.assertEqual(self.variables["SCRAPEBROKER__BROKER__PASSWORD"], call["password"])

    def test_the_program_accepts_the_settings(self):
        environment = walkthrough.clean_environment(**APP["env"], **self.variables, **PLATFORM)
        shown = yaml.safe_load(support.run(support.PROGRAM, "check-config", env=environment))
        self.assertEqual("https://scrapebroker.apps.example.com", shown["base_url"])
        self.assertEqual("[::]:8080", shown["listen"])
        self.assertEqual(["tls://nats.service.cf.internal:4224"], shown["routes"]["nats"]["servers"])
        self.assertEqual("none", shown["prometheus"]["provisioner"])
        # The route may be reachable from everywhere.
        self.assertEqual("token", shown["scrape"]["access"])
        self.assertEqual(("2s", "7s"), (shown["drain_wait"], shown["shutdown_grace"]))
        self.assertIn("10.0.0.20", shown["database_url"])
        for section in (shown["routes"]["nats"]["tls"], shown["backends"]):
            self.assertTrue(all(section[key] for key in ("ca", "cert", "key")))

    def test_the_memory_of_the_app_is_enough_for_the_budget(self):
        memory = int(APP["memory"].removesuffix("M")) * 2**20
        budget = int(re.fullmatch(r"(\d+)MiB", APP["env"]["SCRAPEBROKER__SCRAPE__MAX_MEMORY"])[1]) * 2**20
        self.assertGreaterEqual(memory, 1.25 * budget + 50e6)

    def test_the_app_answers_the_health_checks_of_the_manifest(self):
        without = {name: value for name, value in self.variables.items() if "__NATS__" not in name}
        port = support.free_port()
        environment = walkthrough.clean_environment(
            **APP["env"], **without, PORT=str(port), VCAP_APPLICATION=PLATFORM["VCAP_APPLICATION"])
        command = shlex.split(APP["command"])
        with walkthrough.container(self.page.work / APP["path"]) as app, support.process(
                *command, cwd=app, env=environment, stderr=subprocess.DEVNULL):
            for key in ["health-check-http-endpoint", "readiness-health-check-http-endpoint"]:
                support.eventually(
                    lambda path=APP[key]: support.get(f"http://127.0.0.1:{port}{path}")[0] == 200, what=APP[key])


if __name__ == "__main__":
    unittest.main()
