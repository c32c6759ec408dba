"""Alerts as bytes: an Avro container file of one record, or a wire message as Confluent's serializers write it."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from typing import Any

import fastavro

from schemas import known_schemas, parse_text

CONTAINER, WIRE = "container", "wire"
SUFFIX = {CONTAINER: ".avro", WIRE: ".bin"}
WIRE_HEADER = struct.Struct(">bI")
"""A zero byte and the schema's id."""

_HEADER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "org.apache.avro.file.Header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "magic", "size": 4}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "sync", "size": 16}},
        ],
    }
)


class Packer:
    """Turns records of one schema into packets. All packets of a night share the sync marker, which the seed gives."""

    def __init__(self, survey: str, version: str, framing: str, seed: int) -> None:
        schema = known_schemas(survey)[version]
        self.framing = framing
        self.sync = hashlib.blake2b(f"{survey} {version} {seed}".encode(), digest_size=16).digest()
        self.schema_text = json.dumps(schema, separators=(",", ":")).encode()
        self._schema = parse_text(self.schema_text)
        self._arrays = [field["name"] for field in schema["fields"] if _is_nullable_array(field["type"])]
        major, minor = version.split(".")
        self.schema_id = 100 * int(major) + int(minor)
        self.container_header = container_header(self.schema_text, self.sync)

    def datum(self, record: dict[str, Any]) -> bytes:
        """The record in Avro's binary encoding."""
        # Told which branch of the union an array is, fastavro need not try them on every element: this halves the time.
        arrays = {name: ("array", record[name]) for name in self._arrays if record[name] is not None}
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._schema, record | arrays)
        return out.getvalue()

    def packet(self, record: dict[str, Any]) -> bytes:
        """The record as the survey sends it."""
        return self.frame(self.datum(record))

    def frame(self, datum: bytes) -> bytes:
        """The datum in this night's framing."""
        if self.framing == WIRE:
            return WIRE_HEADER.pack(0, self.schema_id) + datum
        return self.container_header + self.block(datum)

    def block(self, datum: bytes) -> bytes:
        """A container's block of one record, not compressed."""
        return _long(1) + _long(len(datum)) + datum + self.sync


def container_header(schema_text: bytes, sync: bytes) -> bytes:
    """What an Avro container file begins with."""
    out = io.BytesIO()
    meta = {"avro.schema": schema_text, "avro.codec": b"null"}
    fastavro.schemaless_writer(out, _HEADER, {"magic": b"Obj\x01", "meta": meta, "sync": sync})
    return out.getvalue()


def _long(value: int) -> bytes:
    """A non-negative number as Avro writes it: twice the number, seven bits per byte, lowest first."""
    value, out = 2 * value, bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _is_nullable_array(kind: Any) -> bool:
    return isinstance(kind, list) and any(isinstance(branch, dict) and branch["type"] == "array" for branch in kind)
