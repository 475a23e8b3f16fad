"""Ops files of the BOSH CLI: `replace` and `remove`, with the syntax of its paths."""

import copy
import re


class OpsError(Exception):
    """An operation does not fit the document."""


def apply(document, operations):
    """Returns a copy of the document to which the operations were applied in order."""
    document = copy.deepcopy(document)
    for operation in operations:
        unknown = set(operation) - {"type", "path", "value"}
        if unknown or operation["type"] not in ("replace", "remove"):
            raise OpsError(f"{operation['path']}: not an operation: {sorted(unknown)} {operation['type']}")
        if operation["type"] == "replace" and "value" not in operation:
            raise OpsError(f"{operation['path']}: no value")
        _apply(document, operation, _tokens(operation["path"]))
    return document


def _tokens(path):
    """Splits a path. Each token is a key, a position, `-` or (key, value), and says if it may be missing."""
    if not path.startswith("/"):
        raise OpsError(f"{path}: a path begins with /")
    optional = False
    tokens = []
    for text in path[1:].split("/"):
        optional = optional or text.endswith("?")
        text = text.removesuffix("?")
        if re.fullmatch(r"\d+|-1", text):
            token = int(text)
        elif "=" in text:
            token = tuple(text.split("=", 1))
        else:
            token = text
        tokens.append((token, optional))
    return tokens


def _apply(node, operation, tokens):
    (token, optional), *rest = tokens
    fail = OpsError(f"{operation['path']}: nothing at {token!r}")
    place = _place(node, token, operation)
    exists = place is not None and (isinstance(node, dict) and place in node or isinstance(node, list) and place < len(node))
    if not rest:
        if operation["type"] == "remove":
            if exists:
                del node[place]
            elif not optional:
                raise fail
        elif exists:
            node[place] = copy.deepcopy(operation["value"])
        elif token == "-" or (optional and isinstance(node, dict)):
            _add(node, token, copy.deepcopy(operation["value"]))
        elif optional and isinstance(token, tuple):
            node.append(copy.deepcopy(operation["value"]))
        else:
            raise fail
        return
    if not exists:
        if not optional or operation["type"] == "remove":
            raise fail
        following = rest[0][0]
        new = [] if following == "-" or isinstance(following, (int, tuple)) else {}
        if isinstance(token, tuple):
            new = {token[0]: token[1]}
        place = _add(node, token, new)
    _apply(node[place], operation, rest)


def _add(node, token, value):
    if isinstance(node, list):
        node.append(value)
        return len(node) - 1
    node[token] = value
    return token


def _place(node, token, operation):
    """Returns the key or the position of a token, or None for a new item."""
    if isinstance(node, dict):
        if not isinstance(token, str) or token == "-":
            raise OpsError(f"{operation['path']}: a map has no item {token!r}")
        return token
    if not isinstance(node, list):
        raise OpsError(f"{operation['path']}: {token!r} is below a value that is neither map nor list")
    if token == "-":
        return None
    if isinstance(token, int):
        return len(node) - 1 if token == -1 else token
    if not isinstance(token, tuple):
        raise OpsError(f"{operation['path']}: a list has no key {token!r}")
    found = [place for place, item in enumerate(node) if isinstance(item, dict) and item.get(token[0]) == token[1]]
    if len(found) > 1:
        raise OpsError(f"{operation['path']}: {len(found)} items with {token[0]}={token[1]}")
    return found[0] if found else None


VARIABLE = re.compile(r"\(\(!?([A-Za-z0-9_./-]+)\)\)")


def variables(value):
    """Returns the names of all variables in a document."""
    if isinstance(value, dict):
        return set().union(*map(variables, value.values()), *map(variables, value.keys())) if value else set()
    if isinstance(value, list):
        return set().union(*map(variables, value)) if value else set()
    return set(VARIABLE.findall(value)) if isinstance(value, str) else set()


def interpolate(value, lookup):
    """Returns a document with the values of its variables. A text that is one variable may become any value."""
    if isinstance(value, dict):
        return {interpolate(key, lookup): interpolate(item, lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, lookup) for item in value]
    if not isinstance(value, str):
        return value
    if whole := VARIABLE.fullmatch(value):
        return lookup(whole[1])
    return VARIABLE.sub(lambda match: str(lookup(match[1])), value)
