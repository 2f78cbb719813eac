"""What JSON Schemas demand, and how one that arrived differs from the one that was sent."""

import json

from .form import squeeze

# Keywords that demand nothing, or that only name the schema.
SILENT = {"$schema", "$id", "title", "$comment", "propertyOrdering", "property_ordering", "$defs", "definitions", "$ref", "additional_properties",
          "additionalProperties", "strict"}
DEEPEST = 6


def differences(sent, arrived):
    """Paths of keywords that were lost, altered or added; schemas may have been closed to other members, which some providers demand."""
    return list(compare(plain(sent, sent, 0), plain(arrived, arrived, 0), ""))


def plain(schema, root, depth):
    """A schema without references, in one spelling of what has several."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return {}
    if ref := schema.get("$ref"):
        target = root
        for step in ref.removeprefix("#/").split("/") if ref.startswith("#") else []:
            target = target.get(step, {}) if isinstance(target, dict) else {}
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
        return plain(schema, root, depth + 1)
    out = {}
    for name, value in schema.items():
        if name in ("properties", "patternProperties"):
            out[name] = {key: plain(inner, root, depth + 1) for key, inner in value.items()}
        elif name in ("items", "not", "contains", "propertyNames") and isinstance(value, dict):
            out[name] = plain(value, root, depth + 1)
        elif name in ("anyOf", "any_of", "oneOf"):
            out["anyOf"] = [plain(inner, root, depth + 1) for inner in value]
        elif name in ("allOf", "prefixItems"):
            out[name] = [plain(inner, root, depth + 1) for inner in value]
        elif name == "type":
            out[name] = [one.lower() for one in ([value] if isinstance(value, str) else value)]
        elif name == "const":
            out["enum"] = [value]
        elif name in ("min_items", "max_items", "min_length", "max_length"):
            out[name.split("_")[0] + name.split("_")[1].title()] = int(value)
        elif name in ("minItems", "maxItems", "minLength", "maxLength"):
            out[name] = int(value)
        elif name == "nullable" or name in SILENT:
            continue
        else:
            out[name] = value
    more = schema.get("additionalProperties", schema.get("additional_properties"))
    if isinstance(more, dict) and more:
        out["additionalProperties"] = plain(more, root, depth + 1)
    elif more is False:
        out["closed"] = True
    return nullable(out, schema.get("nullable"))


def nullable(out, said):
    """`null` as one of the types, however it is said."""
    branches = out.get("anyOf")
    if branches:
        others = [branch for branch in branches if branch.get("type") != ["null"]]
        said = said or len(others) < len(branches)
        if len(others) == 1:
            out = {**others[0], **{name: value for name, value in out.items() if name != "anyOf"}}
        else:
            out["anyOf"] = others
    types = [one for one in out.get("type", []) if one != "null"]
    said = said or len(types) < len(out.get("type", []))
    if types:
        out["type"] = types
    if isinstance(out.get("enum"), list):
        said = said or None in out["enum"]
        out["enum"] = [one for one in out["enum"] if one is not None]
        out.setdefault("type", sorted({{"str": "string", "int": "integer", "float": "number", "bool": "boolean"}.get(type(one).__name__, "") for one in out["enum"]}))
    if said:
        out["null"] = True
    if "properties" in out:
        out.setdefault("type", ["object"])
    if out.get("required") is not None:
        out["required"] = sorted(out["required"])
    return {name: value for name, value in out.items() if value not in ([], {})}


def compare(sent, arrived, path):
    for name, value in sent.items():
        at = f"{path}.{name}"
        other = arrived.get(name)
        if name in ("properties", "patternProperties"):
            for key, inner in value.items():
                if key in (other or {}):
                    yield from compare(inner, other[key], f"{path}.{key}")
                else:
                    yield f"{path}.{key} is missing"
        elif isinstance(value, dict) and isinstance(other, dict):
            yield from compare(value, other, at)
        elif isinstance(value, list) and value and isinstance(value[0], dict) and isinstance(other, list) and len(other) == len(value):
            for number, (one, two) in enumerate(zip(value, other)):
                yield from compare(one, two, f"{at}[{number}]")
        elif name == "description":
            if not squeeze(other or "").startswith(squeeze(value)):
                yield f"{at} {value[:40]!r} became {str(other)[:40]!r}"
        elif value != other and not is_told(name, value, arrived.get("description")):
            yield f"{at} {str(value)[:60]} became {str(other)[:60]}"
    for name in arrived.keys() - sent.keys() - {"description", "properties", "closed"}:
        if not (name == "type" and arrived[name] == ["object"]):
            yield f"{path}.{name} {str(arrived[name])[:60]} was added"


def is_told(name, value, description):
    """Keywords that a provider does not enforce may be told to the model in words."""
    return f'"{name}":{squeeze(json.dumps(value))}' in squeeze(description or "")
