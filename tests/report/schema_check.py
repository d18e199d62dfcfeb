"""The part of JSON Schema that docs/scan-result.schema.json uses, so that the tests need no further package."""

from __future__ import annotations

import re

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_KNOWN = {
    "$schema", "$id", "title", "description", "type", "required", "additionalProperties", "properties", "items",
    "minItems", "maxItems", "enum", "const", "pattern", "minimum",
}


def find_violations(value: object, schema: dict, place: str = "$") -> list[str]:
    """Every place where a value breaks the schema; a keyword not known here is an error of the schema."""
    assert set(schema) <= _KNOWN, set(schema) - _KNOWN
    wrong = []
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(_is_type(value, t) for t in types):
        return [f"{place}: {value!r} is not {types}"]
    if "const" in schema and value != schema["const"]:
        wrong.append(f"{place}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{place}: {value!r} is none of {schema['enum']}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        wrong.append(f"{place}: {value!r} does not match {schema['pattern']}")
    if "minimum" in schema and value < schema["minimum"]:
        wrong.append(f"{place}: {value!r} is below {schema['minimum']}")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            wrong.append(f"{place}: {len(value)} items")
        for i, item in enumerate(value):
            wrong += find_violations(item, schema.get("items", {}), f"{place}[{i}]")
    if isinstance(value, dict):
        wrong += _check_object(value, schema, place)
    return wrong


def _is_type(value: object, name: str) -> bool:
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _check_object(value: dict, schema: dict, place: str) -> list[str]:
    wrong = [f"{place}: {key} is missing" for key in schema.get("required", []) if key not in value]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key, item in value.items():
        if key in properties:
            wrong += find_violations(item, properties[key], f"{place}.{key}")
        elif others is False:
            wrong.append(f"{place}: {key} is not in the schema")
        elif isinstance(others, dict):
            wrong += find_violations(item, others, f"{place}.{key}")
    return wrong
