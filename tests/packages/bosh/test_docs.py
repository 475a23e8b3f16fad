"""docs/install/bosh.md: its commands and tables."""

import re
import unittest

import support

from bosh import opsfile, release, test_operations

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


def properties_in(text):
    """Returns the properties that a text names, `.name` after another property included."""
    found = []
    for name in re.findall(r"`(scrapebroker\.[a-z_.]+|\.[a-z_.]+)`", text):
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
        self.assertEqual(6, len(rows) - len(mapped))

    def test_each_property_of_the_page_exists(self):
        names = properties_in(PAGE)
        self.assertGreater(len(names), 60)
        self.assertEqual([], sorted({n for n in names if n not in release.SPEC["properties"]}))

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

    def test_the_page_names_all_ops_files(self):
        named = set(re.findall(r"operations/([a-z-]+\.yml)\)", PAGE))
        self.assertEqual({path.name for path in test_operations.OPERATIONS.iterdir()}, named)


if __name__ == "__main__":
    unittest.main()
