"""Wrong values are refused, with the name of the value and what to change."""

import copy
import json
import re
import unittest

import helm_python
import yaml

from helm.chart import CHART, load, render
from helm.config_schema import definition, documented_keys, dump, keys_of, with_required
from helm.old_charts import OLD_CHARTS
from helm.secrets_outside import BCRYPT, certificate
from helm.test_rendering import validate
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
            "serviceMonitor": {"interval": "30"}, "scrapeConfig": {"mode": "both"}, "extraArgs": "--a", "broker": {"password": 5},
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

    def test_null_is_an_empty_value_or_refused_with_its_name(self):
        everything = {key: {"enabled": True} for key in ["serviceMonitor", "prometheusRule", "dashboards", "networkPolicy", "scrapeConfig"]}
        everything |= {
            "broker": {"username": "cc", "password": "its long password"}, "probe": {"enabled": True, "prober": "h:1"},
            "tls": {"existingSecret": "s"}, "ingress": {"enabled": True, "hosts": [{"host": "h"}]}, "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]},
        }
        postgres = POSTGRES | {"replicaCount": 2}
        paths = set(value_paths(load().values, SCHEMA))
        paths |= {path.rsplit(".", depth)[0] for path in paths for depth in range(1, path.count(".") + 1)}
        for path in sorted(path for path in paths if path != "enabled"):
            for base in [everything] if path.split(".")[0] in everything else [everything, postgres]:
                values = copy.deepcopy(base)
                *sections, last = path.split(".")
                section = values
                for name in sections:
                    section = section.setdefault(name, {})
                section[last] = None
                with self.subTest(path):
                    try:
                        for item in render(values):
                            validate(item)
                    except helm_python.HelmError as error:
                        self.assertRegex(str(error), rf"missing property '{last}'|missing properties .*'{last}'|\* [a-zA-Z.]*\b{last}\b")

    def test_the_schema_requires_the_values_that_templates_need(self):
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        self.assertEqual(with_required(SCHEMA, defaults), SCHEMA, "SCRAPEBROKER_UPDATE=1 writes the schema")

    def test_each_value_of_the_chart_is_in_the_schema_and_the_other_way_round(self):
        self.assertEqual(set(schema_paths(SCHEMA)), set(value_paths(load().values, SCHEMA)))


