"""docs/install/bosh.md: its commands and tables."""

import pathlib
import re
import tarfile
import tempfile
import unittest

import certificates
import support

from bosh import opsfile, release, test_operations
from platforms import walkthrough

README = "../deploy/bosh/README.md"
PAGE = (support.ROOT / "docs/install/bosh.md").read_text()

# The properties of the job promfetcher in orange-cloudfoundry/promfetcher-release, and two of its ops files.
PROMFETCHER = """
    promfetcher.port promfetcher.health_check_port promfetcher.base_url promfetcher.broker.enable
    promfetcher.broker.username promfetcher.broker.password promfetcher.broker.service_id
    promfetcher.broker.plan_id promfetcher.skip_ssl_validation promfetcher.enable_ssl
    promfetcher.max_idle_connections promfetcher.disable_keep_alives promfetcher.idle_conn_timeout
    promfetcher.database.user promfetcher.database.password promfetcher.database.host
    promfetcher.database.name promfetcher.database.port promfetcher.database.cnx.max_open
    promfetcher.database.cnx.max_idle promfetcher.database.cnx.max_life promfetcher.log_level
    promfetcher.tls_pem.private_key promfetcher.tls_pem.cert_chain promfetcher.ca_certs
    promfetcher.backends.cert_chain promfetcher.backends.private_key promfetcher.backends.max_conns
    nats.user nats.password nats.port nats.machines nats.tls_enabled nats.ca_certs nats.cert_chain
    nats.private_key promfetcher.droplet_stale_threshold promfetcher.start_response_delay_interval
    promfetcher.external_exporters promfetcher.gorouter gorouter_dns
""".split()


# Names in the page that only look like properties.
OTHER_NAMES = {"scrapebroker.service.cf.internal", "scrapebroker.stderr.log"}

DECLARED = {name for spec in release.SPECS.values() for name in spec["properties"]}


def properties_in(text):
    """Returns the properties that a text names, `.name` after another property included."""
    found = []
    for name in re.findall(r"`((?:scrapebroker|register_broker)\.[a-z_.]+|\.[a-z_.]+)`", text):
        if name.startswith("."):
            parent = found[-1].rsplit(".", 1)[0]
            found.append(parent + name)
        elif name not in OTHER_NAMES:
            found.append(name)
    return found


def deploy_commands():
    return re.findall(r"^bosh -d cf deploy (?:.*\\\n)*.*$", PAGE, re.MULTILINE)


class Page(unittest.TestCase):
    def test_each_property_of_promfetcher_has_a_row(self):
        table = PAGE.split("| Property of promfetcher |")[1].split("\n\n")[0]
        rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
        self.assertEqual(sorted(PROMFETCHER), sorted(row[0].strip("`") for row in rows))
        mapped = [row[1].strip("`") for row in rows if row[1] != "–"]
        self.assertGreater(len(mapped), 30)
        self.assertEqual([], [name for name in mapped if name not in release.SPEC["properties"]])
        # A row without a counterpart is rare, and those with one differ from each other or say why.
        self.assertEqual(7, len(rows) - len(mapped))

    def test_each_property_of_the_page_exists(self):
        names = properties_in(PAGE)
        self.assertGreater(len(names), 60)
        self.assertEqual([], sorted(set(names) - DECLARED))

    def test_the_ops_files_of_each_command_fit_and_their_variables_are_given(self):
        self.assertEqual(4, len(deploy_commands()))
        for command in deploy_commands():
            files = re.findall(r'-o "\$SCRAPEBROKER"/deploy/bosh/operations/(\S+)', command)
            given = set(re.findall(r"--var ([a-z_]+)=", command))
            with self.subTest(files):
                document = test_operations.manifest(files)
                defined = {item["name"] for item in document["variables"]}
                used = {path.split(".")[0] for name in files for path in opsfile.variables(test_operations.operations(name))}
                self.assertEqual(used - defined, given)
                self.assertEqual("operations/use-postgres.yml" in command, "cf-postgres-database.yml" in files)

    def walk(self, folder, page, block):
        """Runs a block of a page with a small file as the program."""
        program = pathlib.Path(folder) / "program"
        program.write_text("program")
        program.chmod(0o755)
        return walkthrough.Walkthrough(folder, page, ["bosh"], {}, {}, only=[block], program=program)

    def test_the_commands_build_and_upload_a_release(self):
        create = next(block for block in walkthrough.blocks("install/bosh.md") if "bosh-release" in block)
        with tempfile.TemporaryDirectory(prefix="bosh-create-") as folder:
            page = self.walk(folder, "install/bosh.md", create)
            (uploaded,) = page.called("upload-release")
            with tarfile.open(page.work / uploaded["arguments"][1]) as tar:
                self.assertIn("./release.MF", tar.getnames())

    def test_the_commands_of_the_bosh_cli_use_a_complete_blob(self):
        create = next(block for block in walkthrough.blocks(README) if "create-release --force" in block)
        with tempfile.TemporaryDirectory(prefix="bosh-create-") as folder:
            page = self.walk(folder, README, create)
            (blob,) = page.called("add-blob")
            self.assertEqual(str(page.work / "deploy/bosh"), blob["folder"])
            self.assertEqual("scrapebroker/scrapebroker-linux-x86_64.tar.gz", blob["arguments"][2])
            with tarfile.open(page.work / "deploy/bosh" / blob["arguments"][1]) as tar:
                files = {name.rsplit("/", 1)[-1]: tar.getmember(name) for name in tar.getnames()}
            self.assertTrue(files["scrapebroker"].mode & 0o100)
            self.assertTrue(files["register.sh"].isfile())
            (uploaded,) = page.called("upload-release")
            (created,) = page.called("create-release")
            self.assertEqual(created["arguments"][-1], uploaded["arguments"][1])

    def test_prometheus_accepts_the_scrape_configuration(self):
        (block,) = re.findall(r"^```yaml\n(scrape_configs:.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        with tempfile.TemporaryDirectory(prefix="bosh-prometheus-") as folder:
            ca = pathlib.Path(folder) / "ca.pem"
            ca.write_text(certificates.Authority("internalCA").certificate)
            config = pathlib.Path(folder) / "prometheus.yml"
            config.write_text(block.replace("/etc/prometheus/service-cf-internal-ca.pem", str(ca)))
            support.run("promtool", "check", "config", config)

    def test_the_page_names_all_ops_files(self):
        named = set(re.findall(r"operations/([a-z-]+\.yml)\)", PAGE))
        self.assertEqual({path.name for path in test_operations.OPERATIONS.iterdir()}, named)


if __name__ == "__main__":
    unittest.main()
