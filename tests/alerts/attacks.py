"""Inputs that mean harm, and what becomes of them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np
import pyarrow as pa

from alerts.avro.inputs import read_slice, slice_tar
from alerts.avro.packets import wrap_in_container
from alerts.avro.wire_schemas import WireSchemas, WriterSchema
from alerts.catalogs.catalog import CatalogError, SourceColumns
from alerts.catalogs.cds.answers import read_answer, read_columns
from alerts.catalogs.http import post
from alerts.cutouts import to_pixels
from alerts.errors import AlertError
from simulation.stamps import ztf_stamp
from tests.alerts.making import ZTF_SCHEMA, as_text, container, datum, ingest, outcome_of, tar_of, ztf_record

MIB = 2**20
_ZEROS = bytes(MIB)
DATUM = datum(ztf_record(1), ZTF_SCHEMA)
PACKET = container([ztf_record(1)])
COLUMNS = {f"c{number}": pa.float64() for number in range(10)}
STAMP = ztf_stamp(np.zeros((63, 63), np.float32))


@dataclass(frozen=True)
class Told:
    """What became of an input, in a few words."""

    alert_ids: list[int]
    messages: list[str]
    payload_bytes: int


def told(data: bytes, uri: str = "attack") -> Told:
    """What becomes of an input file. A memory error that was caught on its way is none the less one."""
    outcome = ingest(data, uri)
    messages = [letter.message for letter in outcome.letters]
    assert not any("MemoryError" in one for one in messages), messages
    return Told(outcome.alert_ids, messages, sum(len(letter.payload or b"") for letter in outcome.letters))


def told_of_tar(path: str) -> Told:
    """What becomes of a plain ``.tar`` on disk, which workers read in slices."""
    with open(path, "rb") as file:
        slices = list(slice_tar(file, path, 2) or ())
        outcome = outcome_of(item for part in slices for item in read_slice(file, path, part, WireSchemas()))
    return Told(outcome.alert_ids, [letter.message for letter in outcome.letters], 0)


def stamp_fault(data: bytes) -> str:
    """What is wrong with a stamp, whose neighbor in a batch must not notice."""
    found = to_pixels([STAMP, data])
    assert set(found.faults) == {1}, found.faults
    assert "MemoryError" not in found.faults[1]
    return found.faults[1]


def refusal_of(function: Callable[..., Any], *arguments: Any) -> str:
    """What a function refuses, in its own words."""
    try:
        function(*arguments)
    except (CatalogError, AlertError) as error:
        return str(error)
    return "nothing was refused"


def ask_for(url: str, deadline_secs: float = 10.0) -> bytes:
    """The body that a service answers a question with."""
    return post(url, {"a": "b"}, {}, headers={}, deadline_secs=deadline_secs)[1]


def ask_registry(url: str, wire_id: int = 5) -> None:
    """Look for a schema in a registry."""
    WireSchemas(url).get(wire_id)


def read_table(body: bytes) -> int:
    """The pairs in an answer about two positions, of a catalog with ten columns of numbers."""
    return len(read_answer(body, COLUMNS, 2, "c").position)


def read_declaration(body: bytes) -> list[str]:
    """The columns in a VOTable."""
    return list(read_columns(body, "c", SourceColumns(None, None)))


def warm_up() -> None:
    """Compile, and read what is read once, before memory is counted."""
    for one in (PACKET, tar_of({"1.avro": PACKET}), container([ztf_record(1), ztf_record(2)]), with_field("int", b"\2")):
        told(one)
        told(one[:-30])
    stamp_fault(b"SIMPLE")
    read_table((",".join(["angDist", "broker_index", *COLUMNS]) + "\n").encode())
    refusal_of(ask_for, "http://127.0.0.1:9")


def long(value: int) -> bytes:
    """A zigzag varint."""
    return datum({"n": value}, {"type": "record", "name": "n", "fields": [{"name": "n", "type": "long"}]})


def schema_with(kind: Any) -> dict[str, Any]:
    """ZTF's schema with one field more, behind the others."""
    return {**ZTF_SCHEMA, "fields": [*ZTF_SCHEMA["fields"], {"name": "attack", "type": kind}]}


def with_field(kind: Any, value: bytes) -> bytes:
    """A packet with a further field of this type and these bytes."""
    return wrap_in_container(WriterSchema(as_text(schema_with(kind))), DATUM + value)


def history_of_nothing(blocks: int) -> bytes:
    """A packet whose previous candidates are records without fields, each block as many as there are bytes left."""
    fields = [one for one in ZTF_SCHEMA["fields"] if one["name"] != "prv_candidates"]
    nothing = {"type": "array", "items": {"type": "record", "name": "ztf.alert.nothing", "fields": []}}
    schema = {**ZTF_SCHEMA, "fields": [*fields, {"name": "prv_candidates", "type": nothing}]}
    record = {name: value for name, value in ztf_record(1).items() if name != "prv_candidates"}
    start = datum({**record, "prv_candidates": []}, schema)[:-1]
    counts = b"".join(long(max(1, left - 10)) for left in range(blocks, 0, -1))
    return wrap_in_container(WriterSchema(as_text(schema)), start + counts + b"\0")


def laughing(levels: int) -> dict[str, Any]:
    """A record that holds ten records, each of which holds ten, ...: 10^levels of them in no bytes at all."""
    schema: dict[str, Any] = {"type": "record", "name": "l0", "fields": []}
    for level in range(1, levels + 1):
        others = [{"name": f"f{number}", "type": f"l{level - 1}"} for number in range(1, 10)]
        schema = {"type": "record", "name": f"l{level}", "fields": [{"name": "f0", "type": schema}, *others]}
    return schema


def nested(depth: int, kind: Any = "int") -> Any:
    """Arrays in arrays."""
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return kind


def with_schema(text: bytes, block: bytes = DATUM, count: int = 1) -> bytes:
    """A container with a schema of this text, which need not be one."""
    return wrap_in_container(WriterSchema(text), block, count)


def changed(**values: Any) -> bytes:
    """ZTF's schema as text with some of its own attributes changed."""
    return json.dumps({**ZTF_SCHEMA, **values}).encode()


def zeros(size: int, before: bytes = b"") -> Iterator[bytes]:
    """So many zeros, in pieces."""
    yield before
    for _ in range(size // MIB):
        yield _ZEROS


def gzipped(pieces: Iterable[bytes]) -> bytes:
    crc, size, pieces = 0, 0, list(pieces)
    for piece in pieces:
        crc, size = zlib.crc32(piece, crc), size + len(piece)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    return head + deflated(pieces) + struct.pack("<II", crc, size & 0xFFFFFFFF)


def deflated(pieces: Iterable[bytes]) -> bytes:
    """Packed piece by piece, so that a piece that comes again and again is packed once."""
    packed: dict[int, bytes] = {}
    out, pieces = [], list(pieces)  # held, for an id is of what is alive
    for piece in pieces:
        if id(piece) not in packed:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed[id(piece)] = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
        out.append(packed[id(piece)])
    return b"".join(out) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def zstandard_of(pieces: Iterable[bytes]) -> bytes:
    """One frame, which does not say how long its contents are."""
    packer = cramjam.zstd.Compressor()
    for piece in pieces:
        packer.compress(piece)
    return bytes(packer.finish())


def varint(value: int) -> bytes:
    """Of snappy: not zigzag."""
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])
