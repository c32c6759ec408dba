"""The surveys' Avro schemas that are built in, one file per version: ``schemas/avro/{survey}/{version}.avsc``."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import fastavro.schema

AvroSchema = Any
"""An Avro schema as JSON gives it: a name, a list (union) or a dict."""


@functools.cache
def known_schemas(survey: str) -> dict[str, AvroSchema]:
    """The built-in Avro schemas of ``survey`` by version, oldest version first. Raises ``FileNotFoundError`` without any."""
    folder = resources.files("schemas") / "avro" / survey
    if not folder.is_dir():
        raise FileNotFoundError(f"survey {survey!r} has no schema: put one per version at schemas/avro/{survey}/VERSION.avsc")
    texts = {
        file.name.removesuffix(".avsc"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".avsc")
    }
    return {version: json.loads(texts[version]) for version in sorted(texts, key=version_key)}


def version_key(version: str) -> tuple[int, ...]:
    """Orders versions as numbers part by part: 9.0 < 10.0 < 11.1, and ZTF's 4.01 < 4.02."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def parse_text(text: str | bytes) -> AvroSchema:
    """A schema ready for ``fastavro.schemaless_reader``.

    Raises ``ValueError`` when the text is not JSON or not Unicode and ``fastavro.schema.SchemaParseException`` or
    ``fastavro.schema.UnknownType`` when it is not an Avro schema. A default of the wrong type is no fault: what is read with the
    schema it was written with needs none, and surveys do publish such.
    """
    declared = json.loads(text)
    _drop_defaults(declared)
    # Names that are no Unicode text (lone surrogates) could be stored nowhere; this raises UnicodeEncodeError.
    json.dumps(declared, ensure_ascii=False).encode()
    # Each call has its own table of names: two versions of a survey use the same names for different records.
    return fastavro.schema.parse_schema(declared, named_schemas={}, _write_hint=True)


def _drop_defaults(declared: AvroSchema) -> None:
    waiting = [declared]
    while waiting:
        file = waiting.pop()
        if isinstance(file, list):
            waiting.extend(file)
        elif isinstance(file, dict):
            if file.get("type") == "enum":
                file.pop("default", None)
            fields = file.get("fields")
            for field in fields if isinstance(fields, list) else ():
                if isinstance(field, dict):
                    field.pop("default", None)
            waiting.extend(file.values())


_NAMED = ("record", "error", "enum", "fixed")
_NOT_NAMES = {*_NAMED, "array", "map", "null", "boolean", "int", "long", "float", "double", "bytes", "string"}


def named_types(schema: AvroSchema, namespace: str = "") -> dict[str, AvroSchema]:
    """The records, enums and fixeds defined anywhere inside ``schema``, by their full names and by their short ones.

    Of several with one short name the first counts.
    """
    found: dict[str, AvroSchema] = {}
    _add_named(schema, namespace, found)
    return found


def _add_named(schema: AvroSchema, namespace: str, found: dict[str, AvroSchema]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _add_named(branch, namespace, found)
    elif not isinstance(schema, dict):
        return
    elif schema["type"] in _NAMED:
        outside, _, short = schema["name"].rpartition(".")
        inside = outside or schema.get("namespace", namespace)
        for name in (f"{inside}.{short}" if inside else short, short):
            if name not in _NOT_NAMES:
                found.setdefault(name, schema)
        for field in schema.get("fields", ()):
            _add_named(field["type"], inside, found)
    else:
        for key in ("type", "items", "values"):
            if key in schema:
                _add_named(schema[key], namespace, found)


def branches_of(parsed: list[AvroSchema]) -> list[AvroSchema]:
    """Each branch of a union, as ``parse_text`` gives it, by itself: types that it names and another branch defines in it."""
    names: dict[str, AvroSchema] = {}
    _add_named(parsed, "", names)
    return [_by_itself(branch, names, set()) for branch in parsed]


def _by_itself(schema: AvroSchema, names: Mapping[str, AvroSchema], defined: set[str]) -> AvroSchema:
    if isinstance(schema, list):
        return [_by_itself(branch, names, defined) for branch in schema]
    if isinstance(schema, str):
        return _by_itself(names[schema], names, defined) if schema in names and schema not in defined else schema
    if not isinstance(schema, dict):
        return schema
    if schema["type"] in _NAMED:
        defined.add(schema["name"])
    # fastavro's own marks are no words of Avro's.
    made = {key: value for key, value in schema.items() if not key.startswith("__")}
    if "fields" in made:
        made["fields"] = [{**field, "type": _by_itself(field["type"], names, defined)} for field in made["fields"]]
    for key in ("items", "values"):
        if key in made:
            made[key] = _by_itself(made[key], names, defined)
    return made


def resolve(schema: AvroSchema, names: Mapping[str, AvroSchema]) -> AvroSchema:
    """``schema`` with a name replaced by the type it stands for in ``names``."""
    if isinstance(schema, str):
        return names.get(schema, schema)
    if isinstance(schema, dict):
        if isinstance(schema["type"], (dict, list)):
            return resolve(schema["type"], names)
        return names.get(schema["type"], schema)
    return schema


def without_null(schema: AvroSchema, names: Mapping[str, AvroSchema]) -> tuple[AvroSchema, bool]:
    """The one type of a nullable union and whether null is allowed; a union of several types comes back as it is."""
    schema = resolve(schema, names)
    if not isinstance(schema, list):
        return schema, False
    branches = [branch for branch in schema if branch != "null"]
    if len(branches) != 1:
        return branches, "null" in schema
    return resolve(branches[0], names), "null" in schema