class Configuration(unittest.TestCase):
    def test_each_documented_key_is_accepted(self):
        if UPDATE:
            schema = SCHEMA | {"definitions": SCHEMA["definitions"] | {"config": definition(documented_keys())}}
            schema = with_required(schema, yaml.safe_load((CHART / "values.yaml").read_text()))
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

    def test_what_autoscaling_requires(self):
        scaled = {"autoscaling": {"enabled": True}}
        self.refused(scaled, "autoscaling.enabled: several pods cannot share one SQLite database; set database.type to postgresql")
        self.refused(POSTGRES | {"autoscaling": {"enabled": True, "minReplicas": 9}}, "autoscaling.minReplicas: 9 is more than autoscaling.maxReplicas")
        self.refused(POSTGRES | scaled | {"resources": {"requests": {"cpu": None}}}, "resources.requests.cpu: autoscaling.targetCPUUtilizationPercentage")
        render(POSTGRES | scaled)

    def test_what_postgresql_requires(self):
        postgres = {"type": "postgresql"}
        self.refused({"database": postgres}, "database.url: set the URL of the PostgreSQL")
        self.refused({"database": postgres | {"existingSecret": "s"}}, "broker.tokenKey: PostgreSQL requires a token key")
        self.refused({"database": postgres | {"url": "mysql://h/d"}}, "database.url: must begin with postgres:// or postgresql://")
        self.refused(POSTGRES | {"config": {"prometheus": {"provisioner": "process"}}}, "config.prometheus.provisioner")
        self.refused(POSTGRES | {"config": {"prometheus": {"provisioner": None}}}, "config.prometheus.provisioner")
        self.refused({"database": {"url": "postgres://u@h/d"}}, "database.type: set postgresql")
        self.refused({"config": {"database_url": "postgres://h/d"}}, "database.type: set postgresql")
        for name in ["SCRAPEBROKER__DATABASE_URL", "SCRAPEBROKER__DATABASE_URL_FILE"]:
            self.refused({"extraEnv": [reference(name)]}, "database.type: set postgresql")
        render(POSTGRES)

    def test_two_sources_of_a_secret(self):
        self.refused({"broker": {"existingSecret": "s", "username": "u"}}, "broker.existingSecret: set either this or")
        database = POSTGRES["database"] | {"existingSecret": "s"}
        self.refused(POSTGRES | {"database": database}, "database.url: set either this or database.existingSecret")
        login = {"username": "cc", "password": "its long password"}
        self.refused({"broker": login, "config": {"broker": {"username": "cc"}}},
                     "broker.username: is the same setting as config.broker.username; set one of them")
        self.refused({"broker": {"existingSecret": "s"}, "config": {"broker": {"password_file": "/p"}}},
                     "broker.existingSecret: is the same setting as config.broker.password_file")
        self.refused({"broker": login, "extraEnv": [reference("SCRAPEBROKER__BROKER__PASSWORD")]},
                     "broker.password: is the same setting as SCRAPEBROKER__BROKER__PASSWORD in extraEnv")
        self.refused(POSTGRES | {"extraEnv": [reference("SCRAPEBROKER__DATABASE_URL")]},
                     "database.url: is the same setting as SCRAPEBROKER__DATABASE_URL in extraEnv")

        for key in ["cert", "cert_file", "key_file"]:
            self.refused({"tls": {"existingSecret": "s"}, "config": {"tls": {key: "/f"}}}, f"tls.existingSecret: is the same setting as config.tls.{key};")
        tls = {"existingSecret": "s", "clientCertificates": True}
        self.refused({"tls": tls, "config": {"tls": {"client_ca_file": "/f"}}}, "tls.existingSecret: is the same setting as config.tls.client_ca_file;")
        render({"tls": {"existingSecret": "s"}, "config": {"tls": {"client_ca_file": "/f", "handshake_timeout": "5s"}}})

    def test_credentials_of_the_broker(self):
        self.refused({"broker": {"username": "cc"}}, "broker.password: is missing, but broker.username is set")
        self.refused({"broker": {"password": "its long password"}}, "broker.username: is missing, but broker.password is set")
        self.refused({"config": {"broker": {"username": "cc"}}}, "broker.password: is missing, but config.broker.username is set")
        self.refused({"extraEnv": [reference("SCRAPEBROKER__BROKER__PASSWORD")]}, "broker.username: is missing")
        self.refused({"broker": {"username": "c:c", "password": "its long password"}}, "broker.username: must not contain a colon")
        self.refused({"broker": {"username": "cc", "password": "12345678901"}}, "broker.password: must have at least 12 characters")
        for password in ["ä" * 12, "12345\n789012"]:
            render({"broker": {"username": "cc", "password": password}})

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
        both = {"basicAuth": {"username": {"name": "a", "key": "b"}}, "authorization": {"type": "Bearer"}}
        events = {"config": {"events": {"listen": ":8090"}}, "serviceMonitor": {"enabled": True, "events": {"enabled": True} | both}}
        self.refused({"serviceMonitor": {"enabled": True} | both}, "serviceMonitor.authorization: set either this or serviceMonitor.basicAuth")
        self.refused(events, "serviceMonitor.events.authorization: set either this or serviceMonitor.events.basicAuth")
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

    def test_ports_of_a_route_that_the_service_does_not_have(self):
        def route(name, port, config=None):
            rules = [{"backendRefs": [{"name": name, "port": port}]}]
            return {"config": config or {}, "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}], "rules": rules}}

        for port in [9090, 8090, 8080]:
            self.refused(route("metrics-scrapebroker", port), f"httpRoute.rules: the Service has no port {port}; set a port of service")
            render(route("another-service", port))
        render(route("metrics-scrapebroker", 8085))
        render(route("metrics-scrapebroker", 8090, {"events": {"listen": "0.0.0.0:8090"}}))

    def test_routes_of_http(self):
        self.refused({"ingress": {"enabled": True}}, "ingress.hosts: name at least one host")
        self.refused({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs: name at least one Gateway")
        hosts = [{"host": "a", "paths": [{"port": "query"}]}]
        self.refused({"ingress": {"enabled": True, "hosts": hosts}}, "ingress.hosts[0]: the port query requires config.query.listen")


class RefusedLater(unittest.TestCase):
    """Values that the API server or the program would refuse later, or that would have no effect."""

    CASES = [
        ({"config": {"listen": 8085}}, "at '/config/listen'", "got number"),
        ({"config": {"listen": "8085"}}, "config.listen: 8085 has no port"),
        ({"config": {"listen": [8085]}}, "at '/config/listen/0'", "got number"),
        ({"config": {"health_listen": 8086}}, "at '/config/health_listen'", "got number"),
        ({"config": {"events": {"listen": ["0.0.0.0:8090"]}}}, "at '/config/events/listen'", "got array"),
        ({"config": {"query": {"listen": {"port": 1}}}}, "at '/config/query/listen'", "got object"),
        ({"config": {"prometheus": {"provisioner": ["none"]}}}, "at '/config/prometheus/provisioner'", "got array"),
        ({"config": {"telemetry": {"path": "metrics"}}}, "at '/config/telemetry/path'", "does not match"),
        ({"config": {"base_url": "metrics.example.com"}}, "config.base_url: must be a URL like https://"),
        ({"config": {"base_url": "https://h:x y/"}}, "config.base_url: must be a URL like https://"),
        ({"config": {"query": {"listen": ":9090"}}, "service": {"port": 9090}}, "service.queryPort: 9090 is the port of service.port, too"),
        ({"config": {"events": {"listen": ":8090"}}, "service": {"eventsPort": 8085}}, "service.eventsPort: 8085 is the port of service.port"),
        ({"config": {"health_listen": ":8085"}}, "config.listen: 8085 is the port of config.health_listen, too"),
        ({"config": {"listen": [":1", ":8086"]}}, "config.listen: 8086 is the port of config.health_listen, too"),
        ({"existingSecrets": [{"name": "a", "path": "x"}, {"name": "b", "path": "x"}]}, "existingSecrets: the path x is used twice"),
        ({"existingSecrets": [{"name": "x"}, {"name": "b", "path": "x"}]}, "existingSecrets: the path x is used twice"),
        ({"existingSecrets": [{"name": "tls"}]}, "existingSecrets: the path tls is used by the chart"),
        ({"existingSecrets": [{"name": "a", "path": ".."}]}, "at '/existingSecrets/0/path'", "does not match"),
        ({"existingSecrets": [{"name": "a", "path": "."}]}, "at '/existingSecrets/0/path'", "does not match"),
        ({"files": {"..": "x"}}, "'..' does not match"),
        ({"secretFiles": {"..data": "x"}}, "'..data' does not match"),
        ({"files": {"scrapebroker.yml": "x"}}, "files: scrapebroker.yml is the configuration; use config"),
        ({"service": {"spec": {"type": "NodePort"}}}, "service.spec: the chart sets type; use service.type"),
        ({"service": {"spec": {"selector": {}}}}, "service.spec: the chart sets selector"),
        ({"service": {"nodePort": 30000}}, "service.nodePort: requires the type NodePort or LoadBalancer"),
        ({"podAnnotations": {"checksum/config": "x"}}, "podAnnotations: the chart sets checksum/config"),
        ({"fullnameOverride": "My_App"}, "at '/fullnameOverride'", "does not match"),
        ({"fullnameOverride": "1app"}, "at '/fullnameOverride'", "does not match"),
        ({"fullnameOverride": "my.app"}, "at '/fullnameOverride'", "does not match"),
        ({"nameOverride": "My_App"}, "at '/nameOverride'", "does not match"),
        ({"updateStrategy": {"type": "Recreate"}}, "updateStrategy.type: set RollingUpdate or OnDelete with database.type sqlite"),
        (POSTGRES | {"updateStrategy": {"type": "OnDelete"}}, "updateStrategy.type: set RollingUpdate or Recreate with database.type postgresql"),
        ({"updateStrategy": {"kind": "Recreate"}}, "at '/updateStrategy'", "'kind' not allowed"),
        ({"podDisruptionBudget": {"maxUnavailable": "banana"}}, "at '/podDisruptionBudget/maxUnavailable'", "does not match"),
        ({"podDisruptionBudget": {"minAvailable": -1}}, "at '/podDisruptionBudget/minAvailable'", "minimum"),
        ({"podDisruptionBudget": {"maxUnavailable": None}}, "podDisruptionBudget.maxUnavailable: set this or minAvailable"),
        ({"prometheusRule": {"disabledAlerts": ["ScrapebrokerDwn"]}},
         "prometheusRule.disabledAlerts: there is no alert ScrapebrokerDwn; the alerts are PromfetcherNoRouteScrape, ScrapebrokerAbsent, "),
        ({"config": {"telemetry": {"namespace": "sb"}}, "prometheusRule": {"enabled": True}}, "config.telemetry.namespace: with another namespace"),
        ({"config": {"telemetry": {"namespace": "sb"}}, "dashboards": {"enabled": True}}, "config.telemetry.namespace: with another namespace"),
        ({"extraArgs": ["--metric.namespace=sb"], "dashboards": {"enabled": True}}, "extraArgs: with another namespace"),
        ({"extraEnv": [{"name": "SCRAPEBROKER__TELEMETRY__NAMESPACE", "value": "sb"}], "dashboards": {"enabled": True}}, "extraEnv: with another"),
        ({"extraEnv": [{"name": "A", "value": 1}]}, "at '/extraEnv/0/value'", "got number"),
    ]

    def test_each_is_refused_with_its_name(self):
        for values, *parts in self.CASES:
            with self.subTest(values), self.assertRaises(helm_python.HelmError) as caught:
                render(values)
            for part in parts:
                self.assertIn(part, str(caught.exception))
            self.assertNotIn("error calling", str(caught.exception), values)

    def test_what_is_like_them_and_right_is_accepted(self):
        for values in [
            {"config": {"listen": "0.0.0.0:8085,[::]:8085", "events": {"listen": None}}}, {"service": {"port": 9090}},
            {"files": {".hidden": "x", "a..b": "x"}}, {"service": {"type": "NodePort", "nodePort": 30000}},
            {"podDisruptionBudget": {"maxUnavailable": "25%"}}, {"podDisruptionBudget": {"maxUnavailable": None, "minAvailable": 1}},
            {"updateStrategy": {"type": "OnDelete"}}, POSTGRES | {"updateStrategy": {"type": "Recreate"}},
            {"config": {"telemetry": {"namespace": "sb"}}}, {"prometheusRule": {"enabled": True, "disabledAlerts": ["PromfetcherNoRouteScrape"]}},
            {"existingSecrets": [{"name": "a"}, {"name": "a", "path": "b"}]}, {"config": {"base_url": "https://[::1]:8085/path"}},
        ]:
            with self.subTest(values):
                render(values)


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
            path = "config." + key.replace("[]", "[0]")
            if key == "database_url":
                for url in ["postgres://user:password@host/db", "postgres:/user:p/w@host/db", "postgres://host/db?password=secret"]:
                    self.refused(nested(key, url), path)
            else:
                for secret in ["a secret", 123456, ["a secret"], {"a": "secret"}]:
                    with self.subTest(key, secret=secret):
                        self.refused(nested(key, secret), path)

    def test_secrets_in_urls_headers_and_remote_writes_are_refused(self):
        self.refused({"routes": {"nats": {"servers": ["nats://u:p@h:4222"]}}}, "config.routes.nats.servers[0]")
        write = {"url": "https://h/w", "headers": {"Authorization": "Basic abc"}}
        self.refused({"prometheus": {"remote_writes": {"a": write}}}, "config.prometheus.remote_writes.a.headers.Authorization")
        write = {"url": "https://h/w", "username": "u", "password": "p"}
        self.refused({"prometheus": {"remote_writes": {"token": write}}}, "config.prometheus.remote_writes.token.password")

    def test_private_keys_and_hashes_of_passwords_are_refused_in_files(self):
        for text in [certificate()[1], f"basic_auth_users: {{ann: {BCRYPT}}}"]:
            with self.assertRaises(helm_python.HelmError) as caught:
                render({"files": {"web.yml": text}})
            self.assertIn("* files.web.yml: a private key or the hash of a password", str(caught.exception))
        render({"files": {"ca.pem": certificate()[0], "web.yml": "basic_auth_users: {}"}, "secretFiles": {"key": certificate()[1]}})

    def test_what_is_no_secret_is_accepted(self):
        config = {
            "tls": {"cert_file": "/c", "key_file": "/k"}, "broker": {"username": "cc", "password_file": "/p", "token_key": None},
            "prometheus": {"remote_writes": {"key": {"url": "https://h/w", "headers": {"X-Scope-OrgID": "platform"}}}},
            "routes": {"nats": {"servers": ["nats://h:4222"]}},
            "external_exporters": [{"host": "h", "params": {"a@b": ["x://y"], "token": "no secret of this program"}}],
        }
        render({"config": config})
        render(POSTGRES | {"database": {"type": "postgresql"}, "config": {"database_url": "postgres://user@host:5432/db?sslmode=verify-full"}})


class Variables(unittest.TestCase):
    def refused(self, variables, message, **values):
        with self.assertRaises(helm_python.HelmError) as caught:
            render({"extraEnv": variables} | values)
        self.assertIn(f"* extraEnv: {message}", str(caught.exception))

    def test_the_text_of_a_secret_is_refused(self):
        for key in secret_keys():
            if "[]" not in key:
                name = "SCRAPEBROKER__" + key.upper().replace(".", "__")
                value = "postgres://user:secret@host/db" if key == "database_url" else "a secret"
                with self.subTest(name):
                    self.refused([{"name": name, "value": value}], f"the value of {name} is a secret")
        for name, value in [("SCRAPEBROKER__BROKER", '{"username": "cc", "password": "a secret"}'), ("PGPASSWORD", "a secret"),
                            ("SCRAPEBROKER__ROUTES__GOROUTERS", '[{"url": "http://h", "username": "u", "password": "a secret"}]'),
                            ("SCRAPEBROKER__ROUTES__NATS__SERVERS", '["nats://u:p@h:4222"]'),
                            ("SCRAPEBROKER__DATABASE_URL", "postgres://$(PGUSER):secret@host/db")]:
            self.refused([{"name": name, "value": value}], f"the value of {name} is a secret")

    def test_references_to_variables_before_them_are_accepted(self):
        parts = [reference("PGUSER"), reference("PGPASSWORD")]
        url = {"name": "SCRAPEBROKER__DATABASE_URL", "value": "postgres://$(PGUSER):$(PGPASSWORD)@host/db"}
        values = {"database": {"type": "postgresql"}, "broker": {"tokenKey": "a long random text"}}
        render({"extraEnv": [*parts, url]} | values)
        self.refused([url, *parts], "SCRAPEBROKER__DATABASE_URL refers to $(PGUSER), which must be a variable before it in the list", **values)
        self.refused([url], "SCRAPEBROKER__DATABASE_URL refers to $(PGPASSWORD)", **values)
        render({"extraEnv": [url], "extraEnvFrom": [{"secretRef": {"name": "s"}}]} | values)
        render({"extraEnv": [{"name": "SCRAPEBROKER__TELEMETRY__PATH", "value": "/$$(PATH)"}]})

    def test_each_variable_is_set_once(self):
        self.refused([reference("A"), reference("A")], "A is given twice")
        self.refused([{"name": "SCRAPEBROKER_CONFIG", "value": "/f"}], "the chart sets SCRAPEBROKER_CONFIG; use config")

    def test_variables_are_as_good_as_values(self):
        names = ["SCRAPEBROKER__DATABASE_URL", "SCRAPEBROKER__BROKER__TOKEN_KEY", "SCRAPEBROKER__BROKER__USERNAME", "SCRAPEBROKER__BROKER__PASSWORD"]
        postgres = {"database": {"type": "postgresql"}}
        sets = {
            "variables": {"extraEnv": [reference(name) for name in names]},
            "files": {"extraEnv": [{"name": f"{name}_FILE", "value": "/f"} for name in names]},
            "a section": {"extraEnv": [reference("SCRAPEBROKER__DATABASE_URL"), reference("SCRAPEBROKER__BROKER")]},
            "a whole Secret": {"extraEnvFrom": [{"secretRef": {"name": "s"}}]},
        }
        for name, values in sets.items():
            with self.subTest(name):
                self.assertNotIn("The broker has no credentials", render(values | postgres).notes)
        self.assertIn("The broker has no credentials", render({}).notes)
        self.assertIn("No source of routes", render({}).notes)
        self.assertNotIn("No source of routes", render({"extraEnv": [{"name": "SCRAPEBROKER__ROUTES__FILE", "value": "/f"}]}).notes)


class Messages(unittest.TestCase):
    """No refusal, of the schema or of a template, contains a secret."""

    TEXT, NUMBER = "n0t2show", 918273645
    WRONG = [TEXT, f"{TEXT}://{TEXT}:{TEXT}@{TEXT}", f"postgres://u:{TEXT}@h/d", f"-----BEGIN PRIVATE KEY-----{TEXT}", f"{TEXT}\n{TEXT}", [TEXT],
             [{"name": TEXT}], {"name": TEXT}, NUMBER, [NUMBER], NUMBER / 1000]

    def places(self):
        """Secret values, and what contains them: functions of a wrong value."""
        paths = ["broker", "broker.username", "broker.password", "broker.tokenKey", "database", "database.url", "secretFiles", "secretFiles.a",
                 "files", "files.a", "config", "serviceMonitor.basicAuth", "serviceMonitor.basicAuth.password", "serviceMonitor.authorization.credentials",
                 "serviceMonitor.events.basicAuth.password", "scrapeConfig.basicAuth.password", "scrapeConfig.authorization.credentials",
                 "imagePullSecrets", "imagePullSecrets[]", "existingSecrets", "existingSecrets[]", "extraEnv", "extraEnv[]", "extraEnv[].value"]
        for key in secret_keys():
            parts = key.split(".")
            paths += ["config." + ".".join(parts[:depth + 1]) for depth in range(len(parts))]
        for path in sorted(set(paths)):
            yield path, lambda value, path=path: nested(path, value)
        for key in secret_keys():
            name = "SCRAPEBROKER__" + key.upper().replace(".", "__")
            yield name, lambda value, name=name: {"extraEnv": [{"name": name, "value": value}]}

    def test_no_message_contains_a_secret(self):
        refused = 0
        for place, values in self.places():
            for wrong in self.WRONG:
                given = values(wrong)
                if "database" in place.lower() and isinstance(given.get("database", {}), dict):
                    given = given | {"database": given.get("database", {}) | {"type": "postgresql"}}
                try:
                    objects = render(given)
                except helm_python.HelmError as error:
                    refused += 1
                    for secret in [self.TEXT, "91827364", "918273.6"]:
                        self.assertNotIn(secret, str(error), (place, wrong))
                else:
                    self.assertNotIn(self.TEXT, objects.notes, (place, wrong))
        self.assertGreater(refused, 500)


def reference(name):
    """A variable from a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


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
