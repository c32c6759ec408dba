"""What hits carry: whatever was cut, nothing leaves for a public place that is not public."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest

from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import survey
from schemas import known_schemas
from simulation import simulate_packets
from streams.payloads import NotPublic, public_lite


def private_second() -> tuple[Packet, int]:
    """A packet of whose history the second item is not public, and how many it has."""
    for made in simulate_packets(survey="ztf", alerts=20, seed=4):
        (record,) = fastavro.reader(io.BytesIO(made.data))
        if len(record["prv_candidates"] or ()) > 2:
            record["prv_candidates"][1]["programid"] = 2
            out = io.BytesIO()
            fastavro.writer(out, known_schemas("ztf")["4.02"], [record])
            (packet,) = open_packets(out.getvalue(), "one.avro", WireSchemas())
            assert isinstance(packet, Packet)
            return packet, len(record["prv_candidates"])
    raise AssertionError("no packet has so long a history")


def without(place: int, number: int) -> dict[str, Any]:
    return {"prv_candidates": [each != place for each in range(number)]}


def test_items_that_are_not_public_are_cut_out() -> None:
    packet, number = private_second()
    (record,) = fastavro.reader(io.BytesIO(public_lite(packet, survey("ztf"), without(1, number))))
    assert {item["programid"] for item in record["prv_candidates"]} == {1}
    assert len(record["prv_candidates"]) == number - 1
    assert record["cutoutScience"] is None


def test_what_was_cut_wrongly_or_not_at_all_does_not_leave() -> None:
    packet, number = private_second()
    for kept in ({}, without(0, number), {"no_such_history": [False]}, without(1, number + 1)):
        with pytest.raises(NotPublic, match="cannot be cut out"):
            public_lite(packet, survey("ztf"), kept)
