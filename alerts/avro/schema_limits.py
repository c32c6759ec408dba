"""What a schema may be, looked at before anything is made of it: the text first, then its parts, without recursion."""

from __future__ import annotations

import json
from typing import Any

from alerts.errors import UnreadableInput
from alerts.limits import MAX_NAME_CHARACTERS, MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, MAX_SCHEMA_PARTS

_NAMES = ("name", "namespace", "version", "logicalType")
_NOT_IN_TEXTS = ("__fastavro_parsed", "__named_schemas")
"""By these fastavro knows schemas that it has checked already."""


def load_schema(text: bytes) -> Any:
    """A schema's text as JSON gives it. Raises ``UnreadableInput`` beyond the limits, or ``ValueError`` for what is no JSON."""
    if len(text) > MAX_SCHEMA_BYTES:
        raise UnreadableInput(f"a schema of {len(text)} bytes; the limit is {MAX_SCHEMA_BYTES}")
    declared = json.loads(text)
    parts = 0
    level = [declared]
    for _ in range(MAX_SCHEMA_DEPTH + 1):
        if not level:
            return declared
        parts += len(level)
        if parts > MAX_SCHEMA_PARTS:
            raise UnreadableInput(f"a schema of more than {MAX_SCHEMA_PARTS:,} parts, the limit")
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                _check_names(node)
                inner.extend(node.values())
            elif isinstance(node, list):
                inner.extend(node)
        level = inner
    raise UnreadableInput(f"a schema that is nested more than {MAX_SCHEMA_DEPTH} deep, the limit")


def _check_names(node: dict[str, Any]) -> None:
    for key in _NOT_IN_TEXTS:
        if key in node:
            raise UnreadableInput(f"a schema with {key!r}, which is no word of Avro's")
    for key in _NAMES:
        if key in node and len(str(node[key])) > MAX_NAME_CHARACTERS:
            raise UnreadableInput(f"a schema with a {key} of more than {MAX_NAME_CHARACTERS} characters, the limit")
