"""Rounds into a bucket and into BigQuery: each message once, also where a round dies between its commits."""

from __future__ import annotations

from collections import Counter

import pytest

from pipelines import rounds
from pipelines.ingest import run
from tests.emulators.cloud import Cloud
from tests.kafka.test_rounds import expected, sources, words
from tests.kafka.topics import TestTopics
from warehouses.bigquery import unit_streams


def place_of(cloud: Cloud, kind: str) -> tuple[str, tuple[str, ...]]:
    """A warehouse, and the flags by which it is written."""
    if kind == "bucket":
        return cloud.folder(), ()
    loads = ("--write_method", "file_loads", "--temp_location", f"{cloud.bucket}/loads") if kind == "loads" else ()
    return f"bigquery://{cloud.project}/{cloud.dataset()}", loads


def flags(kafka: TestTopics, place: str, topic: str, *others: str) -> list[str]:
    return [word for word in words(kafka, place, topic, "--once", *others) if word not in ("--every_secs", "0.2")]


@pytest.mark.parametrize("kind", ["bucket", "bigquery", "loads"])
def test_rounds_of_every_warehouse(kafka: TestTopics, cloud: Cloud, packets: list[bytes], kind: str) -> None:
    (place, how), topic = place_of(cloud, kind), kafka.make(kafka.name())
    kafka.send(topic, [*packets[:30], b"no alert"])
    assert run(flags(kafka, place, topic, *how)) == 0
    kafka.send(topic, packets[30:39])
    assert run(flags(kafka, place, topic, *how)) == 0
    assert run(flags(kafka, place, topic, *how)) == 0
    assert sources(place) == expected(kafka, topic, range(31)) + later(kafka, topic, [8, 8, 8, 7], 9)
    assert kafka.committed("g", topic) == [11, 10, 10, 9]


def later(kafka: TestTopics, topic: str, ends: list[int], count: int) -> Counter[str]:
    """The sources of messages that were sent to partitions that ended there."""
    of = [f"kafka://pittbroker0000000000000w/{topic}/{number % 4}/{ends[number % 4] + number // 4}" for number in range(count)]
    return Counter(of)


class Killed(BaseException):
    """As a process dies: nothing catches it on the way."""


@pytest.mark.parametrize("dies", ["before the first commit", "before the offsets", "before the last note"])
@pytest.mark.parametrize("kind", ["bigquery", "loads"])
def test_a_round_that_dies_between_its_commits_is_done_again_with_its_ranges(
    kafka: TestTopics, cloud: Cloud, packets: list[bytes], monkeypatch: pytest.MonkeyPatch, kind: str, dies: str
) -> None:
    """What came meanwhile is of the next round: else its rows would be of two."""
    (place, how), topic = place_of(cloud, kind), kafka.make(kafka.name())
    kafka.send(topic, packets[:20])
    step, note = "load" if kind == "loads" else "commit", unit_streams.UnitStreams._note
    honest = getattr(unit_streams, step)

    def commit(client, table, *others):
        if dies == "before the first commit" or (dies == "before the offsets" and table.endswith("offsets")):
            raise Killed
        honest(client, table, *others)

    def noting(self, run_id, chosen, *, committed):
        if committed and dies == "before the last note":
            raise Killed
        note(self, run_id, chosen, committed=committed)

    with monkeypatch.context() as patched:
        patched.setattr(unit_streams, step, commit)
        patched.setattr(unit_streams.UnitStreams, "_note", noting)
        patched.setattr(rounds, "_WAIT_SECS", (0.01, 0.01))
        assert run(flags(kafka, place, topic, *how)) == 1
    kafka.send(topic, packets[20:30])
    assert run(flags(kafka, place, topic, *how)) == 0
    assert sources(place) == expected(kafka, topic, range(20)) + later(kafka, topic, [5, 5, 5, 5], 10)
    if dies == "before the offsets":
        rows = cloud.rows(
            f"SELECT COUNT(DISTINCT run_id) AS n FROM `{place.removeprefix('bigquery://').replace('/', '.')}.ztf_alerts`"
        )
        assert rows == [{"n": 2}]
