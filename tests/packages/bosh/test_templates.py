"""The rendered configuration, for several sets of properties."""

import json
import unittest
import urllib.parse

import certificates
import yaml

from bosh import release

CONFIG = "/var/vcap/jobs/scrapebroker/config"

# Texts that break a file if they are written into it without quotes.
HOSTILE = [
    "\"double\" and 'single' quotes",
    "${HOME} $(id) `id` %{x} \\ \\n",
    "<%= 1 + 1 %> <% raise %> -%>",
    "key: value # comment",
    "- item",
    "[a, b]",
    "{a: &anchor b, c: *anchor}",
    "!ruby/object:Object {}",
    "--- |",
    " spaces at both ends ",
    "tab\tand line\nbreaks\n\n",
    "yes", "null", "~", "0123", "1e3", "0x1f", "0o17", ".inf", "2026-01-01", "=", "<<", "",
    "ünïcödé 日本 😀",
    "; rm -rf / #",
]

# Characters that YAML allows in escapes only.
CONTROL = "delete \u007f, next line \u0085, line separator \u2028, byte order mark \ufeff"

NATS_TLS = {
    "nats-tls": {
        "properties": {
            "nats": {
                "user": "nats", "password": "from the: link", "hostname": "nats.service.cf.internal", "port": 4224,
                "external": {"tls": {"ca": "CA of the link"}},
            }
        },
        "instances": [{"address": "10.0.0.4"}, {"address": "10.0.0.5"}],
    }
}


class Minimal(unittest.TestCase):
    def test_without_properties_sqlite_is_on_the_persistent_disk(self):
        files = release.render({})
        self.assertEqual(
            "sqlite:///var/vcap/store/scrapebroker/scrapebroker.db\n", files["config/secrets/database-url"]
        )
        effective = release.effective({})
        self.assertEqual("none", effective["prometheus"]["provisioner"])
        self.assertEqual("0.0.0.0:8086", effective["health_listen"])
        self.assertEqual([], effective["routes"]["nats"]["servers"])

    def test_the_process_gets_a_file_and_no_secret(self):
        secrets = {
            "broker": {"username": "u", "password": "secret-1 long enough", "token_key": "secret-2"},
            "routes": {"tsuru": {"api_url": "https://tsuru", "token": "secret-3"}},
            "database": {"host": "db", "password": "secret-4"},
        }
        files = release.render(secrets)
        process = yaml.safe_load(files["config/bpm.yml"])["processes"][0]
        self.assertEqual(["serve", "--config", f"{CONFIG}/config.yml"], process["args"])
        self.assertEqual({}, process["env"])
        containing = [path for path, text in files.items() if "secret-" in text]
        self.assertEqual(4, len(containing))
        self.assertTrue(all(path.startswith("config/secrets/") for path in containing), containing)


