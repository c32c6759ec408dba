"""Streams: what comes again, out of order, or poisoned."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import pytest
from google.cloud.bigquery_storage_v1 import types
from google.rpc import status_pb2

from broker import cli, warehouse
from pipelines.messages import messages
from pipelines.publish import pace
from tests.cloud.streams import HEARTBEAT, Topic, everything_on, run_until
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "40", "--damaged", "6", "--seed", "8")


def ask(place: str, sql: str) -> list[tuple]:
    with warehouse.open(place) as opened:
        return [tuple(row.values()) for row in opened.query(sql).to_pylist()]


def test_three_times_out_of_order_with_poison_among_them(pubsub: Cloud, night: Path, tmp_path: Path) -> None:
    """Every message three times, shuffled: each alert once in the view, the copies counted, the poison in its letters."""
    sent = list(messages([str(night)])) * 3
    random.Random(3).shuffle(sent)
    # The empty packet among the damaged cannot be published: Pub/Sub takes no empty message.
    good = [one["alert_id"] for one in truth(night) if one["kind"] == "good"]
    letters = len(sent) - 3 * len(good)
    dataset = pubsub.dataset()
    places = [str(tmp_path / "warehouse"), f"bigquery://{pubsub.project}/{dataset}"]
    topic = Topic(pubsub.project, 2)
    topic.publish(sent)
    flags = [["--warehouse", place, "--survey", "ztf", "--load_every_secs", "2"] for place in places]

    def complete() -> bool:
        try:
            return all(_rows(place) == 3 * len(good) and _letters(place) == letters for place in places)
        except warehouse.QueryError:
            return False

    run_until(topic, flags, complete)
    for place in places:
        assert {row[0] for row in ask(place, "SELECT alert_id FROM ztf_alerts_unique")} == set(good)
        assert ask(place, "SELECT COUNT(*) FROM ztf_alerts_unique") == [(len(good),)]
        copies = "SELECT alert_id, packet_digest, COUNT(*) AS n FROM ztf_alerts GROUP BY 1, 2"
        assert {row[2] for row in ask(place, copies)} == {3}
        published = ask(place, "SELECT COUNT(*) FROM ztf_alerts WHERE published_at IS NULL OR source = ''")
        assert published == [(0,)]


def _rows(place: str) -> int:
    return int(ask(place, "SELECT COUNT(*) FROM ztf_cutouts")[0][0])


def _letters(place: str) -> int:
    return sum(bytes(row[0]) != HEARTBEAT for row in ask(place, "SELECT payload FROM dead_letters"))


def test_publish_puts_every_packet_on_the_topic(pubsub: Cloud, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topic = Topic(pubsub.project)
    assert cli.main(["publish", "--input", str(night), "--topic", topic.name, "--rate", "200/s"]) == 0
    sent = Counter(messages([str(night)]))
    assert f"published {sent.total()} messages" in capsys.readouterr().out
    assert everything_on(topic.subscriptions[0], sent.total()) == sent


def test_pace_of_a_rate_and_of_a_survey() -> None:
    even, bursts = pace("256/s", None), pace(None, "lsst")
    assert even is not None
    assert bursts is not None
    assert even.due_secs(512) == 2.0
    assert [bursts.due_secs(number) for number in (0, 9_999, 10_000, 20_000)] == [0, 0, 39, 78]


@pytest.mark.parametrize("fault", ["the request is refused", "the job fails"])
def test_a_load_that_fails_is_tried_again_and_the_stream_goes_on(pubsub: Cloud, night: Path, fault: str) -> None:
    """Alerts before and after a load that fails are all there, once in the view."""
    sent = list(messages([str(night)]))
    good = [one["alert_id"] for one in truth(night) if one["kind"] == "good"]
    place = f"bigquery://{pubsub.project}/{pubsub.dataset()}"
    topic = Topic(pubsub.project)
    topic.publish(sent[:30])
    if fault == "the job fails":
        failed = {"reason": "backendError", "message": "made to fail"}
        answer = {"kind": "bigquery#job", "status": {"state": "DONE", "errorResult": failed, "errors": [failed]}}
        pubsub.faults.fail(1, r"GET .*/jobs/beam_bq_job_LOAD", status=200, answer=answer)
    else:
        # Beam's client asks for alt=json; the queries by which this test looks on do not.
        pubsub.faults.fail(1, r"POST .*/jobs\?.*alt=json", status=400, reason="invalid")
    before = len(pubsub.faults.failed)
    late = iter([sent[30:]])

    def complete() -> bool:
        if len(pubsub.faults.failed) > before:
            # The fault has struck: what comes now must arrive, too.
            topic.publish(next(late, []))
        try:
            return _rows(place) >= len(good) and next(late, None) is None
        except warehouse.QueryError:
            return False

    flags = ["--warehouse", place, "--survey", "ztf", "--write_method", "file_loads", "--load_every_secs", "2"]
    run_until(topic, [[*flags, "--temp_location", f"{pubsub.bucket}/loads"]], complete, timeout_secs=100)
    assert len(pubsub.faults.failed) == before + 1
    assert {row[0] for row in ask(place, "SELECT alert_id FROM ztf_alerts_unique")} == set(good)
    assert ask(place, "SELECT COUNT(*) FROM ztf_alerts_unique") == [(len(good),)]


def test_a_round_that_fails_says_why_and_is_done_again(pubsub: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    """With the messages that it had, which nobody has acknowledged before their rows are there."""
    topic = Topic(pubsub.project, 1)
    place = f"bigquery://{pubsub.project}/{pubsub.dataset()}"
    flags = ["--subscription", topic.subscriptions[0], "--warehouse", place, "--survey", "ztf", "--every_secs", "0.2"]
    error = status_pb2.Status(code=3, message="see row_errors")
    refusal = types.AppendRowsResponse(error=error, row_errors=[types.RowError(index=0, message="made up")])
    pubsub.write_faults.fail(None, "AppendRows .*/dead_letters/", answer=refusal)
    topic.publish([b"poison"])
    healed = threading.Timer(3, pubsub.write_faults.heal)
    healed.start()
    try:
        assert cli.main(["ingest", *flags, "--stop_after_secs", "9"]) == 0
    finally:
        healed.join()
    captured = capsys.readouterr()
    assert "BigQuery refuses a dead letter, which must not be lost" in captured.err
    assert "round 1: 1 messages, 0 alerts, 1 dead letters" in captured.out
    assert "round 2" not in captured.out
