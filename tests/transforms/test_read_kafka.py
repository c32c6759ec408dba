"""Messages of Kafka to packets: bare datums whose schema is their key, or given."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fastavro
import pytest

from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas, writer_schema
from alerts.errors import DeadLetter
from pipelines.messages import messages
from streams.attributes import from_attributes, to_attributes
from streams.kafka_messages import KafkaMessage
from streams.relayed import relayed, restored
from tests.nights import simulated
from transforms.read_kafka import open_message


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    ztf = simulated(tmp_path_factory.mktemp("ztf"), "--alerts", "4", "--seed", "3")
    lsst = simulated(tmp_path_factory.mktemp("lsst"), "--survey", "lsst", "--alerts", "4", "--seed", "3")
    return [*messages([str(ztf)]), *messages([str(lsst)])]


def parts(container: bytes) -> tuple[bytes, bytes, Packet]:
    """The text of its schema, its datum, and the packet itself."""
    (packet,) = open_packets(container, "s", WireSchemas())
    assert isinstance(packet, Packet)
    return packet.schema.text, bytes(packet.datum), packet


def opened(value: bytes | None, key: bytes | None = None, given: bytes | None = None) -> list[Packet | DeadLetter]:
    message = KafkaMessage("t", 0, 7, value, None, key)
    return list(open_message(message, "c", WireSchemas(), writer_schema(given) if given else None))


@pytest.mark.parametrize("how", ["the key", "given"])
def test_a_bare_datum_is_the_packet_that_its_container_is(containers: list[bytes], how: str) -> None:
    for container in containers:
        schema, datum, packet = parts(container)
        (found,) = opened(datum, schema if how == "the key" else b"ZTF18", None if how == "the key" else schema)
        assert isinstance(found, Packet)
        assert (bytes(found.datum), found.schema, found.source) == (datum, packet.schema, "kafka://c/t/0/7")
        assert found.attributes.get("key") == (None if how == "the key" else "ZTF18")
        # As a dead letter keeps it, it is known again without its key.
        (again,) = open_packets(found.as_sent(), "s", WireSchemas())
        assert isinstance(again, Packet)
        assert (bytes(again.datum), again.schema) == (datum, packet.schema)


def test_a_container_is_one_whatever_the_key_says(containers: list[bytes]) -> None:
    schema, datum, packet = parts(containers[0])
    for key, given in ((schema, None), (b'{"type": "record", "fields": 1}', None), (None, parts(containers[-1])[0])):
        (found,) = opened(containers[0], key, given)
        assert isinstance(found, Packet)
        assert (bytes(found.datum), found.schema) == (datum, packet.schema)


def test_first_bytes_of_a_datum_may_be_those_of_a_wire_message() -> None:
    schema = {
        "type": "record",
        "name": "alert",
        "fields": [{"name": "a", "type": ["null", "long"]}, {"name": "b", "type": "bytes"}],
    }
    file = io.BytesIO()
    fastavro.schemaless_writer(file, schema, {"a": None, "b": b"\0" * 40})
    text = json.dumps(schema).encode()
    assert file.getvalue().startswith(b"\0")
    (by_key,), (by_file,) = opened(file.getvalue(), text), opened(file.getvalue(), None, text)
    assert isinstance(by_key, Packet)
    assert isinstance(by_file, Packet)
    assert by_key.schema == by_file.schema == writer_schema(text)
    (alone,) = opened(file.getvalue())
    assert isinstance(alone, DeadLetter)
    assert "wire schema id" in alone.message


def test_a_key_that_is_no_valid_schema_makes_a_letter_that_has_both(containers: list[bytes]) -> None:
    _, datum, _ = parts(containers[0])
    key = b'{"type": "record", "name": "a", "fields": [{"name": "x", "type": "nonsense"}]}'
    (letter,) = opened(datum, key)
    assert isinstance(letter, DeadLetter)
    assert (letter.stage, letter.payload, letter.attributes["key"]) == ("read", datum, key.decode())
    assert "the schema is not valid Avro" in letter.message
    (nothing,) = opened(None, key)
    assert isinstance(nothing, DeadLetter)


@pytest.mark.parametrize("key", [b'{"objectId": "ZTF18"}', b"ZTF18", b"", b"\xff{", b'["record", "fields"]'])
def test_another_key_is_none(containers: list[bytes], key: bytes) -> None:
    _, datum, _ = parts(containers[0])
    (letter,) = opened(b"\x02" + datum, key)
    assert isinstance(letter, DeadLetter)
    assert "neither an Avro container, a wire message nor an archive" in letter.message


def test_a_schema_as_key_goes_through_pubsub(containers: list[bytes]) -> None:
    """Of Rubin's it is several times what attributes hold."""
    schema, datum, _ = parts(containers[-1])
    assert len(schema) > 10_000
    message = KafkaMessage("t", 0, 7, datum, None, schema * 10)
    attributes = to_attributes(relayed(message, "c"))
    assert restored(from_attributes(datum, attributes)) == ("c", message)


def test_real_packets_that_spark_has_rewritten_as_bare_datums(real_data: Path) -> None:
    files = sorted((real_data / "lsst" / "spark_rewritten").rglob("*.avro"))[:2]
    assert files
    for file in files:
        for packet in open_packets(file.read_bytes(), "s", WireSchemas()):
            assert isinstance(packet, Packet)
            (found,) = opened(bytes(packet.datum), packet.schema.text)
            assert isinstance(found, Packet)
            assert (bytes(found.datum), found.schema) == (bytes(packet.datum), packet.schema)