class Bpm(unittest.TestCase):
    def process(self, properties):
        return yaml.safe_load(release.render(properties)["config/bpm.yml"])["processes"][0]

    def test_limits_disks_and_volumes(self):
        volume = {"path": "/var/vcap/data/routes", "mount_only": True}
        outside = {"path": "/dev/shm", "writable": True}
        process = self.process({
            "env": {"SSL_CERT_DIR": "/etc/ssl/certs", "NUMBER": 1},
            "bpm": {"memory_limit": "2G", "open_files": 4096,
                    "additional_volumes": [volume], "unrestricted_volumes": [outside]},
        })
        self.assertEqual({"open_files": 4096, "memory": "2G"}, process["limits"])
        self.assertEqual({"SSL_CERT_DIR": "/etc/ssl/certs", "NUMBER": "1"}, process["env"])
        self.assertTrue(process["persistent_disk"] and process["ephemeral_disk"])
        self.assertEqual([volume], process["additional_volumes"])
        self.assertEqual({"unrestricted_volumes": [outside]}, process["unsafe"])

    def test_settings_are_no_variables_because_the_scripts_read_the_file_only(self):
        for name in ["SCRAPEBROKER__DRAIN_WAIT", "LISTEN_ADDRESS", "PORT"]:
            with self.subTest(name), self.assertRaisesRegex(release.RenderError, f"env contains settings.*: {name}"):
                self.process({"env": {"SSL_CERT_DIR": "/etc/ssl/certs", name: "1"}})

    def test_only_data_on_the_persistent_disk_requests_it(self):
        # BPM fails with "requested persistent disk does not exist" otherwise.
        postgres = {"host": "db", "password": "p"}
        cases = [
            ({}, True),
            ({"database": postgres}, False),
            ({"database_url": "postgres://u:p@db/x"}, False),
            ({"database_url": "sqlite:///var/vcap/store/scrapebroker/x.db"}, True),
            ({"database_url": "sqlite:///var/vcap/data/scrapebroker/x.db"}, False),
            ({"database": postgres, "prometheus": {"provisioner": "process"}}, True),
            ({"database": postgres, "prometheus": {"provisioner": "tsuru"}}, False),
            ({"database": postgres, "prometheus": {"provisioner": "process", "data_dir": "/var/vcap/data/x"}}, False),
        ]
        for (properties, needed), files in zip(cases, release.render_each([case[0] for case in cases])):
            with self.subTest(properties):
                (process,) = yaml.safe_load(files["config/bpm.yml"])["processes"]
                self.assertEqual(needed, process["persistent_disk"])
                self.assertEqual(needed, "mountpoint" in files["bin/pre-start"])

    def test_keys_and_types_are_those_of_bpm(self):
        # docs/config.md of bpm-release.
        types = {
            "name": str, "executable": str, "args": list, "env": dict, "workdir": str, "hooks": dict,
            "capabilities": list, "limits": dict, "ephemeral_disk": bool, "persistent_disk": bool,
            "additional_volumes": list, "unsafe": dict, "shutdown_signal": str,
        }
        limits = {"memory": str, "open_files": int, "processes": int, "core_file_size": int}
        for properties in [{}, all_properties()]:
            process = self.process(properties)
            for key, value in process.items():
                self.assertIsInstance(value, types[key], key)
            for key, value in process["limits"].items():
                self.assertIsInstance(value, limits[key], key)
            self.assertTrue(all(isinstance(text, str) for text in [*process["args"], *process["env"].values()]))

    def test_low_ports_need_a_capability_and_others_do_not(self):
        self.assertNotIn("capabilities", self.process({}))
        sets = [
            {"listen": "0.0.0.0:443"}, {"health_listen": ":80"}, {"query": {"listen": "[::]:443"}},
            {"events": {"listen": "0.0.0.0:1023"}}, {"listen": ["0.0.0.0:8085", "[::]:443"]},
            {"listen": "0.0.0.0:443, [::]:8085"},
        ]
        for properties, files in zip(sets, release.render_each(sets)):
            with self.subTest(properties):
                (process,) = yaml.safe_load(files["config/bpm.yml"])["processes"]
                self.assertEqual(["NET_BIND_SERVICE"], process["capabilities"])


class Gorouter(unittest.TestCase):
    def test_gorouters_and_the_client_certificate_for_instances(self):
        gorouter = {"url": "http://127.0.0.1:8082/routes", "username": "router-status", "password": "p"}
        properties = {"routes": {"gorouters": [gorouter]}, "backends": {"ca": "CA", "cert": "CERT", "key": "KEY"}}
        files = release.render(properties)
        config = yaml.safe_load(files["config/config.yml"])
        self.assertEqual([gorouter], config["routes"]["gorouters"])
        self.assertEqual(f"{CONFIG}/certs/backends.key", config["backends"]["key_file"])
        self.assertEqual("KEY\n", files["config/certs/backends.key"])
        self.assertEqual("CERT\n", files["config/certs/backends.pem"])
        self.assertEqual("CA\n", files["config/certs/backends-ca.pem"])


