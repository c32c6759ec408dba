"""Packets out of files, to be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.records import read_datum
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from alerts.surveys import identify, survey
from broker.pictures.packets import NoPicture, first


def packet_of_file(path: str, alert_id: int | None = None) -> dict[str, Any]:
    """The first packet in a file (a container, a wire message, an archive), or the one of that alert id, decoded.

    Raises ``NoPicture`` when the file holds no such packet, ``AlertError`` when it is damaged, ``OSError``.
    """
    return picked(path, alert_id)[0]


def picked(path: str, alert_id: int | None, named: str | None = None) -> tuple[dict[str, Any], str]:
    """The packet of ``packet_of_file``, and its survey: the one named, else as its schema tells."""
    with Path(path).open("rb") as file:
        fault = ""
        for item in read_input(file, path, WireSchemas()):
            if isinstance(item, DeadLetter):
                fault = fault or f" ({item.source}: {item.message})"
            if not isinstance(item, Packet):
                continue
            facts = survey(named) if named else identify(item.schema.declared)
            record = _record(item)
            if alert_id is None or first(record, facts.alert_id) == alert_id:
                return record, facts.name
    raise NoPicture(f"{path} holds no {'packet' if alert_id is None else f'packet of alert {alert_id}'}{fault}")


def _record(packet: Packet) -> dict[str, Any]:
    try:
        return read_datum(packet)
    except Exception as error:  # fastavro has no base class for what damaged bytes make it raise
        raise NoPicture(f"{packet.source} cannot be decoded ({type(error).__name__}: {error})") from error
