"""Wrong values are refused, with the name of the value and what to change."""

import json
import re
import unittest

import helm_python

from helm.chart import CHART, load, render
from helm.config_schema import definition, documented_keys, dump, keys_of
from helm.old_charts import OLD_CHARTS
from support import ROOT, UPDATE

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
POSTGRES = {"database": {"type": "postgresql", "url": "postgres://u@h/d"}, "broker": {"tokenKey": "a long random text"}}


class BySchema(unittest.TestCase):
    def refused(self, values, *parts):
        with self.assertRaises(helm_python.HelmError) as caught:
            render(values)
        for part in parts:
            self.assertIn(part, str(caught.exception))

    def test_a_misspelt_key_is_named(self):
        self.refused({"replicaCont": 2}, "replicaCont")
        self.refused({"service": {"prot": 80}}, "/service", "prot")
        self.refused({"serviceMonitor": {"events": {"enable": True}}}, "/serviceMonitor/events", "enable")
        self.refused({"livenessProbe": {"path": "/x"}}, "/livenessProbe", "path")
        self.refused({"ingress": {"hosts": [{"hosts": "a"}]}}, "/ingress/hosts/0", "hosts")
        self.refused({"files": {"a/b": "text"}}, "a/b")
        self.refused({"existingSecrets": [{"secretName": "a"}]}, "/existingSecrets/0", "secretName")

    def test_a_wrong_value_is_named(self):
        wrong = {
            "replicaCount": "two", "image": {"pullPolicy": "Sometimes"}, "database": {"type": "mysql"}, "service": {"port": 0},
            "persistence": {"size": "big"}, "commonLabels": {"a": 1}, "config": "text",
            "serviceMonitor": {"interval": "30"}, "scrapeConfig": {"mode": "both"}, "extraArgs": "--a", "broker": {"password": "short"},
            "terminationGracePeriodSeconds": "30s",
        }
        for key, value in wrong.items():
            with self.subTest(key):
                self.refused({key: value}, f"/{key}")
                with self.assertRaises(helm_python.HelmValuesError):
                    load().validate_schema({key: value})

    def test_relabelings_of_the_old_charts_which_are_no_list_are_refused(self):
        self.refused({"serviceMonitor": {"metricRelabelings": {}}}, "/serviceMonitor/metricRelabelings")

    def test_values_of_the_old_charts_that_have_another_name_are_named(self):
        documented = {path.split(".")[0] for path in value_paths(load().values, SCHEMA)}
        for chart, keys in OLD_CHARTS.items():
            for key in {key.split(".")[0] for key in keys} - documented:
                with self.subTest(f"{chart}: {key}"):
                    self.refused({key: {}}, f"'{key}' not allowed")

    def test_each_value_of_the_chart_is_in_the_schema_and_the_other_way_round(self):
        self.assertEqual(set(schema_paths(SCHEMA)) - {"global"}, set(value_paths(load().values, SCHEMA)))


class Configuration(unittest.TestCase):
    def test_each_documented_key_is_accepted(self):
        if UPDATE:
            schema = SCHEMA | {"definitions": SCHEMA["definitions"] | {"config": definition(documented_keys())}}
            (CHART / "values.schema.json").write_text(dump(schema) + "\n")
            SCHEMA.update(schema)
        keys = documented_keys()
        self.assertGreater(len(keys), 150)
        self.assertLessEqual(set(keys), set(keys_of(SCHEMA["definitions"]["config"])), "SCRAPEBROKER_UPDATE=1 writes the keys")

    def test_a_misspelt_key_is_refused_with_its_section(self):
        pools = {"query": {"pools": [{"name": "a", "locators": [{"static": ["http://a"], "statc": []}]}]}}
        for config, section, key in [({"drain_wiat": "5s"}, "/config", "drain_wiat"), ({"log": {"levle": "info"}}, "/config/log", "levle"),
                                     (pools, "/config/query/pools/0/locators/0", "statc"), ({"tls": "yes"}, "/config/tls", "object")]:
            with self.assertRaises(helm_python.HelmError) as caught:
                render({"config": config})
            self.assertIn(f"at '{section}'", str(caught.exception))
            self.assertIn(key, str(caught.exception))

    def test_names_that_users_choose_are_accepted(self):
        write = {"url": "https://h/w", "headers": {"X-Scope-OrgID": "a"}}
        render({"config": {"prometheus": {"remote_writes": {"mimir": write}}, "external_exporters": [{"host": "h", "params": {"a": "b"}}]}})


