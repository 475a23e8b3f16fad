"""The ops files: applied to a stand-in for cf-deployment, and the manifest that results."""

import functools
import pathlib
import re
import secrets
import tempfile
import unittest
import urllib.parse

import certificates
import support
import yaml

from bosh import opsfile, release

HERE = pathlib.Path(__file__).parent
OPERATIONS = release.RELEASE / "operations"
MANIFEST = yaml.safe_load((HERE / "cf-deployment.yml").read_text())

# Values that an operator gives with `bosh deploy --var`.
OPERATOR = {
    "system_domain": "sys.example.com",
    "scrapebroker_database_host": "sql-db.service.cf.internal",
    "scrapebroker_database_port": 5524,
    "scrapebroker_database_password": "an external pass:word/with@signs?",
    "scrapebroker_operator_username": "ann",
    "scrapebroker_operator_password_bcrypt": "$2y$10$bwLzfBQd41SbKrw4Xb7F/ePOYfMyvayo5EWdTf9cgW8..QLaNhW62",
}

# Ops files that are used together, in this order.
SETS = {
    "routers": ["routers.yml"],
    "routers with everything": [
        "routers.yml", "routers-route.yml", "routers-operator.yml", "cf-postgres-database.yml",
        "register-broker.yml"],
    "instance group": ["instance-group.yml"],
    "instance group with everything": [
        "instance-group.yml", "instance-group-route.yml", "instance-group-operator.yml",
        "instance-group-postgres.yml", "cf-postgres-database.yml", "register-broker.yml"],
    "instance group with external PostgreSQL": ["instance-group.yml", "instance-group-postgres.yml"],
}


def operations(name):
    return yaml.safe_load((OPERATIONS / name).read_text())


def manifest(names):
    """Returns the manifest to which ops files were applied."""
    document = MANIFEST
    if "cf-postgres-database.yml" in names:
        document = opsfile.apply(document, yaml.safe_load((HERE / "cf-use-postgres.yml").read_text()))
    for name in names:
        document = opsfile.apply(document, operations(name))
    return document


def named(items, name):
    (found,) = [item for item in items if item["name"] == name]
    return found


class Variables:
    """Values of variables: those of the operator, and generated ones like those of CredHub."""

    def __init__(self, document):
        self.definitions = {item["name"]: item for item in document["variables"]}

    @functools.cache
    def value(self, name):
        """Returns the text of a password, or the parts of a certificate."""
        definition = self.definitions.get(name)
        if definition is None:
            return OPERATOR[name]
        if definition["type"] == "password":
            return secrets.token_urlsafe(32)
        if definition["type"] != "certificate":
            raise AssertionError(f"{name}: type {definition['type']}")
        options = opsfile.interpolate(definition["options"], self)
        if options.get("is_ca"):
            authority = certificates.Authority(options["common_name"])
            issuer = self.value(options["ca"])["authority"] if "ca" in options else authority
            parts = {"authority": authority, "certificate": authority.certificate, "private_key": authority.key}
        else:
            issuer = self.value(options["ca"])["authority"]
            usage = ",".join({"server_auth": "serverAuth", "client_auth": "clientAuth"}[u]
                             for u in options["extended_key_usage"])
            certificate, key = issuer.sign(options["common_name"], tuple(options["alternative_names"]), usage)
            parts = {"certificate": certificate, "private_key": key}
        return {**parts, "ca": issuer.certificate}

    def __call__(self, path):
        name, *fields = path.split(".")
        value = self.value(name)
        for field in fields:
            value = value[field]
        if isinstance(value, dict):
            raise AssertionError(f"(({path})) is a certificate; use one of its parts")
        return value