class Nats(unittest.TestCase):
    def nats(self, nats, links=None):
        files = release.render({"routes": {"nats": nats}}, links)
        return yaml.safe_load(files["config/config.yml"])["routes"].get("nats"), files

    def test_a_link_alone_does_not_enable_nats(self):
        self.assertIsNone(self.nats({}, NATS_TLS)[0])

    def test_mutual_tls_with_the_link(self):
        nats, files = self.nats({"enabled": True, "tls": {"cert": "CERT", "key": "KEY"}}, NATS_TLS)
        self.assertEqual(["tls://nats.service.cf.internal:4224"], nats["servers"])
        self.assertEqual("nats", nats["username"])
        self.assertEqual("from the: link\n", files["config/secrets/nats-password"])
        self.assertEqual("CA of the link\n", files["config/certs/nats-ca.pem"])
        self.assertEqual("CERT\n", files["config/certs/nats.pem"])
        self.assertEqual("KEY\n", files["config/certs/nats.key"])
        self.assertEqual(
            {"ca_file": f"{CONFIG}/certs/nats-ca.pem", "cert_file": f"{CONFIG}/certs/nats.pem",
             "key_file": f"{CONFIG}/certs/nats.key"},
            nats["tls"],
        )

    def test_without_a_host_name_the_addresses_of_the_link_are_used(self):
        properties = {"nats": {"user": "nats", "password": "p", "port": 4222}}
        instances = [{"address": "10.0.0.4"}, {"address": "fd00::4"}]
        nats, files = self.nats(
            {"enabled": True, "tls": {"enabled": False}},
            {"nats": {"properties": properties, "instances": instances}, **NATS_TLS},
        )
        self.assertEqual(["nats://10.0.0.4:4222", "nats://[fd00::4]:4222"], nats["servers"])
        self.assertNotIn("tls", nats)
        self.assertEqual("p\n", files["config/secrets/nats-password"])

    def test_properties_replace_those_of_the_link(self):
        nats, files = self.nats(
            {"servers": ["tls://10.9.9.9:4224"], "username": "me", "password": "mine", "tls": {"ca": "my CA"}},
            NATS_TLS,
        )
        self.assertEqual(["tls://10.9.9.9:4224"], nats["servers"])
        self.assertEqual("me", nats["username"])
        self.assertEqual("mine\n", files["config/secrets/nats-password"])
        self.assertEqual("my CA\n", files["config/certs/nats-ca.pem"])

    def test_nats_without_link_and_servers_is_refused(self):
        with self.assertRaisesRegex(release.RenderError, "needs the link nats-tls, or scrapebroker.routes.nats.servers"):
            self.nats({"enabled": True})


class Database(unittest.TestCase):
    def url(self, properties):
        return release.render(properties)["config/secrets/database-url"].removesuffix("\n")

    def test_postgresql_by_parts_with_any_password(self):
        texts = list(filter(None, HOSTILE))
        sets = [{"database": {"host": "db.internal", "password": t, "username": t, "name": t}} for t in texts]
        for text, files in zip(texts, release.render_each(sets)):
            with self.subTest(text):
                url = urllib.parse.urlsplit(files["config/secrets/database-url"].removesuffix("\n"))
                self.assertEqual(("db.internal", 5432), (url.hostname, url.port))
                self.assertEqual([text] * 3, [urllib.parse.unquote(part) for part in (
                    url.username, url.password, url.path.removeprefix("/"))])
                self.assertEqual("sslmode=prefer", url.query)

    def test_a_ca_means_verification(self):
        database = {"host": "fd00::9", "port": "5524", "password": "p", "ca": "CA"}
        url = urllib.parse.urlsplit(self.url({"database": database}))
        self.assertEqual(("fd00::9", 5524), (url.hostname, url.port))
        query = urllib.parse.parse_qs(url.query)
        self.assertEqual({"sslmode": ["verify-full"], "sslrootcert": [f"{CONFIG}/certs/database-ca.pem"]}, query)

    def test_the_program_accepts_the_url(self):
        broker = {"token_key": "a long random text that nothing else has"}
        database = {"host": "db.internal", "password": HOSTILE[0] + HOSTILE[1]}
        self.assertEqual(10, release.effective({"broker": broker, "database": database})["database"]["max_connections"])

    def test_two_databases_are_refused(self):
        with self.assertRaisesRegex(release.RenderError, "both set"):
            self.url({"database_url": "postgres://a@b/c", "database": {"host": "db", "password": "p"}})

    def test_postgresql_without_password_is_refused(self):
        with self.assertRaisesRegex(release.RenderError, "scrapebroker.database.password"):
            self.url({"database": {"host": "db"}})


