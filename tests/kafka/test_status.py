"""How far a stream is behind what is in Kafka, as ``broker stream status`` tells it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from broker import cli
from pipelines.ingest import run
from tests.kafka.topics import TestTopics


def test_lag_is_told_in_messages_and_minutes(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, place = kafka.make(kafka.name()), str(tmp_path / "w")
    kafka.send(topic, packets[:8])
    source = ["--kafka", kafka.servers, "--kafka_topic", topic, "--kafka_group", "status"]
    assert run([*source, "--warehouse", place, "--once"]) == 0
    status = ["stream", "status", "--warehouse", place, "--kafka", kafka.servers]
    capsys.readouterr()
    assert cli.main(status) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "group status of Kafka"
    assert "  lag          0 messages" in lines
    kafka.send(topic, packets[:3])
    assert cli.main([*status, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["topic"], one["done"], one["end"], bool(one["oldest_at"])) for one in told["lags"]["status"]] == [
        *[(topic, 2, 3, True)] * 3,
        (topic, 2, 2, False),
    ]
    assert cli.main(status) == 0
    said = capsys.readouterr().out
    assert "  lag          3 messages, the oldest 0.0 min old\n" in said
    assert f"    {topic}/2: 1 messages, 0.0 min (at 2 of 3)\n" in said


def test_a_kafka_that_does_not_answer_is_told(tmp_path: Path, kafka: TestTopics, capsys: pytest.CaptureFixture[str]) -> None:
    topic, place = kafka.make(kafka.name(), 1), str(tmp_path / "w")
    source = ["--kafka", kafka.servers, "--kafka_topic", topic, "--kafka_group", "away"]
    assert run([*source, "--warehouse", place, "--once"]) == 0
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{held.getsockname()[1]}"
        assert cli.main(["stream", "status", "--warehouse", place, "--kafka", nobody]) == 1
    assert f"broker stream: Kafka at {nobody} does not answer within" in capsys.readouterr().err
