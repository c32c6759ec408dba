"""Small packets, containers and archives for the tests, and what becomes of them."""

from __future__ import annotations

import io
import json
import os
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cramjam
import fastavro
from hypothesis import HealthCheck, settings

from alerts.avro.decode import Decoded, decode
from alerts.avro.inputs import Skipped, read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from alerts.surveys import Survey
from schemas import known_schemas

Record = dict[str, Any]
ZTF_SCHEMA = known_schemas("ztf")["4.02"]
LSST_SCHEMA = known_schemas("lsst")["10.0"]
SYNC = bytes(range(16))


def examples(count: int) -> settings:
    """How hard hypothesis tries: the same examples in every run, or other and so many times more with PITT_BROKER_HUNT=30."""
    hunt = int(os.environ.get("PITT_BROKER_HUNT", "0"))
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=count * max(hunt, 1),
        derandomize=not hunt,
        database=None,
        deadline=None,
        suppress_health_check=quiet,
    )


def filled(schema: Any, number: int = 1, null: bool = False, names: dict[str, Any] | None = None) -> Any:
    """A value for an Avro schema, another one in each field; ``null`` puts null wherever the schema allows it."""
    return _Filler(number, null).value(schema)


class _Filler:
    def __init__(self, number: int, null: bool) -> None:
        self.number, self.null = number, null
        self.names: dict[str, Any] = {}

    def value(self, schema: Any) -> Any:
        self.number += 1
        if isinstance(schema, list):
            if self.null and "null" in schema:
                return None
            return self.value(next((branch for branch in schema if branch != "null"), "null"))
        if isinstance(schema, dict) and isinstance(schema["type"], (dict, list)):
            return self.value(schema["type"])
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind in self.names:
            return self.value(self.names[kind])
        if kind in ("record", "enum", "fixed"):
            self.names[schema["name"]] = schema
            self.names[f"{schema.get('namespace')}.{schema['name']}"] = schema
        return self.of_kind(kind, schema)

    def of_kind(self, kind: str, schema: Any) -> Any:
        if kind == "record":
            return {field["name"]: self.value(field["type"]) for field in schema["fields"]}
        if kind == "array":
            return [self.value(schema["items"]) for _ in range(2)]
        if kind == "map":
            return {f"key{number}": self.value(schema["values"]) for number in range(2)}
        if kind == "fixed":
            return bytes(schema["size"])
        if kind == "enum":
            return schema["symbols"][0]
        simple = {
            "null": None,
            "boolean": self.number % 2 == 0,
            "int": self.number,
            "long": 2**60 + self.number,
            "float": self.number / 8,
            "double": self.number / 7,
            "string": f"text {self.number}",
            "bytes": b"\x00\xff%d" % self.number,
        }
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        if logical == "uuid":
            return str(uuid.UUID(int=self.number))
        # Times as small numbers, so that they are in years that Python knows.
        return self.number if logical and kind in ("int", "long") else simple[kind]


def ztf_record(candid: int = 2_560_123_456_789_012_345, jd: float = 2458451.7, null: bool = False, **candidate: Any) -> Record:
    """A record of ZTF schema 4.02; further arguments go into its ``candidate``."""
    record: Record = filled(ZTF_SCHEMA, candid % 1000, null)
    record["schemavsn"], record["objectId"], record["candid"] = "4.02", "ZTF18abcdefg", candid
    record["candidate"] |= {"candid": candid, "jd": jd, "ra": 123.456, "dec": 54.321, **candidate}
    return record


def lsst_record(source_id: int = 170_112_044_529_352_779, **dia_source: Any) -> Record:
    """A record of LSST schema 10.0; further arguments go into its ``diaSource``."""
    record: Record = filled(LSST_SCHEMA, source_id % 1000)
    given = {"diaSourceId": source_id, "midpointMjdTai": 61109.1, "ra": 51.2, "dec": -28.5}
    record["diaSource"] |= {**given, **dia_source}
    return record


