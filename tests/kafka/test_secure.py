"""A Kafka that asks who comes: TLS and SASL by a file of settings, whose values appear nowhere, and rights of groups."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import cli
from pipelines.ingest import run
from tests.emulators import kafka_server
from tests.kafka.topics import TestTopics
from warehouses import at

PASSWORD = "hunter2-and-more"
TOPIC, WRITABLE = "secured", "writable"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, packets: list[bytes]) -> Iterator[kafka_server.KafkaServer]:
    if why := kafka_server.missing():
        pytest.skip(why)
    with kafka_server.KafkaServer(tmp_path_factory.mktemp("secure"), users={"alice": PASSWORD}) as started:
        topics = TestTopics(started.servers)
        topics.scram("alice", PASSWORD)
        topics.allow("alice", "alice-", writes=WRITABLE)
        topics.send(topics.make(TOPIC), packets[:8])
        topics.make(WRITABLE)
        yield started


MECHANISMS = {
    "PLAIN": {"sasl.username": "alice", "sasl.password": PASSWORD},
    "SCRAM-SHA-512": {"sasl.username": "alice", "sasl.password": PASSWORD},
    "OAUTHBEARER": {
        "enable.sasl.oauthbearer.unsecure.jwt": "true",
        "sasl.oauthbearer.config": "principal=alice extension_traceId=hunter2-and-more",
    },
}


def settings(server: kafka_server.KafkaServer, folder: Path, mechanism: str, **others: str) -> str:
    """A file of settings for a client."""
    found = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(server.certificate),
        "sasl.mechanism": mechanism,
        **MECHANISMS[mechanism],
        **{name.replace("_", "."): value for name, value in others.items()},
    }
    file = folder / f"{mechanism}.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in found.items()))
    return str(file)


def words(server: kafka_server.KafkaServer, place: Path, file: str, group: str = "alice-1", topic: str = TOPIC) -> list[str]:
    source = ["--kafka", server.secure_servers, "--kafka_topic", topic, "--kafka_group", group, "--kafka_config", file]
    return [*source, "--warehouse", str(place), "--once", "--every_secs", "0.2"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_stream_by_tls_and_sasl_and_nothing_of_its_file_is_told(
    server: kafka_server.KafkaServer,
    tmp_path: Path,
    mechanism: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "w"
    with caplog.at_level(logging.DEBUG):
        assert run(words(server, place, settings(server, tmp_path, mechanism), f"alice-{mechanism}")) == 0
    out, err = capfd.readouterr()
    assert "round 1: 8 messages, 8 alerts" in out
    assert PASSWORD not in out + err + caplog.text
    with at(str(place)) as opened:
        for table in ("runs", "offsets", "dead_letters", "ztf_alerts"):
            assert PASSWORD not in str(opened.query(f"SELECT * FROM {table}").to_pylist())
    for file in place.rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file


def test_who_is_not_let_in_is_told_so_within_seconds_without_the_password(
    server: kafka_server.KafkaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = settings(server, tmp_path, "SCRAM-SHA-512", sasl_password="not-hunter2-but-wrong")
    assert run(words(server, tmp_path / "w", wrong)) == 2
    err = capsys.readouterr().err
    assert "Authentication failed" in err
    assert "wrong" not in err.replace(str(tmp_path), "")
    # A certificate that nobody has vouched for.
    other = settings(server, tmp_path, "PLAIN", ssl_ca_location=str(next(Path("/etc/ssl/certs").glob("*.crt"), Path(os.devnull))))
    assert run(words(server, tmp_path / "w", other)) == 2
    assert "ssl" in capsys.readouterr().err.lower()
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("topic", [TOPIC, "comes-later.*"])
def test_a_group_that_kafka_refuses_ends_the_start_in_a_sentence(
    server: kafka_server.KafkaServer, tmp_path: Path, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings(server, tmp_path, "PLAIN")
    assert run(words(server, tmp_path / "w", file, "bob-1", topic)) == 2
    err = capsys.readouterr().err
    assert "group bob-1" in err
    assert "Group authorization failed" in err
    source = ["--kafka", server.secure_servers, "--kafka_topic", topic, "--kafka_group", "bob-1", "--kafka_config", file]
    assert cli.main(["relay", *source, "--publish", f"folder:{tmp_path}", "--once"]) == 2
    assert "Group authorization failed" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_who_may_not_write_is_told(server: kafka_server.KafkaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = settings(server, tmp_path, "PLAIN")
    packet = tmp_path / "night" / "1.avro"
    packet.parent.mkdir()
    packet.write_bytes(b"Obj\x01")
    address = f"kafka:{server.secure_servers}/{TOPIC}?config={file}"
    assert cli.main(["publish", "--input", str(packet.parent), "--to", address]) == 1
    err = capsys.readouterr().err
    assert f"Kafka refuses messages for {TOPIC}" in err
    assert "authorization failed" in err
    assert PASSWORD not in err
    assert cli.main(["publish", "--input", str(packet.parent), "--to", address.replace(TOPIC, WRITABLE)]) == 0
    out, err = capsys.readouterr()
    assert f"published 1 messages (0.0 MB) to kafka:{server.secure_servers}/{WRITABLE}" in out
    assert file not in out + err
