"""``alert_ingestion.stream_ingest_alerts`` on Kafka: a topic by a call, and what all its rounds have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import alert_ingestion
from pipelines.errors import OptionsError
from tests.kafka.test_rounds import expected, sources
from tests.kafka.topics import TestTopics


def test_a_topic_is_ingested_and_the_next_call_goes_on(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(alert_ingestion.WAREHOUSE, str(tmp_path / "w"))
    topic = kafka.make(kafka.name())
    kafka.send(topic, [*packets[:20], b"no alert"])
    flags = {"kafka": kafka.servers, "kafka_topic": topic, "kafka_group": "notebook"}
    counts = alert_ingestion.stream_ingest_alerts(**flags, options=["--once", "--round_mb", "1"])
    assert (counts.records_read, counts.alerts, counts.letters) == (21, 20, 1)
    assert counts.rounds >= 2
    kafka.send(topic, packets[21:24])
    counts = alert_ingestion.stream_ingest_alerts(**flags, stop_after_secs=4, options=["--every_secs", "0.2"])
    assert (counts.records_read, counts.alerts, counts.rounds) == (3, 3, 1)
    assert sum(sources(str(tmp_path / "w")).values()) == 24
    assert not expected(kafka, topic, range(21)) - sources(str(tmp_path / "w"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kafka": "h:1"}, "give kafka_topic and kafka_group, too"),
        ({"kafka_topic": "t"}, "kafka_topic is given, but no kafka"),
        ({"stop_after_secs": 3.0}, "stop_after_secs is given, but no kafka"),
        ({"kafka": "h:1", "kafka_topic": "t", "kafka_group": "g", "max_alerts": 3}, "max_alerts is for files"),
        ({"kafka": "h:1", "kafka_topic": "(", "kafka_group": "g"}, "is no regular expression"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict, told: str, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=told):
        alert_ingestion.stream_ingest_alerts(**arguments, warehouse=str(tmp_path / "w"))
