"""A packet without its stamps, cut from its bytes: the survey's own record in an Avro container, its stamps null.

Nothing is decoded or encoded again but where an array's blocks begin. Of the schema that stands before the record what it says to
people (``doc``) is left out: in ZTF's that is more than half of it. Many packets at once are cut by ``alerts.avro.lite_batches``.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro

from alerts.avro.packets import Packet, wrap_in_container
from alerts.avro.weigh import Nodes, item_nodes, of_fields, weigh
from alerts.avro.wire_schemas import WriterSchema, writer_schema
from alerts.errors import UndecodablePacket
from alerts.surveys import Survey
from schemas.avro_files import named_types, resolve


class NoLiteForm(ValueError):
    """Packets of a schema that have no such form: one whose stamps cannot be null."""


@dataclass(frozen=True)
class _Field:
    """A field of the packet's record, as far as cutting goes."""

    name: str
    nodes: Nodes
    """By which the bytes of its value are walked over."""
    null: bytes | None
    """The null of its union, as it is encoded; None where it has none."""
    items: Nodes | None
    """Of an array, or of the union of one and null: of its items."""
    array_branch: bytes
    """The index of the array in its union, as it is encoded; empty where it is in none."""


def lite_packet(packet: Packet, survey: Survey, kept: Mapping[str, Sequence[bool]] | None = None) -> bytes:
    """The packet without its stamps, as an Avro container of one record.

    ``kept``: by the packet's field names, which items of arrays stay, where not all do. Raises ``NoLiteForm``, and
    ``UndecodablePacket`` for a packet that is damaged.
    """
    return wrap_in_container(undocumented(packet.schema), lite_datum(packet, survey, kept or {}))


def lite_datum(packet: Packet, survey: Survey, kept: Mapping[str, Sequence[bool]]) -> bytes:
    """The packet's datum without its stamps; see ``lite_packet``."""
    stamps = stamp_fields(survey)
    datum = packet.datum
    parts, begin, at = list[bytes | memoryview](), 0, 0
    for field in _runs(packet.schema, stamps | set(kept)):
        end = _end(datum, at, field.nodes)
        if field.name in stamps:
            parts += [datum[begin:at], _null_of(field, survey)]
            begin = end
        elif field.name in kept and field.items is not None:
            parts += [datum[begin:at], _some_items(datum[at:end], field, kept[field.name])]
            begin = end
        at = end
    parts.append(datum[begin:])
    return b"".join(parts)


def stamp_fields(survey: Survey) -> frozenset[str]:
    """The fields of a survey's packets that stamps are in."""
    return frozenset(path.partition(".")[0] for paths in survey.stamps.values() for path in paths)


@functools.lru_cache(maxsize=64)
def stamp_nulls(schema: WriterSchema, survey: Survey) -> tuple[bytes, ...]:
    """What stands for a null stamp in packets of a schema, field by field. Raises ``NoLiteForm``."""
    return tuple(_null_of(field, survey) for field in _runs(schema, stamp_fields(survey)) if field.name)


def _null_of(field: _Field, survey: Survey) -> bytes:
    if field.null is None:
        raise NoLiteForm(f"the field {field.name} of {survey.name} packets of this schema cannot be null")
    return field.null


@functools.lru_cache(maxsize=64)
def _runs(schema: WriterSchema, wanted: frozenset[str]) -> tuple[_Field, ...]:
    """The fields of a schema's record that are wanted, and between them those that are not, as one."""
    declared, names = schema.declared, named_types(schema.declared)
    if not (isinstance(declared, dict) and declared.get("type") == "record"):
        raise NoLiteForm("the packet's schema is no record")
    found, first = list[_Field](), 0
    members = declared["fields"]
    for number, member in enumerate(members):
        if member["name"] in wanted:
            if number > first:
                found.append(_Field("", of_fields(schema.nodes, first, number - first), None, None, b""))
            found.append(_wanted(schema, number, member["name"], resolve(member["type"], names), names))
            first = number + 1
    return tuple(found)


def _wanted(schema: WriterSchema, number: int, name: str, declared: Any, names: Mapping[str, Any]) -> _Field:
    nodes = of_fields(schema.nodes, number, 1)
    branches = [resolve(branch, names) for branch in declared] if isinstance(declared, list) else [declared]
    null = _long(branches.index("null")) if isinstance(declared, list) and "null" in branches else None
    arrays = [place for place, branch in enumerate(branches) if isinstance(branch, dict) and branch.get("type") == "array"]
    if len(arrays) != 1:
        return _Field(name, nodes, null, None, b"")
    branch = _long(arrays[0]) if isinstance(declared, list) else b""
    return _Field(name, nodes, null, item_nodes(schema.nodes, number, arrays[0] if isinstance(declared, list) else None), branch)


def _end(datum: memoryview, at: int, nodes: Nodes) -> int:
    stop = weigh(datum, at, nodes).stop
    if stop is None:
        raise UndecodablePacket("the alert is cut or damaged")
    return stop


def _some_items(value: memoryview, field: _Field, keep: Sequence[bool]) -> bytes:
    """An array with some of its items, in one block. Raises ``UndecodablePacket`` where it has another number of items."""
    assert field.items is not None
    file = io.BytesIO(value[len(field.array_branch) :])
    if field.array_branch and bytes(value[: len(field.array_branch)]) != field.array_branch:
        return bytes(value)
    spans = list[tuple[int, int]]()
    while count := _read_long(file):
        if count < 0:
            _read_long(file)
            count = -count
        for _ in range(count):
            begin = len(field.array_branch) + file.tell()
            end = _end(value, begin, field.items)
            spans.append((begin, end))
            file.seek(end - len(field.array_branch))
    if len(spans) != len(keep):
        raise UndecodablePacket(f"{field.name} has {len(spans)} items where {len(keep)} were decoded")
    left = [bytes(value[begin:end]) for (begin, end), stays in zip(spans, keep, strict=True) if stays]
    return b"".join([field.array_branch, *([_long(len(left)), *left] if left else []), _long(0)])


def _read_long(file: io.BytesIO) -> int:
    number: Any = fastavro.schemaless_reader(file, "long", None)
    return int(number)


def _long(value: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", value)
    return out.getvalue()


@functools.lru_cache(maxsize=32)
def undocumented(schema: WriterSchema) -> WriterSchema:
    """A schema without what it says to people."""
    return writer_schema(json.dumps(_undocumented(schema.declared), separators=(",", ":")).encode())


def _undocumented(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _undocumented(inner) for name, inner in part.items() if not (name == "doc" and isinstance(inner, str))}
    return [_undocumented(inner) for inner in part] if isinstance(part, Collection) and not isinstance(part, str) else part
