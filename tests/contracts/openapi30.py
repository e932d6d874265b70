"""Schemas of OpenAPI 3.0 as JSON Schema: null is said there by `nullable`, and a name that is not told is let pass."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

# Beside these a schema says nothing that could be held against a value.
_KEPT = ("required", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "pattern", "format")


class Schemas:
    """Those of one document, its references resolved."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._found: dict[str, Any] = {}

    def strict(self, schema: dict[str, Any]) -> Draft202012Validator:
        """A validator to which a name is wrong that the schema does not tell."""
        converted = self._convert(schema)
        return Draft202012Validator({**converted, "$defs": self._found}, format_checker=FormatChecker())

    def _convert(self, schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return self._named(schema["$ref"].rpartition("/")[2])
        if "allOf" in schema:
            return self._convert(self._merged(schema["allOf"]))
        for word in ("oneOf", "anyOf"):
            if word in schema:
                choices = [self._convert(choice) for choice in schema[word]]
                return {"anyOf": [*choices, {"type": "null"}] if schema.get("nullable") else choices}
        made = {name: schema[name] for name in _KEPT if name in schema}
        if "type" in schema:
            made["type"] = [schema["type"], "null"] if schema.get("nullable") else schema["type"]
        if "enum" in schema:
            made["enum"] = [*schema["enum"], None] if schema.get("nullable") else schema["enum"]
        if "items" in schema:
            made["items"] = self._convert(schema["items"])
        if "properties" in schema:
            made["properties"] = {name: self._convert(inner) for name, inner in schema["properties"].items()}
            made["additionalProperties"] = False
        return made

    def _named(self, name: str) -> dict[str, Any]:
        if name not in self._found:
            # Before it is converted, because it may speak of itself.
            self._found[name] = {}
            self._found[name].update(self._convert(self._document["components"]["schemas"][name]))
        return {"$ref": f"#/$defs/{name}"}

    def _merged(self, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """One object with the properties of all, inner ones likewise."""
        merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        for part in parts:
            resolved = self._resolved(part)
            merged["required"] = sorted({*merged["required"], *resolved.get("required", [])})
            for name, inner in resolved.get("properties", {}).items():
                earlier = merged["properties"].get(name)
                both = earlier is not None and "properties" in self._resolved(earlier)
                merged["properties"][name] = self._merged([earlier, inner]) if both else inner
        return merged

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return self._merged(schema["allOf"]) if "allOf" in schema else schema
