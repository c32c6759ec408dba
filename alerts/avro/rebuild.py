"""Packets written anew of rows of ``{survey}_alerts``, by the survey's own schema of their version.

A table has all that a packet says but where its bytes were divided: arrays into blocks, fields into those that a schema knows.
So the record is the same, and where its stamps are at hand, too, ``packet_digest`` tells whether the bytes are.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro

from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WriterSchema, writer_schema
from alerts.errors import NoPacket
from alerts.surveys import Survey
from schemas import known_schemas


def rebuilt_packet(row: Mapping[str, Any], survey: Survey, stamps: Mapping[str, bytes | None] | None = None) -> Packet:
    """The packet of a row; ``stamps``: its stamps by their role, null where nothing is given. Raises ``NoPacket``."""
    version = row["schema_version"]
    schema = _schema(survey, version)
    if schema is None:
        raise NoPacket(f"there is no schema of {survey.name} version {version}, by which it was written")
    if row.get("extra"):
        raise NoPacket("it has fields that no column takes, and nobody knows where in it they were")
    if lacking := [column.name for column in survey.histories if row.get(column.name) is None]:
        raise NoPacket(f"the warehouse does not have its {lacking[0]}")
    packet = {column.field_name: row[column.name] for column in survey.packet_columns if column.name in row}
    for path in row["null_arrays"] or ():
        put(packet, path, None)
    for role, paths in survey.stamps.items():
        if stamps is None:
            packet[paths[0].partition(".")[0]] = None
        else:
            put(packet, paths[0], stamps.get(role))
    out = io.BytesIO()
    try:
        fastavro.schemaless_writer(out, schema.parsed, packet)
    except Exception as error:  # whatever the schema wants of a value that the row does not have
        raise NoPacket(f"its row cannot be written by the schema of version {version}: {error}") from error
    data = out.getvalue()
    # Not alone: who gets it gets its schema with it.
    return Packet(data, 0, len(data), schema, str(row.get("source") or ""), alone=False)


def put(packet: dict[str, Any], path: str, value: Any) -> None:
    """Put a value at a dotted path; records on the way that are null or absent are made, others copied."""
    *above, name = path.split(".")
    for part in above:
        packet[part] = dict(packet.get(part) or {})
        packet = packet[part]
    packet[name] = value


@functools.cache
def _schema(survey: Survey, version: str) -> WriterSchema | None:
    declared = known_schemas(survey.name).get(version)
    return None if declared is None else writer_schema(json.dumps(declared).encode())