class Hostile(unittest.TestCase):
    def test_values_reach_the_configuration_unchanged(self):
        exporters = [
            {"name": f"exporter-{number}", "host": "example.com", "params": {"value": [text]}}
            for number, text in enumerate(HOSTILE)
        ]
        files = release.render({"external_exporters": exporters, "env": {"TEXT": "".join(HOSTILE) + CONTROL}})
        self.assertEqual(exporters, yaml.safe_load(files["config/config.yml"])["external_exporters"])
        process = yaml.safe_load(files["config/bpm.yml"])["processes"][0]
        self.assertEqual({"TEXT": "".join(HOSTILE) + CONTROL}, process["env"])
        effective = release.effective({"external_exporters": exporters})["external_exporters"]
        self.assertEqual([e["params"] for e in exporters], [e["params"] for e in effective])

    def test_characters_that_need_escapes_are_read(self):
        exporters = [{"host": "example.com", "params": {"value": [CONTROL]}}]
        config = release.render({"external_exporters": exporters})["config/config.yml"]
        self.assertEqual(exporters, yaml.safe_load(config)["external_exporters"])

    def test_secrets_are_files_with_the_text_and_one_line_break(self):
        texts = list(filter(None, HOSTILE))
        sets = [
            {"broker": {"password": text, "token_key": text},
             "routes": {"tsuru": {"token": text}, "nats": {"password": text}}}
            for text in texts
        ]
        for text, files in zip(texts, release.render_each(sets)):
            with self.subTest(text):
                for name in ["broker-password", "token-key", "tsuru-token", "nats-password"]:
                    self.assertEqual(f"{text}\n", files[f"config/secrets/{name}"])

    def test_an_address_cannot_become_a_command(self):
        addresses = ["0.0.0.0:80;id", "$(id):80", "127.0.0.1:80\nid", "", "localhost"]
        for address, answer in zip(addresses, release.render_each([{"health_listen": a} for a in addresses])):
            with self.subTest(address):
                self.assertIsInstance(answer, release.RenderError)
                self.assertIn("scrapebroker.health_listen must be", str(answer))

    def test_durations_of_the_drain_are_checked(self):
        limits = {"20s": 45, "1m30s": 115, "500ms": 26, "1h": 3625}
        for limit, files in zip(limits.values(), release.render_each([{"drain_wait": text} for text in limits])):
            self.assertIn(f"SECONDS + {limit}))", files["bin/drain"])
        texts = ["20", "s", "$(id)s", "1 week", "20s\nid"]
        for text, answer in zip(texts, release.render_each([{"drain_wait": text} for text in texts])):
            with self.subTest(text):
                self.assertIn("scrapebroker.drain_wait must be a duration", str(answer))

    def test_a_property_that_the_spec_does_not_declare_is_refused(self):
        with self.assertRaisesRegex(release.RenderError, "does not declare the property scrapebroker.routes.nat$"):
            release.render({"routes": {"nat": {}}})


def all_properties():
    """Returns the properties of all-properties.yml, with real certificates."""
    authority = certificates.Authority("test")
    cert, key = authority.sign("scrapebroker.test")
    texts = {"CERT": cert, "KEY": key, "CA": authority.certificate}

    def replace(value):
        if isinstance(value, dict):
            return {name: replace(item) for name, item in value.items()}
        return texts.get(value, value) if isinstance(value, str) else value

    return replace(yaml.safe_load((release.RENDER.parent / "all-properties.yml").read_text()))