def container(records: Iterable[Record], schema: Any = ZTF_SCHEMA, codec: str = "null", per_block: int = 1000) -> bytes:
    """An Avro container file with so many records to a block."""
    records = list(records)
    if codec == "zstandard":
        return _zstandard_container(records, schema, per_block)
    out = io.BytesIO()
    writer = fastavro.write.Writer(out, fastavro.parse_schema(schema, named_schemas={}), codec, 2**40, sync_marker=SYNC)
    for number, record in enumerate(records, 1):
        writer.write(record)
        if number % per_block == 0:
            writer.flush()
    writer.flush()
    return out.getvalue()


def _zstandard_container(records: list[Record], schema: Any, per_block: int) -> bytes:
    """Made by hand, as fastavro wants a further library for this codec."""
    out = io.BytesIO()
    out.write(container([], schema).replace(b"\x08null", b"\x12zstandard"))
    for first in range(0, len(records), per_block):
        block = records[first : first + per_block]
        fastavro.schemaless_writer(out, {"type": "long"}, len(block))
        data = b"".join(datum(record, schema) for record in block)
        fastavro.schemaless_writer(out, {"type": "bytes"}, bytes(cramjam.zstd.compress(data)))
        out.write(SYNC)
    return out.getvalue()


def ztf_packet(candid: int = 2_560_123_456_789_012_345, **values: Any) -> bytes:
    """A ZTF packet: a container of one record."""
    return container([ztf_record(candid, **values)])


def as_text(schema: Any) -> bytes:
    """A schema as it stands in the header of a container."""
    return json.dumps(schema).encode()


def datum(record: Record, schema: Any) -> bytes:
    """An Avro datum without any framing."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas={}), record)
    return out.getvalue()


def wire_message(record: Record, schema_id: int = 1000, schema: Any = LSST_SCHEMA) -> bytes:
    """A Confluent wire message."""
    return b"\0" + schema_id.to_bytes(4, "big") + datum(record, schema)


def tar_of(members: Mapping[str, bytes], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    """A ``.tar`` of regular files, with its end mark."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass(frozen=True)
class Outcome:
    """What became of an input: rows in the order of the packets, dead letters of reading, then of decoding."""

    rows: list[Record]
    letters: list[DeadLetter]
    skipped: list[str]
    decoded: Decoded

    @property
    def alert_ids(self) -> list[int]:
        return [row["alert_id"] for row in self.rows]

    def the_letter(self) -> DeadLetter:
        """The only dead letter, of an input that gave no row."""
        assert not self.rows
        return self.one_letter()

    def one_letter(self) -> DeadLetter:
        """The only dead letter."""
        (letter,) = self.letters
        return letter


def outcome_of(items: Iterable[Packet | DeadLetter | Skipped], survey: Survey | None = None) -> Outcome:
    """Decode what a reader gave."""
    items = list(items)
    decoded = decode([one for one in items if isinstance(one, Packet)], survey=survey, run_id="test")
    for rows in decoded.rows.values():
        rows.validate(full=True)
    letters = [one for one in items if isinstance(one, DeadLetter)] + decoded.failures
    skipped = [one.source for one in items if isinstance(one, Skipped)]
    return Outcome([row for rows in decoded.rows.values() for row in rows.to_pylist()], letters, skipped, decoded)


def ingest(data: bytes, uri: str = "night.avro", schemas: str | None = None, survey: Survey | None = None) -> Outcome:
    """Read an input file with these bytes and decode what is in it."""
    return outcome_of(read_input(io.BytesIO(data), uri, WireSchemas(schemas)), survey)


def cut_lengths(data: bytes, count: int = 25) -> Iterator[int]:
    """Lengths at which to cut an input: a few at its beginning and its end, the others spread over it."""
    yield from sorted({*range(1, 8), *range(8, len(data), max(1, len(data) // count)), *range(len(data) - 20, len(data))})
