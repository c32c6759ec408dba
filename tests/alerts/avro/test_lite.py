"""Packets without their stamps: cut from their bytes, read by whoever reads the survey's packets, and nothing else lost."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fastavro
import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.lite import NoLiteForm, lite_packet
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas, writer_schema
from alerts.errors import UndecodablePacket
from alerts.surveys import survey
from tests.conftest import RealData
from tests.nights import simulated

ARCHIVES = [
    ("ztf/nightly/ztf_public_20231012.tar.gz", "ztf"),
    ("ztf/nightly/ztf_public_20240715.tar.gz", "ztf"),
    ("ztf/nightly/ztf_public_20180626.tar.gz", "ztf"),
    ("lsst/nightly/lsst_20260310_v10_0.tar.gz", "lsst"),
    ("lsst/nightly/lsst_test_v7_4.tar.gz", "lsst"),
]
STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def packets(path: Path, most: int | None = None) -> list[Packet]:
    with path.open("rb") as file:
        return [item for item in read_input(file, path.name, WireSchemas()) if isinstance(item, Packet)][:most]


def record(container: bytes) -> dict[str, Any]:
    (found,) = fastavro.reader(io.BytesIO(container))
    return found


def as_read(packet: Packet) -> dict[str, Any]:
    return fastavro.schemaless_reader(io.BytesIO(packet.datum), packet.schema.parsed, None)


def check(some: list[Packet], name: str) -> None:
    assert some
    for packet in some:
        whole, lite = as_read(packet), record(lite_packet(packet, survey(name)))
        # By their texts: NaN is not NaN.
        assert {field: repr(value) for field, value in lite.items()} == {
            field: repr(None if field in STAMPS else value) for field, value in whole.items()
        }


@pytest.mark.parametrize("name", ["ztf", "lsst"])
def test_simulated_packets_lose_their_stamps_and_nothing_else(name: str, tmp_path: Path) -> None:
    folder = simulated(tmp_path, "--alerts", "40", "--seed", "3", "--survey", name)
    check(packets(next(folder.glob("*.tar.gz"))), name)


@pytest.mark.parametrize(("archive", "name"), ARCHIVES)
def test_real_packets_lose_their_stamps_and_nothing_else(archive: str, name: str, real_data: RealData) -> None:
    check(packets(real_data / archive), name)


def test_it_decodes_as_the_packet_does_but_for_its_stamps(tmp_path: Path) -> None:
    folder = simulated(tmp_path, "--alerts", "20", "--seed", "3")
    some, facts = packets(next(folder.glob("*.tar.gz"))), survey("ztf")
    lite = [item for packet in some for item in read_input(io.BytesIO(lite_packet(packet, facts)), "lite", WireSchemas())]
    before, after = (decode(each, survey=facts).rows["ztf"] for each in (some, lite))
    for column in facts.packet_columns:
        if column.field_name in STAMPS:
            continue
        assert before.column(column.name).to_pylist() == after.column(column.name).to_pylist()
    assert after.column("science").null_count == 20
    assert sum(map(len, (lite_packet(packet, facts) for packet in some))) < 0.4 * sum(len(packet.data) for packet in some)


def test_items_of_a_history_can_be_left_out(tmp_path: Path) -> None:
    folder = simulated(tmp_path, "--alerts", "40", "--seed", "3")
    facts = survey("ztf")
    for packet in packets(next(folder.glob("*.tar.gz"))):
        whole = as_read(packet)
        history = whole["prv_candidates"]
        if not history:
            continue
        for keep in ([number % 2 == 0 for number in range(len(history))], [False] * len(history), [True] * len(history)):
            lite = record(lite_packet(packet, facts, {"prv_candidates": keep}))
            assert lite["prv_candidates"] == [item for item, stays in zip(history, keep, strict=True) if stays]
            assert lite["candidate"] == whole["candidate"]
            assert lite.get("fp_hists") == whole.get("fp_hists")
        with pytest.raises(UndecodablePacket, match=f"has {len(history)} items where {len(history) + 1} were decoded"):
            lite_packet(packet, facts, {"prv_candidates": [True] * (len(history) + 1)})


def test_arrays_in_several_blocks_and_with_their_sizes_are_read() -> None:
    text = (
        b'{"type": "record", "name": "ztf.alert", "fields": [{"name": "a", "type": "long"}, {"name": "prv_candidates", "type": '
        b'{"type": "array", "items": {"type": "record", "name": "item", "fields": [{"name": "x", "type": "string"}]}}}, '
        b'{"name": "cutoutScience", "type": ["bytes", "null"]}]}'
    )
    items = [b"\x02a", b"\x04bb", b"\x06ccc"]
    several = b"\x02" + items[0] + b"\x03\x0e" + items[1] + items[2] + b"\x00"
    datum = b"\x0e" + several + b"\x00\x04zz"
    packet = Packet(datum, 0, len(datum), writer_schema(text), "here")
    assert record(lite_packet(packet, survey("ztf"), {"prv_candidates": [False, True, True]})) == {
        "a": 7,
        "prv_candidates": [{"x": "bb"}, {"x": "ccc"}],
        "cutoutScience": None,
    }


def test_stamps_that_cannot_be_null_have_no_such_form() -> None:
    text = b'{"type": "record", "name": "ztf.alert", "fields": [{"name": "cutoutScience", "type": "bytes"}]}'
    with pytest.raises(NoLiteForm, match="the field cutoutScience of ztf packets of this schema cannot be null"):
        lite_packet(Packet(b"\x02a", 0, 2, writer_schema(text), "here"), survey("ztf"))


def test_a_packet_that_is_cut_is_told(tmp_path: Path) -> None:
    folder = simulated(tmp_path, "--alerts", "2", "--seed", "3")
    packet = packets(next(folder.glob("*.tar.gz")))[0]
    with pytest.raises(UndecodablePacket):
        lite_packet(packet._replace(stop=packet.start + 500), survey("ztf"))
