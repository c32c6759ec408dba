"""Make one of our schema files from a survey's: names and types kept, doc texts and defaults left out.

    python -m schemas.strip_docs SCHEMA.avsc|PACKET.avro > schemas/avro/SURVEY/VERSION.avsc

A schema spread over several ``.avsc`` files (LSST) is resolved into one.  The result is laid out one field to a line,
so that two versions can be compared with ``diff``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import fastavro
import fastavro.schema

_KEPT = ("type", "name", "namespace", "version", "items", "values", "symbols", "size", "logicalType", "fields")


def strip_docs(schema: Any) -> Any:
    """The same Avro schema with names, types and logical types only."""
    if isinstance(schema, list):
        return [strip_docs(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: strip_docs(schema[key]) for key in _KEPT if key in schema}
    return schema


def layout(schema: Any, indent: int = 0) -> str:
    """JSON text of ``schema`` with every record field on a line of its own."""
    if isinstance(schema, list):
        return "[" + ", ".join(layout(branch, indent) for branch in schema) + "]"
    if not isinstance(schema, dict):
        return json.dumps(schema)
    parts = []
    for key, value in schema.items():
        if key == "fields":
            pad = "\n" + " " * (indent + 2)
            text = "[" + pad + ("," + pad).join(layout(field, indent + 2) for field in value) + "]"
        else:
            text = layout(value, indent)
        parts.append(f"{json.dumps(key)}: {text}")
    return "{" + ", ".join(parts) + "}"


def load(path: Path) -> Any:
    """The Avro schema in an ``.avsc`` file (with the files it refers to) or in the header of an Avro container file."""
    if path.suffix == ".avsc":
        return fastavro.schema.load_schema(str(path), _write_hint=False)
    with path.open("rb") as file:
        return fastavro.reader(file).writer_schema


if __name__ == "__main__":
    print(layout(strip_docs(load(Path(sys.argv[1])))))
