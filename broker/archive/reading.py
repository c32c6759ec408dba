"""The alerts in a packed night, front to back.

An alert is a packet that fastavro can read to its end and that has a whole number as its ``candid``. All else in a night,
but folders and side files, is damage: skipped, and told.
"""

from __future__ import annotations

import itertools
import logging
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.compute as pc

from alerts.avro.archives import READ_ERRORS, is_alert_name, read_member, walk_tar
from alerts.avro.columns import decode_columns
from alerts.avro.layout import layout_of
from alerts.avro.packets import Packet, open_packets
from alerts.avro.records import Record, read_datum
from alerts.avro.unpack import gunzip
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import UndecodablePacket, UnreadableInput, shortened
from alerts.limits import MAX_MEMBER_BYTES
from alerts.surveys import SURVEYS

_BATCH = 64
_NAMED = 5
"""Damaged members that a warning names."""
_DAMAGE: tuple[type[Exception], ...] = (UnreadableInput, *READ_ERRORS)
_log = logging.getLogger("broker.ztf_archive")


@dataclass(frozen=True, slots=True)
class Stored:
    """A packet in a night, its bytes as stored, and where it is: bytes in the unpacked tar, record in the member."""

    packet: Packet
    raw: bytes
    member: str
    offset_bytes: int
    size_bytes: int
    record: int


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is no alert, and why."""

    what: str
    reason: str


def stored_packets(file: BinaryIO) -> Iterator[Stored | Damage]:
    """All packets of a ``.tar.gz`` in order. Never raises for what it holds: what cannot be read on is one ``Damage``."""
    name = None
    try:
        # Real nights end without an end mark; the checksum at the end of the gzip stream shows whether something is missing.
        for member, content in walk_tar(gunzip(file), end_mark=False):
            name = member.name
            if not member.is_file or not is_alert_name(name):
                continue
            if member.size_bytes > MAX_MEMBER_BYTES:
                yield Damage(name, f"it claims {member.size_bytes:,} bytes; the limit is {MAX_MEMBER_BYTES:,}")
                continue
            data = read_member(member, content)
            yield from packets_of(data, name, member.offset_bytes)
    except _DAMAGE as error:
        yield Damage(f"what comes after {name}" if name else "the whole archive", str(error))


def packets_of(data: bytes, member: str, offset_bytes: int) -> Iterator[Stored | Damage]:
    """The packets of one member."""
    items = list(open_packets(data, member, _NO_WIRE_SCHEMAS))
    for record, item in enumerate(items):
        if isinstance(item, Packet):
            # One among several in a member comes as a packet of its own.
            raw = data if len(items) == 1 else item.as_sent()
            yield Stored(item, raw, member, offset_bytes, len(data), record)
        else:
            yield Damage(member, item.message)


_NO_WIRE_SCHEMAS = WireSchemas()


def record_of(packet: Packet) -> Record:
    """The alert as fastavro gives it. Raises ``UndecodablePacket`` when it is none."""
    try:
        record = read_datum(packet)
    except Exception as error:  # fastavro has no base class for what damaged bytes make it raise
        raise UndecodablePacket(shortened(f"{type(error).__name__}: {error}")) from error
    if type(record.get("candid")) is not int:
        raise UndecodablePacket(f"its candid is {record.get('candid')!r}")
    return record


def with_candids(items: Iterable[Stored | Damage]) -> Iterator[tuple[Stored, int] | Damage]:
    """Each packet with its candid, or what is wrong with it; many packets at once, without making Python records of them."""
    waiting = iter(items)
    while batch := list(itertools.islice(waiting, _BATCH)):
        packets = [item.packet for item in batch if isinstance(item, Stored)]
        known = iter([candid for _, group in itertools.groupby(packets, _schema_of) for candid in _candids(list(group))])
        for item in batch:
            if isinstance(item, Damage):
                yield item
                continue
            candid = next(known)
            yield Damage(item.member, candid) if isinstance(candid, str) else (item, candid)


def _schema_of(packet: Packet) -> bytes:
    return packet.schema.text


def _candids(packets: list[Packet]) -> list[int | str]:
    """For packets of one schema their candids; instead of one that is no alert, why not."""
    try:
        columns = decode_columns(packets, layout_of(packets[0].schema, SURVEYS["ztf"]))
        candids = iter(pc.struct_field(columns.packet, "candid").to_pylist())
        found = [next(candids) if good else None for good in columns.good.tolist()]
    except Exception:  # a schema that is unusual in whatever way: fastavro reads its packets, or says what is wrong
        found = [None] * len(packets)
    return [_judged(packet) if candid is None else candid for packet, candid in zip(packets, found, strict=True)]


def _judged(packet: Packet) -> int | str:
    try:
        return int(record_of(packet)["candid"])
    except UndecodablePacket as error:
        return str(error)


def iter_archive(path: Path, raw: bool) -> Iterator[Any]:
    """The alerts of a night: records as fastavro gives them, or the packets' bytes as stored. The same ones in both cases.

    What is damaged is left out, and counted and named in one warning when the night ends or is abandoned.
    """
    damaged: list[Damage] = []
    try:
        with path.open("rb") as file:
            for packet in _raw(stored_packets(file)) if raw else _records(stored_packets(file)):
                if isinstance(packet, Damage):
                    damaged.append(packet)
                else:
                    yield packet
    finally:
        warn_of(path.name, damaged)


def _raw(items: Iterable[Stored | Damage]) -> Iterator[bytes | Damage]:
    for stored in with_candids(items):
        yield stored if isinstance(stored, Damage) else stored[0].raw


def _records(items: Iterable[Stored | Damage]) -> Iterator[Record | Damage]:
    for item in items:
        if isinstance(item, Stored):
            try:
                yield record_of(item.packet)
            except UndecodablePacket as error:
                yield Damage(item.member, str(error))
        else:
            yield item


def warn_of(name: str, damaged: list[Damage]) -> None:
    """Log how many members of a night were skipped, and which."""
    if damaged:
        named = "; ".join(f"{gap.what} ({textwrap.shorten(gap.reason, 120)})" for gap in damaged[:_NAMED])
        more = f"; and {len(damaged) - _NAMED} more" if len(damaged) > _NAMED else ""
        _log.warning("%s: skipped %d that cannot be read: %s%s", name, len(damaged), named, more)
