"""docs/install/tsuru.md and deploy/tsuru: the commands as written, and the app that they start."""

import base64
import shlex
import subprocess
import tempfile
import unittest

import support
import yaml

from platforms import walkthrough


class Tsuru(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="tsuru-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.page = walkthrough.Walkthrough(
            cls.folder.name, "install/tsuru.md", ["tsuru"], {}, {"TSURU_API_TOKEN": "a-token"})
        (call,) = cls.page.called("env-set")
        cls.variables = dict(a.split("=", 1) for a in call["arguments"] if a.startswith("SCRAPEBROKER__"))
        cls.private = "-p" in call["arguments"]

    def test_the_app_is_created_configured_and_deployed_in_this_order(self):
        positions = [self.page.position(name) for name in ("app-create", "env-set", "app-deploy", "service-create")]
        self.assertEqual(sorted(positions), positions)
        self.assertTrue(self.private)
        (call,) = self.page.called("app-deploy")
        self.assertEqual(["app-deploy", "-a", "scrapebroker", "."], call["arguments"])
        self.assertEqual(str(self.page.work / "target/tsuru"), call["folder"])

    def test_the_token_gets_the_permissions_of_the_documentation(self):
        (call,) = self.page.called("role-permission-add")
        self.assertEqual(["app.read", "service-instance.read"], call["arguments"][2:])
        self.assertEqual(["role-assign", "scrapebroker", "scrapebroker"], self.page.called("role-assign")[0]["arguments"])

    def test_the_deployed_folder_contains_the_program_and_the_files_of_tsuru(self):
        names = sorted(path.name for path in (self.page.work / "target/tsuru").iterdir())
        self.assertEqual(["Procfile", "scrapebroker", "tsuru.yml"], names)

    def test_the_program_accepts_the_settings(self):
        environment = walkthrough.clean_environment(**self.variables, PORT="8888", TSURU_APPNAME="scrapebroker")
        shown = yaml.safe_load(support.run(support.PROGRAM, "check-config", env=environment))
        self.assertEqual("https://scrapebroker.example.com", shown["base_url"])
        self.assertEqual("[::]:8888", shown["listen"])
        self.assertEqual("https://tsuru.example.com", shown["routes"]["tsuru"]["api_url"])
        self.assertEqual("none", shown["prometheus"]["provisioner"])
        # The route may be reachable from everywhere.
        self.assertEqual("token", shown["scrape"]["access"])

    def test_the_app_is_ready_and_accepts_the_registered_password(self):
        folder = self.page.work / "target/tsuru"
        port = support.free_port()
        changed = {"SCRAPEBROKER__ROUTES__TSURU__API_URL": f"http://127.0.0.1:{support.free_port()}"}
        variables = {name: value for name, value in self.variables.items() if name != "SCRAPEBROKER__DATABASE_URL"}
        environment = walkthrough.clean_environment(
            **{**variables, **changed}, PORT=str(port), TSURU_APPNAME="scrapebroker")
        command = shlex.split((folder / "Procfile").read_text().removeprefix("web:"))
        check = yaml.safe_load((folder / "tsuru.yml").read_text())["healthcheck"]["path"]
        (call,) = self.page.called("service-create")
        manifest = yaml.safe_load(call["files"]["metrics.yaml"])
        service = manifest["endpoint"]["production"]
        self.assertEqual(f"{self.variables['SCRAPEBROKER__BASE_URL']}/tsuru/{manifest['id']}", service)
        login = base64.b64encode(f"{manifest['username']}:{manifest['password']}".encode()).decode()
        path = service.removeprefix(self.variables["SCRAPEBROKER__BASE_URL"])
        with walkthrough.container(folder) as app, support.process(
                *command, cwd=app, env=environment, stderr=subprocess.DEVNULL):
            support.eventually(lambda: support.get(f"http://127.0.0.1:{port}{check}")[0] == 200, what="ready")
            url = f"http://127.0.0.1:{port}{path}/resources/plans"
            self.assertEqual(200, support.get(url, headers={"Authorization": f"Basic {login}"})[0])
            self.assertEqual(401, support.get(url)[0])

    def test_the_password_does_not_stay_in_a_file(self):
        self.assertFalse((self.page.work / "metrics.yaml").exists())


if __name__ == "__main__":
    unittest.main()
