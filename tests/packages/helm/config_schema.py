"""The part of values.schema.json about `config`: the keys that docs/CONFIGURATION.md lists, without their values."""

import json
import re

from support import ROOT

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


def section(node):
    properties = {}
    for name, inner in sorted(node.items()):
        if name.endswith("[]"):
            properties[name[:-2]] = {"type": ["array", "null"], "items": section(inner)}
        elif f"{name}[]" not in node:  # `operators` is in the tables, and `operators[].username`
            properties[name] = section(inner) if inner else True
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def keys_of(schema, path=""):
    """The keys that a schema of a section accepts."""
    for name, inner in schema["properties"].items():
        if inner is True:
            yield f"{path}{name}"
        elif "items" in inner:
            yield f"{path}{name}"
            yield from keys_of(inner["items"], f"{path}{name}[].")
        else:
            yield from keys_of(inner, f"{path}{name}.")


def dump(value, indent=0):
    """JSON with short objects on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= 118 or not isinstance(value, dict):
        return line
    pad = " " * (indent + 2)
    items = (f"{pad}{json.dumps(key)}: {dump(inner, indent + 2)}" for key, inner in value.items())
    return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"