class ByTemplates(unittest.TestCase):
    def refused(self, values, message):
        with self.assertRaises(helm_python.HelmError) as caught:
            render(values)
        self.assertIn(message, str(caught.exception))

    def test_several_pods_cannot_share_sqlite(self):
        self.refused({"replicaCount": 2}, "replicaCount: 2 pods cannot share one SQLite database; set database.type to postgresql")

    def test_all_mistakes_are_reported_at_once(self):
        values = {"replicaCount": 2, "probe": {"enabled": True}, "config": {"listen": "127.0.0.1:8085"}}
        for part in ["* replicaCount:", "* probe.prober:", "* config.listen: 127.0.0.1:8085 is not reachable"]:
            self.refused(values, part)

    def test_what_postgresql_requires(self):
        postgres = {"type": "postgresql"}
        self.refused({"database": postgres}, "database.url: set the URL of the PostgreSQL")
        self.refused({"database": postgres | {"existingSecret": "s"}}, "broker.tokenKey: PostgreSQL requires a token key")
        self.refused(POSTGRES | {"config": {"prometheus": {"provisioner": "process"}}}, "config.prometheus.provisioner")
        self.refused(POSTGRES | {"config": {"prometheus": {"provisioner": None}}}, "config.prometheus.provisioner")
        self.refused({"database": {"url": "postgres://u@h/d"}}, "database.type: set postgresql")
        self.refused({"config": {"database_url": "postgres://h/d"}}, "database.type: set postgresql")
        render(POSTGRES)

    def test_two_sources_of_a_secret(self):
        self.refused({"broker": {"existingSecret": "s", "username": "u"}}, "broker.existingSecret: set either this or")
        database = POSTGRES["database"] | {"existingSecret": "s"}
        self.refused(POSTGRES | {"database": database}, "database.url: set either this or database.existingSecret")

    def test_listeners(self):
        self.refused({"config": {"listen": "0.0.0.0"}}, "config.listen: 0.0.0.0 has no port")
        self.refused({"config": {"listen": ["0.0.0.0:1", "[::]"]}}, "config.listen: [::] has no port")
        self.refused({"config": {"events": {"listen": "0.0.0.0:0"}}}, "config.events.listen: 0.0.0.0:0 has no port")
        self.refused({"config": {"events": {"listen": "[::1]:8090"}}}, "config.events.listen: [::1]:8090 is not reachable")
        tls = {"existingSecret": "s", "clientCertificates": True}
        self.refused({"tls": tls, "config": {"health_listen": None}}, "config.health_listen: probes have no client certificate")
        self.refused({"tls": {"clientCertificates": True}}, "tls.clientCertificates: requires tls.existingSecret")

    def test_durations(self):
        self.refused({"config": {"drain_wait": "5"}}, "config.drain_wait: 5 is not a duration; write it like 30s")
        render({"config": {"drain_wait": "5 years"}, "terminationGracePeriodSeconds": 30})

    def test_monitoring(self):
        both = {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}
        self.refused(both, "podMonitor.enabled: set either this or serviceMonitor.enabled")
        self.refused({"serviceMonitor": {"events": {"enabled": True}}}, "serviceMonitor.events.enabled: requires config.events.listen")
        self.refused({"scrapeConfig": {"enabled": True}}, "scrapeConfig.basicAuth: /sd requires credentials")
        access = {"enabled": True, "basicAuth": {"username": {"name": "a", "key": "b"}}, "authorization": {"type": "Bearer"}}
        self.refused({"scrapeConfig": access}, "scrapeConfig.authorization: set either this or scrapeConfig.basicAuth")

    def test_monitors_without_a_client_certificate_that_is_required(self):
        monitors = {"serviceMonitor": {"enabled": True}, "scrapeConfig": {"enabled": True}, "probe": {"enabled": True, "prober": "b"}}
        required = [{"tls": {"existingSecret": "s", "clientCertificates": True}},
                    {"tls": {"existingSecret": "s"}, "config": {"tls": {"client_ca_file": "/ca"}}}]
        for values in required:
            values = values | {"broker": {"existingSecret": "b"}}
            for key, name in {"serviceMonitor": "tlsConfig", "scrapeConfig": "tlsConfig", "probe": "module"}.items():
                self.refused(values | monitors, f"* {key}.{name}: the listeners require a client certificate; set ")
            self.refused(values | {"podMonitor": {"enabled": True}}, "* serviceMonitor.tlsConfig: the listeners require a client certificate")
            certificate = {"tlsConfig": {"cert": {"secret": {"name": "c", "key": "c"}}, "keySecret": {"name": "c", "key": "k"}}}
            with_certificate = {key: monitor | certificate for key, monitor in monitors.items() if key != "probe"}
            render(values | with_certificate | {"probe": monitors["probe"] | {"module": "with_certificate"}})
            # The blackbox exporter then connects to the Ingress.
            render(values | with_certificate | {"probe": monitors["probe"], "ingress": {"enabled": True, "hosts": [{"host": "h"}]}})

    def test_the_scheme_of_the_listeners(self):
        message = "service.scheme: the chart does not read the web configuration file; set https if"
        self.refused({"config": {"web_config_file": "/etc/web.yml"}}, message)
        self.refused({"extraArgs": ["--web.config.file=/etc/web.yml"]}, message)
        render({"config": {"web_config_file": "/etc/web.yml"}, "service": {"scheme": "http"}})
        render({"extraArgs": ["--log.level=debug"]})
        for values in [{"tls": {"existingSecret": "s"}}, {"config": {"tls": {"cert_file": "/c"}}}]:
            self.refused(values | {"service": {"scheme": "http"}}, "service.scheme: the listeners have a certificate; set https")
            render(values | {"service": {"scheme": "https"}})

    def test_routes_of_http(self):
        self.refused({"ingress": {"enabled": True}}, "ingress.hosts: name at least one host")
        self.refused({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: name at least one Gateway")
        hosts = [{"host": "a", "paths": [{"port": "query"}]}]
        self.refused({"ingress": {"enabled": True, "hosts": hosts}}, "ingress.hosts[0]: the port query requires config.query.listen")

    def test_names_of_files(self):
        self.refused({"existingSecrets": [{"name": "tls"}]}, "existingSecrets: the path tls is used by the chart")
        self.refused({"files": {"scrapebroker.yml": "x"}}, "files: scrapebroker.yml is the configuration; use config")


class InlineSecrets(unittest.TestCase):
    def refused(self, config, path):
        with self.assertRaises(helm_python.HelmError) as caught:
            render({"config": config})
        self.assertIn(f"* {path}: a secret must not be in the ConfigMap", str(caught.exception))

    def test_each_secret_of_the_program_is_refused_in_the_configuration(self):
        keys = secret_keys()
        self.assertGreater(len(keys), 10)
        self.assertLessEqual({"broker.password", "query.pools[].basic_auth.password", "operators[].password_bcrypt", "tls.key"}, set(keys))
        for key in keys:
            with self.subTest(key):
                secret = "postgres://user:password@host/db" if key == "database_url" else "a secret"
                self.refused(nested(key, secret), "config." + key.replace("[]", "[0]"))

    def test_secrets_in_urls_headers_and_remote_writes_are_refused(self):
        self.refused({"routes": {"nats": {"servers": ["nats://u:p@h:4222"]}}}, "config.routes.nats.servers[0]")
        write = {"url": "https://h/w", "headers": {"Authorization": "Basic abc"}}
        self.refused({"prometheus": {"remote_writes": {"a": write}}}, "config.prometheus.remote_writes.a.headers.Authorization")
        write = {"url": "https://h/w", "username": "u", "password": "p"}
        self.refused({"prometheus": {"remote_writes": {"a": write}}}, "config.prometheus.remote_writes.a.password")

    def test_the_refusal_does_not_show_the_secret(self):
        with self.assertRaises(helm_python.HelmError) as caught:
            render({"config": {"broker": {"password": "not-to-be-shown"}}})
        self.assertNotIn("not-to-be-shown", str(caught.exception))

    def test_what_is_no_secret_is_accepted(self):
        config = {
            "tls": {"cert_file": "/c", "key_file": "/k"}, "broker": {"username": "cc", "password_file": "/p", "token_key": None},
            "prometheus": {"remote_writes": {"a": {"url": "https://h/w", "headers": {"X-Scope-OrgID": "platform"}}}},
            "routes": {"nats": {"servers": ["nats://h:4222"]}}, "external_exporters": [{"host": "h", "params": {"a@b": ["x://y"]}}],
        }
        render({"config": config})


def secret_keys():
    """The keys that docs/CONFIGURATION.md describes with a variant `_file`, except certificates and user names."""
    text = (ROOT / "docs/CONFIGURATION.md").read_text()
    keys = [key for key, file in re.findall(r"^\| `([^`]+)` \|.* Or `([^`]+)_file`", text, re.MULTILINE) if key == file]
    return [key for key in keys if not re.search(r"(^|\.)(ca|cert|client_ca|username)$", key)]


def nested(key, value):
    for part in reversed(key.split(".")):
        value = {part.removesuffix("[]"): [value] if part.endswith("[]") else value}
    return value


def schema_paths(schema, path=""):
    """Paths of the values that the schema knows. Objects of Kubernetes are one value."""
    for key, inner in schema["properties"].items():
        if "properties" in inner:
            yield from schema_paths(inner, f"{path}{key}.")
        else:
            yield f"{path}{key}"


def value_paths(values, schema, path=""):
    for key, value in values.items():
        inner = schema["properties"].get(key, {})
        if "properties" in inner:
            yield from value_paths(value, inner, f"{path}{key}.")
        else:
            yield f"{path}{key}"
