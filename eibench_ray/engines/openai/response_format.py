"""The `response_format` that asks for a JSON schema. Endpoints differ in what they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

_NAME = "reply"

# What OpenAI's strict mode refuses or does not list; fine-tuned models refuse more. Source: OpenAI's guide "Structured
# outputs", section "Supported schemas", of 2026. It does list minimum, maximum, pattern, minItems and maxItems.
_REFUSED = frozenset(
    (
        *("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas"),
        *("minLength", "maxLength", "patternProperties", "propertyNames", "minProperties", "maxProperties"),
        *("unevaluatedProperties", "unevaluatedItems", "contains", "minContains", "maxContains", "uniqueItems"),
        *("default", "title", "$schema"),
    )
)
_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def response_format(
    schema: Mapping[str, Any], json_output: Literal["strict", "schema", "object", "none"]
) -> dict[str, Any] | None:
    """The body's field of that name; None where the endpoint would ignore it."""
    if json_output == "none":
        return None
    if json_output == "object":
        return {"type": "json_object"}
    is_strict = json_output == "strict"
    sent = to_strict_schema(schema) if is_strict else dict(schema)
    return {"type": "json_schema", "json_schema": {"name": _NAME, "strict": is_strict, "schema": sent}}


def to_strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in the subset that OpenAI's strict mode takes; what it cannot say is put into the description.

    Every object gets all of its properties required and no others allowed.
    """
    kept = {key: value for key, value in schema.items() if key not in _REFUSED}
    if "const" in kept:
        constant = kept.pop("const")
        kept |= {"type": kept.get("type", _TYPES[type(constant)]), "enum": [constant]}
    for key in ("properties", "$defs"):
        if key in kept:
            kept[key] = {name: to_strict_schema(part) for name, part in kept[key].items()}
    if "items" in kept:
        kept["items"] = to_strict_schema(kept["items"])
    if "anyOf" in kept:
        kept["anyOf"] = [to_strict_schema(part) for part in kept["anyOf"]]
    if kept.get("type") == "object":
        properties = kept.setdefault("properties", {})
        kept |= {"required": list(properties), "additionalProperties": False}
    if limits := [f"{key}: {schema[key]}" for key in ("minLength", "maxLength") if key in schema]:
        said = [str(kept["description"])] if "description" in kept else []
        kept["description"] = ", ".join([*said, *limits])
    return kept
