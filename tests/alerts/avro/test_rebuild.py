"""Packets written anew of rows: the same record, and with its stamps the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from alerts.avro.decode import decode
from alerts.avro.envelope import digest_of
from alerts.avro.inputs import read_input
from alerts.avro.lite import lite_packet
from alerts.avro.packets import Packet, open_packets
from alerts.avro.rebuild import rebuilt_packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import NoPacket
from alerts.surveys import survey
from schemas.tables import CUTOUTS
from simulation import simulate_packets
from tests.conftest import RealData


def made_up(name: str) -> list[Packet]:
    found = [open_packets(packet.data, "night", WireSchemas()) for packet in simulate_packets(survey=name, alerts=20, seed=4)]
    return [packet for some in found for packet in some if isinstance(packet, Packet)]


def of_file(path: Path) -> list[Packet]:
    with path.open("rb") as file:
        return [packet for packet in read_input(file, str(path), WireSchemas()) if isinstance(packet, Packet)]


def rebuilt(packets: list[Packet], name: str) -> Iterator[tuple[Packet, Packet, Packet]]:
    """Packets as they came, and written anew with their stamps and without."""
    facts = survey(name)
    by_digest = {digest_of(packet): packet for packet in packets}
    for row in decode(packets, survey=facts).rows[name].to_pylist():
        stamps = {role: row[role] for role in CUTOUTS}
        yield by_digest[row["packet_digest"]], rebuilt_packet(row, facts, stamps), rebuilt_packet(row, facts)


def record(payload: bytes) -> Any:
    (found,) = fastavro.reader(io.BytesIO(payload))
    return found


@pytest.mark.parametrize("name", ["ztf", "lsst"])
def test_simulated_packets_are_the_same_bytes(name: str) -> None:
    found = [*rebuilt(made_up(name), name)]
    assert len(found) == 20
    for came, whole, without in found:
        assert digest_of(whole) == digest_of(came)
        # NaN is not NaN, but is written so.
        assert repr(record(lite_packet(without, survey(name)))) == repr(record(lite_packet(came, survey(name))))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("ztf", "ztf/nightly/ztf_public_20231012.tar.gz"),
        ("ztf", "ztf/nightly/ztf_public_20200202.tar.gz"),
        ("lsst", "lsst/**/*.avro"),
    ],
)
def test_real_packets_are_the_same_record(name: str, pattern: str, real_data: RealData) -> None:
    packets = of_file(real_data.glob(pattern)[0])
    assert packets
    same = 0
    for came, whole, without in rebuilt(packets, name):
        assert repr(record(lite_packet(without, survey(name)))) == repr(record(lite_packet(came, survey(name))))
        same += digest_of(whole) == digest_of(came)
    assert same == len(packets)


def test_what_a_row_does_not_have_is_told() -> None:
    facts = survey("ztf")
    row = decode(made_up("ztf")[:1]).rows["ztf"].to_pylist()[0]
    for change, told in (
        ({"schema_version": "0.1"}, "there is no schema of ztf version 0.1"),
        ({"extra": '{"candidate.new": 1}'}, "fields that no column takes"),
        ({"prv_candidates": None}, "the warehouse does not have its prv_candidates"),
        ({"candidate": None}, "its row cannot be written by the schema of version"),
    ):
        with pytest.raises(NoPacket, match=told):
            rebuilt_packet({**row, **change}, facts)