class Result:
    """A manifest, its variables, and the parts that the tests look at."""

    def __init__(self, names):
        self.raw = manifest(names)
        self.lookup = Variables(self.raw)
        self.document = opsfile.interpolate(
            {key: value for key, value in self.raw.items() if key != "variables"}, self.lookup)
        groups = self.document["instance_groups"]
        (self.group,) = [g for g in groups if any(job["name"] == "scrapebroker" for job in g["jobs"])]
        self.job = named(self.group["jobs"], "scrapebroker")
        self.properties = self.job["properties"]["scrapebroker"]

    @functools.cached_property
    def files(self):
        """The files of the job, rendered with the properties of the manifest."""
        return release.render(self.properties, self.links())

    def links(self):
        """Returns the links that the director would resolve: nats-tls is the only provider of its type."""
        nats = named(named(self.document["instance_groups"], "nats")["jobs"], "nats-tls")["properties"]["nats"]
        shared = {
            "user": nats["user"], "password": nats["password"], "hostname": nats["hostname"],
            # The default of the job nats-tls.
            "port": nats.get("port", 4224), "external": {"tls": {"ca": nats["external"]["tls"]["ca"]}},
        }
        return {"nats-tls": {"properties": {"nats": shared}, "instances": [{"address": "10.0.0.4"}]}}


class OpsPaths(unittest.TestCase):
    DOCUMENT = {"a": {"b": [{"name": "x", "v": 1}, {"name": "y"}]}}

    def apply(self, kind, path, value=None):
        operation = {"type": kind, "path": path, "value": value}
        return opsfile.apply(self.DOCUMENT, [operation])["a"]

    def test_paths_address_maps_and_lists(self):
        self.assertEqual(2, self.apply("replace", "/a/b/name=x/v", 2)["b"][0]["v"])
        self.assertEqual({"new": 1}, self.apply("replace", "/a/b/-", {"new": 1})["b"][2])
        self.assertEqual(3, self.apply("replace", "/a/c?/d/e", 3)["c"]["d"]["e"])
        self.assertEqual([4], self.apply("replace", "/a/c?/-", 4)["c"])
        self.assertEqual({"name": "z", "v": 5}, self.apply("replace", "/a/b/name=z?/v", 5)["b"][2])
        self.assertEqual([{"name": "y"}], self.apply("remove", "/a/b/0")["b"])
        self.assertEqual(self.DOCUMENT["a"], self.apply("remove", "/a/c?"))

    def test_a_path_that_does_not_exist_fails(self):
        for kind, path in [
            ("replace", "/a/c"), ("replace", "/a/b/name=z/v"), ("remove", "/a/c"), ("remove", "/a/b/name=z"),
            ("replace", "/a/b/c"), ("replace", "/a/name=x"), ("replace", "/a/b/name=x/v/w"), ("replace", "/a/-"),
        ]:
            with self.subTest(path), self.assertRaises(opsfile.OpsError):
                self.apply(kind, path, 1)


