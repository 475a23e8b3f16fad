"""The part of values.schema.json about `config`: the keys that docs/CONFIGURATION.md lists, and types of the values that templates read."""

import json
import re

from support import ROOT

TEXT = {"type": ["string", "null"]}
READ = {
    "listen": {"type": ["string", "array", "null"], "items": {"type": "string"}},
    "telemetry.path": TEXT | {"pattern": "^(/.*)?$"},
} | dict.fromkeys([
    "base_url", "broker.password_file", "broker.token_key_file", "broker.username", "broker.username_file", "database_url",
    "database_url_file", "events.access", "events.listen", "health_listen", "prometheus.provisioner", "query.listen",
    "query.pools[].locators[].kubernetes.kubeconfig", "query.pools[].locators[].kubernetes.namespace",
    "query.pools[].locators[].kubernetes.pod_selector", "query.pools[].locators[].kubernetes.service", "scrape.access",
    "telemetry.namespace", "tls.cert", "tls.cert_file", "tls.client_ca", "tls.client_ca_file",
], TEXT)
"""Keys that the templates read, with the types that these expect. A secret has no pattern, because Helm would print it."""


def documented_keys():
    """The keys, with `[]` after lists, and the variants of keys that name a file."""
    text = (ROOT / "docs/CONFIGURATION.md").read_text().split("\n## Keys\n")[1].split("\n## Environment variables\n")[0]
    keys = re.findall(r"^\| `([a-z_\[\].]+)` \|", text, re.MULTILINE)
    files = re.findall(r"Or `([a-z_\[\].]+_file)`", text)
    return sorted({*keys, *files})


def definition(keys):
    """A schema that accepts these keys only."""
    top = {}
    for key in keys:
        node = top
        *parents, last = key.split(".")
        for part in parents:
            node = node.setdefault(part, {})
        node.setdefault(last, {})
    return {"description": "Keys of docs/CONFIGURATION.md. The program checks their values.", **section(top)}


def section(node, path=""):
    properties = {}
    for name, inner in sorted(node.items()):
        if name.endswith("[]"):
            properties[name[:-2]] = {"type": ["array", "null"], "items": section(inner, f"{path}{name}.")}
        elif f"{name}[]" not in node:  # `operators` is in the tables, and `operators[].username`
            properties[name] = section(inner, f"{path}{name}.") if inner else READ.get(f"{path}{name}", True)
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def with_required(schema, defaults, definitions=None):
    """Helm removes a value that users set to null. The templates accept that for a value whose default is empty, and need all others."""
    if not schema.get("properties") or schema.get("additionalProperties", True):
        return schema
    definitions = definitions or schema["definitions"]
    properties = {key: with_required(inner, defaults.get(key) or {}, definitions) for key, inner in schema["properties"].items()}
    required = [key for key, inner in properties.items() if not (is_optional(inner, definitions) or defaults.get(key) in (None, "", [], {}))]
    rest = {key: value for key, value in schema.items() if key not in ("properties", "required", "definitions")}
    last = {key: value for key, value in schema.items() if key == "definitions"}
    return rest | ({"required": required} if required else {}) | {"properties": properties} | last


def is_optional(schema, definitions):
    """Whether null is a value, or only parent charts set it."""
    schema = definitions.get(schema.get("$ref", "").removeprefix("#/definitions/"), schema)
    return "null" in schema.get("type", []) or "parent chart" in schema.get("description", "")


def keys_of(schema, path=""):
    """The keys that a schema of a section accepts."""
    for name, inner in schema["properties"].items():
        if inner is True or "properties" not in inner:
            yield f"{path}{name}"
        if inner is not True and "properties" in inner.get("items", {}):
            yield from keys_of(inner["items"], f"{path}{name}[].")
        elif inner is not True and "properties" in inner:
            yield from keys_of(inner, f"{path}{name}.")


def dump(value, indent=0):
    """JSON with short objects and lists on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= 118 or not isinstance(value, (dict, list)):
        return line
    pad = " " * (indent + 2)
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + dump(inner, indent + 2) for inner in value) + "\n" + " " * indent + "]"
    items = (f"{pad}{json.dumps(key)}: {dump(inner, indent + 2)}" for key, inner in value.items())
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"
