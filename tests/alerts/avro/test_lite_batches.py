"""Many packets cut at once are what each is by itself, whatever stands among them."""

from __future__ import annotations

import random

import pytest

from alerts.avro.lite import NoLiteForm, lite_packet
from alerts.avro.lite_batches import lite_packets
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import writer_schema
from alerts.errors import UndecodablePacket
from alerts.surveys import survey
from tests.alerts.avro.test_lite import ARCHIVES, packets
from tests.conftest import RealData
from tests.nights import simulated


def alone(packet: Packet, name: str) -> bytes | None:
    try:
        return lite_packet(packet, survey(name))
    except (NoLiteForm, UndecodablePacket):
        return None


def check(some: list[Packet], name: str) -> list[bytes | None]:
    found: list[bytes | None] = lite_packets(some, survey(name)).to_pylist()
    assert found == [alone(packet, name) for packet in some]
    return found


@pytest.fixture(scope="module", params=["ztf", "lsst"])
def night(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Packet]]:
    folder = simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--seed", "5", "--survey", request.param)
    return request.param, packets(next(folder.glob("*.tar.gz")))


def test_a_batch_is_what_each_is_alone(night: tuple[str, list[Packet]]) -> None:
    name, some = night
    assert None not in check(some, name)
    assert check(some[:1], name) == check(some, name)[:1]
    assert lite_packets([], survey(name)).to_pylist() == []


def test_damaged_packets_leave_their_neighbours_alone(night: tuple[str, list[Packet]]) -> None:
    name, some = night
    chance, mixed = random.Random(7), list(some)
    for number in chance.sample(range(len(mixed)), 15):
        packet = mixed[number]
        mixed[number] = packet._replace(stop=chance.randrange(packet.start, packet.stop))
    found = check(mixed, name)
    assert 0 < found.count(None) <= 15
    assert any(item is not None for item in found)


def test_whatever_bytes_say_it_is_as_alone(night: tuple[str, list[Packet]]) -> None:
    name, some = night
    chance, mixed = random.Random(11), []
    for packet in some:
        data = bytearray(packet.data)
        for _ in range(3):
            data[chance.randrange(packet.start, packet.stop)] = chance.randrange(256)
        mixed.append(packet._replace(data=bytes(data)))
    check(mixed, name)


def test_packets_among_others_of_a_container_and_of_other_schemas(night: tuple[str, list[Packet]]) -> None:
    name, some = night
    first = some[0]
    # As one among others of a container: the datum stands anywhere in its bytes.
    among = [
        packet._replace(data=bytes(7) + bytes(packet.datum) + b"zz", start=7, stop=7 + len(packet.datum), alone=False)
        for packet in some
    ]
    other = writer_schema(b'{"type": "record", "name": "ztf.alert", "fields": [{"name": "cutoutScience", "type": "bytes"}]}')
    strange = Packet(b"\x02a", 0, 2, other, "here")
    found = check([*among[:5], strange, first, *among[5:9], strange], name)
    assert [number for number, item in enumerate(found) if item is None] == [5, 11]
    assert found[:5] == check(some[:5], name)


@pytest.mark.parametrize(("archive", "name"), ARCHIVES)
def test_real_packets(archive: str, name: str, real_data: RealData) -> None:
    assert any(item is not None for item in check(packets(real_data / archive), name))