class Operations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.results = {name: Result(files) for name, files in SETS.items()}

    def test_each_file_is_used(self):
        self.assertEqual(
            {path.name for path in OPERATIONS.iterdir()}, {name for names in SETS.values() for name in names})

    def test_the_order_of_files_matters_only_as_they_say(self):
        for name in sorted({name for names in SETS.values() for name in names}):
            first = re.search(r"^# After (\S+\.yml):", (OPERATIONS / name).read_text(), re.MULTILINE)
            with self.subTest(name):
                if first or name == "cf-postgres-database.yml":
                    with self.assertRaises(opsfile.OpsError):
                        opsfile.apply(MANIFEST, operations(name))
                else:
                    opsfile.apply(MANIFEST, operations(name))

    def test_each_variable_is_defined_or_named_in_the_header(self):
        for name in sorted({name for names in SETS.values() for name in names}):
            text = (OPERATIONS / name).read_text()
            header = text[:text.index("\n-")]
            documented = set(re.findall(r"\b(?:system_domain|scrapebroker_[a-z_]+)\b", header.split("operator:")[1]))
            defined = {item["name"] for item in manifest(["routers.yml", name] if "routers-" in name else
                       ["instance-group.yml", name] if "group-" in name else [name])["variables"]}
            used = {path.split(".")[0] for path in opsfile.variables(operations(name))}
            with self.subTest(name):
                self.assertEqual(used - defined, documented)
                self.assertLessEqual(documented, set(OPERATOR))

    def test_names_of_variables_releases_jobs_and_groups_are_unique(self):
        for name, result in self.results.items():
            with self.subTest(name):
                for items in [result.raw["variables"], result.raw["releases"], result.raw["instance_groups"],
                              result.group["jobs"]]:
                    names = [item["name"] for item in items]
                    self.assertEqual(len(names), len(set(names)), names)

    def test_releases_and_stemcells_of_the_group_exist(self):
        for name, result in self.results.items():
            with self.subTest(name):
                releases = {item["name"] for item in result.document["releases"]}
                self.assertLessEqual({job["release"] for job in result.group["jobs"]}, releases)
                self.assertIn(result.group["stemcell"], [item["alias"] for item in result.document["stemcells"]])

    def test_the_program_accepts_the_configuration(self):
        for name, result in self.results.items():
            with self.subTest(name):
                effective = release.effective(result.properties, result.links())
                self.assertEqual("https://scrapebroker.sys.example.com", effective["base_url"])
                self.assertEqual("cloud-controller", effective["broker"]["username"])
                self.assertIsNotNone(effective["backends"]["cert_file"])

    def test_prometheus_finds_instances_that_are_not_ready(self):
        for name, result in self.results.items():
            with self.subTest(name):
                addon = named(named(result.document["addons"], "bosh-dns-aliases")["jobs"], "bosh-dns-aliases")
                aliases = {alias["domain"]: alias["targets"][0] for alias in addon["properties"]["aliases"]}
                ready, all_instances = (aliases[f"scrapebroker{kind}.service.cf.internal"] for kind in ("", "-all"))
                self.assertEqual({**ready, "query": "q-s4"}, all_instances)
                self.assertEqual(result.group["name"], ready["instance_group"])

    def test_routers_poll_the_gorouter_of_their_vm(self):
        result = self.results["routers"]
        gorouter = named(result.group["jobs"], "gorouter")["properties"]["router"]["status"]
        self.assertEqual(
            [{"url": "http://127.0.0.1:8082/routes", "username": gorouter["user"], "password": gorouter["password"]}],
            result.properties["routes"]["gorouters"])
        files = result.files
        self.assertNotIn("nats", yaml.safe_load(files["config/config.yml"])["routes"])

    def test_the_instance_group_uses_nats_with_mutual_tls(self):
        result = self.results["instance group"]
        files = result.files
        nats = yaml.safe_load(files["config/config.yml"])["routes"]["nats"]
        self.assertEqual(["tls://nats.service.cf.internal:4224"], nats["servers"])
        self.assertEqual(f"{result.lookup('nats_password')}\n", files["config/secrets/nats-password"])
        self.verify(files["config/certs/nats-ca.pem"], files["config/certs/nats.pem"], "sslclient")

    def test_cells_accept_the_client_certificate(self):
        for name, result in self.results.items():
            with self.subTest(name):
                cell = named(result.document["instance_groups"], "diego-cell")["jobs"][0]
                proxy = cell["properties"]["containers"]["proxy"]
                files = result.files
                certificate = files["config/certs/backends.pem"]
                self.verify("".join(proxy["trusted_ca_certificates"]), certificate, "sslclient")
                self.assertIn(proxy["verify_subject_alt_name"][0], self.names(certificate))
                self.assertEqual(f"{result.lookup('application_ca.certificate')}\n", files["config/certs/backends-ca.pem"])

    def test_several_instances_have_postgresql_and_one_has_a_disk(self):
        for name, result in self.results.items():
            with self.subTest(name):
                files = result.files
                url = urllib.parse.urlsplit(files["config/secrets/database-url"].strip())
                if result.group["instances"] == 1:
                    self.assertEqual(("sqlite", "10GB"), (url.scheme, result.group["persistent_disk_type"]))
                else:
                    self.assertEqual(("postgres", "sql-db.service.cf.internal", 5524),
                                     (url.scheme, url.hostname, url.port))
                    self.assertNotIn("persistent_disk_type", result.group)
                    self.assertEqual(result.lookup("scrapebroker_database_password"), urllib.parse.unquote(url.password))

    def test_the_database_of_cf_deployment_has_the_user_and_the_password(self):
        for name in ["routers with everything", "instance group with everything"]:
            result = self.results[name]
            database = named(named(result.document["instance_groups"], "database")["jobs"], "postgres")
            databases = database["properties"]["databases"]
            properties = result.properties["database"]
            self.assertEqual(properties["name"], named(databases["databases"], properties["name"])["name"])
            role = named(databases["roles"], properties["username"])
            self.assertEqual(properties["password"], role["password"])
            self.assertEqual(databases["port"], properties["port"])

    def test_the_route_reaches_a_ready_instance_with_tls(self):
        for name in ["routers with everything", "instance group with everything"]:
            result = self.results[name]
            registrar = named(result.group["jobs"], "route_registrar")["properties"]
            (route,) = registrar["route_registrar"]["routes"]
            files = result.files
            config = yaml.safe_load(files["config/config.yml"])
            self.assertEqual(config["base_url"], f"https://{route['uris'][0]}")
            self.assertEqual(config["listen"].rsplit(":", 1)[1], str(route["tls_port"]))
            self.assertIn(route["server_cert_domain_san"], self.names(files["config/certs/server.pem"]))
            router = named(named(result.document["instance_groups"], "router")["jobs"], "gorouter")
            trusted = "".join(router["properties"]["router"]["ca_certs"])
            self.verify(trusted, files["config/certs/server.pem"], "sslserver")
            script = route["health_check"]["script_path"].removeprefix("/var/vcap/jobs/scrapebroker/")
            self.assertIn(script, files)
            self.assertTrue(registrar["nats"]["tls"]["enabled"])
            self.assertEqual("token", config["scrape"]["access"])
            # An unready instance is unregistered before it stops accepting connections.
            seconds = [int(text.removesuffix("s")) for text in (route["registration_interval"], config["drain_wait"])]
            self.assertLess(seconds[0], seconds[1])

    def test_the_operator_is_configured(self):
        for name in ["routers with everything", "instance group with everything"]:
            (operator,) = self.results[name].properties["operators"]
            self.assertEqual(
                {"username": "ann", "password_bcrypt": OPERATOR["scrapebroker_operator_password_bcrypt"]}, operator)

    def test_the_errand_has_the_cf_cli_and_the_credentials(self):
        for name in ["routers with everything", "instance group with everything"]:
            result = self.results[name]
            group = named(result.document["instance_groups"], "register-broker")
            self.assertEqual("errand", group["lifecycle"])
            self.assertEqual(["register-broker", "cf-cli-8-linux"], [job["name"] for job in group["jobs"]])
            releases = {item["name"] for item in result.document["releases"]}
            self.assertLessEqual({job["release"] for job in group["jobs"]}, releases)
            link = {"instances": [], "properties": {"scrapebroker": result.properties}}
            files = release.render_job("register-broker", group["jobs"][0]["properties"], {"scrapebroker": link})
            self.assertIn("cf api https://api.sys.example.com\n", files["bin/run"])
            self.assertEqual(f"{result.lookup('cf_admin_password')}\n", files["config/cf-password"])
            self.assertEqual(f"{result.lookup('scrapebroker_broker_password')}\n", files["config/broker-password"])

    def verify(self, authority, certificate, purpose):
        with tempfile.TemporaryDirectory(prefix="bosh-verify-") as folder:
            folder = pathlib.Path(folder)
            (folder / "ca").write_text(authority)
            (folder / "cert").write_text(certificate)
            support.run("openssl", "verify", "-CAfile", folder / "ca", "-purpose", purpose, folder / "cert")

    def names(self, certificate):
        text = support.run("openssl", "x509", "-noout", "-ext", "subjectAltName", input=certificate)
        return re.findall(r"DNS:([^,\s]+)", text)


if __name__ == "__main__":
    unittest.main()
