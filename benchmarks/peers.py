"""Other people's clients, each used on packets in memory as its documentation shows. Install them with ``.[bench]``.

What gives dictionaries has done less than we do, whose result is Arrow columns with the broker's own beside them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alerts.avro.packets import Packet
from benchmarks.contenders import Decoder, opened

INSTALL = "pip install --constraint constraints.txt '.[bench]'"
_WIRE_IDS_PER_MAJOR = 100
"""Rubin's schema id of version 10.0 is 1000."""


def peers(survey: str, packets: Sequence[bytes], folder: Path) -> tuple[dict[str, Decoder], list[str]]:
    """Decoders by name, for packets like these, and a sentence about each peer that is not installed.

    ``folder`` is for peers that read files and nothing else.
    """
    found: dict[str, Decoder] = {}
    missing: list[str] = []
    for package, module, add in (
        ("pittgoogle-client", "pittgoogle", _pittgoogle),
        ("fink-client", "fink_client.consumer", _fink),
        ("lsst-alert-packet", "lsst.alert.packet", _lsst),
    ):
        try:
            # Some say things to standard output when they are imported.
            with contextlib.redirect_stdout(io.StringIO()):
                library = importlib.import_module(module)
        except ImportError:
            missing.append(f"{package} is not installed and was not measured: {INSTALL}")
            continue
        logging.getLogger(module.partition(".")[0]).setLevel(logging.ERROR)
        found.update(add(library, survey, packets, folder))
    return found, missing


def _pittgoogle(pittgoogle: Any, survey: str, packets: Sequence[bytes], folder: Path) -> dict[str, Decoder]:
    """Alerts as Pub/Sub messages: ZTF's are containers, Rubin's are in wire format, whose schema it loads from its files."""
    message = pittgoogle.types_.PubsubMessageLike
    sent = {data: data if survey == "ztf" else _as_wire(packet) for data, packet in zip(packets, opened(packets), strict=True)}

    def alerts(packets: Sequence[bytes]) -> list[Any]:
        return [pittgoogle.Alert.from_msg(message(data=sent[data]), schema_name=survey) for data in packets]

    def dictionaries(packets: Sequence[bytes]) -> int:
        return sum(1 for alert in alerts(packets) if alert.dict)

    def frames(packets: Sequence[bytes]) -> int:
        return sum(1 for alert in alerts(packets) if len(alert.dataframe))

    return {"pittgoogle-client, Alert.dict": dictionaries, "pittgoogle-client, Alert.dataframe": frames}


def _as_wire(packet: Packet) -> bytes:
    major, _, minor = (packet.schema.version or "").partition(".")
    number = int(major) * _WIRE_IDS_PER_MAJOR + int(minor)
    return b"\0" + number.to_bytes(4, "big") + bytes(packet.datum)


class _Message:
    """What ``AlertConsumer.process_message`` asks of a Kafka message."""

    def __init__(self, packet: Packet) -> None:
        self._key, self._value = packet.schema.text, bytes(packet.datum)

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "alerts"

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value


def _fink(consumer: Any, survey: str, packets: Sequence[bytes], folder: Path) -> dict[str, Decoder]:
    """Fink's messages carry the schema as their key; its files are containers."""
    # Without __init__, which looks for a Kafka broker.
    receiver = object.__new__(consumer.AlertConsumer)
    receiver.dump_schema, receiver.schema_path = False, None
    messages = {data: _Message(packet) for data, packet in zip(packets, opened(packets), strict=True)}
    paths = {data: folder / f"{number:05d}.avro" for number, data in enumerate(packets)}
    for data, path in paths.items():
        path.write_bytes(data)
    reader: Callable[[list[str]], Any] = importlib.import_module("fink_client.avro_utils").AlertReader

    def received(packets: Sequence[bytes]) -> int:
        return sum(1 for data in packets if receiver.process_message(messages[data])[1])

    def read(packets: Sequence[bytes]) -> int:
        return len(reader([str(paths[data]) for data in packets]).to_list())

    return {"fink-client, AlertConsumer": received, "fink-client, AlertReader (files)": read}


def _lsst(packet: Any, survey: str, packets: Sequence[bytes], folder: Path) -> dict[str, Decoder]:
    """Containers by ``retrieve_alerts``; Rubin's wire messages by a ``Schema`` made once."""

    def retrieved(packets: Sequence[bytes]) -> int:
        return sum(1 for data in packets for _ in packet.retrieve_alerts(io.BytesIO(data))[1])

    if survey != "lsst":
        return {"lsst-alert-packet, retrieve_alerts": retrieved}
    datums = {data: bytes(packet.datum) for data, packet in zip(packets, opened(packets), strict=True)}
    schema = packet.Schema(opened(packets[:1])[0].schema.parsed)

    def deserialized(packets: Sequence[bytes]) -> int:
        return sum(1 for data in packets if schema.deserialize(datums[data]))

    return {"lsst-alert-packet, retrieve_alerts": retrieved, "lsst-alert-packet, Schema.deserialize": deserialized}