def leaves(values, prefix=""):
    """Returns the values of properties by the name of the property."""
    found = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        known = f"scrapebroker.{name}" in release.SPEC["properties"]
        found.update({name: value} if known else leaves(value, f"{name}."))
    return found


def masked(value, shown):
    """Returns a value as it is shown: secrets in lists and maps are asterisks."""
    if isinstance(value, dict):
        return {key: masked(item, shown.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(shown, list) and len(value) == len(shown):
        return [masked(item, other) for item, other in zip(value, shown)]
    return shown if shown == "************" else value


def shown(value, found):
    """Returns the part of the output that was given: items of lists are shown with their defaults."""
    if isinstance(value, dict) and isinstance(found, dict):
        return {key: shown(item, found.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(found, list) and len(value) == len(found):
        return [shown(item, other) for item, other in zip(value, found)]
    return found


class AllProperties(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.values = all_properties()
        # TLS to NATS is off in the set, because its default is on.
        cls.values["routes"]["nats"]["tls"]["enabled"] = True
        cls.effective = release.effective(cls.values)
        cls.files = release.render(cls.values)

    def found(self, name):
        value = self.effective
        for key in name.split("."):
            value = value[key]
        return value

    def test_the_set_has_a_new_value_for_each_property(self):
        given = leaves(all_properties())
        # They exclude the parts of a URL of PostgreSQL.
        excluded = {"database_url", "release_level_backup"}
        declared = {name.removeprefix("scrapebroker.") for name in release.SPEC["properties"]} - excluded
        self.assertEqual(declared, set(given))
        for name, value in given.items():
            with self.subTest(name):
                self.assertNotEqual(release.SPEC["properties"][f"scrapebroker.{name}"].get("default"), value)

    def test_each_value_is_effective(self):
        compared = 0
        for name, value in leaves(self.values).items():
            prop = release.SPEC["properties"][f"scrapebroker.{name}"]
            ours = name.startswith(("database.", "env", "start_timeout", "bpm.")) or name.endswith(".enabled")
            if prop["type"] in ("secret", "certificate") or name in ("broker.catalog", "web_config"):
                continue
            if not ours or name == "database.max_connections":
                compared += 1
                with self.subTest(name):
                    found = shown(value, self.found(name))
                    self.assertEqual(masked(value, found), found)
        self.assertGreater(compared, 80)

    def test_each_secret_is_in_the_file_that_the_configuration_names(self):
        config = yaml.safe_load(self.files["config/config.yml"])
        compared = 0
        for name, value in leaves(self.values).items():
            prop = release.SPEC["properties"][f"scrapebroker.{name}"]
            if prop["type"] in ("secret", "certificate") and not name.startswith("database."):
                compared += 1
                path = config
                for key in f"{name}_file".split("."):
                    path = path[key]
                with self.subTest(name):
                    self.assertEqual(f"{value}\n", self.files[path.removeprefix("/var/vcap/jobs/scrapebroker/")])
        self.assertEqual(13, compared)

    def test_the_web_configuration_is_a_file(self):
        self.assertEqual(f"{CONFIG}/web.yml", self.effective["web_config_file"])
        self.assertEqual(self.values["web_config"], yaml.safe_load(self.files["config/web.yml"]))
        self.assertNotIn("web_config_file", yaml.safe_load(release.render({})["config/config.yml"]))

    def test_the_catalog_is_a_file(self):
        self.assertEqual(f"{CONFIG}/broker-catalog.json", self.effective["broker"]["catalog"])
        catalog = self.values["broker"]["catalog"]
        self.assertEqual(catalog, json.loads(self.files["config/broker-catalog.json"]))
        text = json.dumps(catalog)
        files = release.render({"broker": {"catalog": text}})
        self.assertEqual(f"{text}\n", files["config/broker-catalog.json"])

    def test_a_mistake_fails_the_check_with_its_key(self):
        with self.assertRaisesRegex(AssertionError, "scrape.max_labels"):
            release.effective({"scrape": {"max_labels": "many"}})


if __name__ == "__main__":
    unittest.main()
