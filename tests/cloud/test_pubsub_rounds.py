"""Pub/Sub read in rounds on this machine: held until its rows are durable, so that nothing is lost, whoever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import warehouses
from pipelines.ingest import run
from pipelines.messages import messages
from tests.cloud.streams import Topic, everything_on
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "40", "--damaged", "6", "--seed", "8")


@pytest.fixture(scope="module")
def sent(night: Path) -> list[bytes]:
    return list(messages([str(night)]))


@pytest.fixture(scope="module")
def good(night: Path) -> set[int]:
    return {one["alert_id"] for one in truth(night) if one["kind"] == "good"}


def words(source: str, place: object, *others: str) -> list[str]:
    flag = "--topic" if "/topics/" in source else "--subscription"
    return [flag, source, "--warehouse", str(place), "--every_secs", "0.5", "--survey", "ztf", *others]


def alerts(place: object) -> Counter[int]:
    with warehouses.at(str(place)) as opened:
        return Counter(opened.query("SELECT alert_id FROM ztf_alerts").column("alert_id").to_pylist())


def letters(place: object) -> int:
    with warehouses.at(str(place)) as opened:
        return int(opened.query("SELECT COUNT(*) AS n FROM dead_letters").column("n")[0].as_py())


@pytest.mark.parametrize("kind", ["folder", "BigQuery"])
def test_every_message_is_a_row_or_a_letter_and_is_acknowledged(
    pubsub: Cloud, sent: list[bytes], good: set[int], tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    place = tmp_path / "w" if kind == "folder" else f"bigquery://{pubsub.project}/{pubsub.dataset()}"
    topic = Topic(pubsub.project)
    topic.publish(sent)
    assert run(words(topic.subscriptions[0], place, "--once")) == 0
    out = capsys.readouterr().out
    assert f"subscription {topic.subscriptions[0]} is read" in out
    assert "dead letters" in out
    assert alerts(place) == dict.fromkeys(good, 1)
    assert letters(place) == len(sent) - len(good)
    with warehouses.at(str(place)) as opened:
        kept = opened.query("SELECT COUNT(*) AS n FROM ztf_alerts WHERE published_at IS NULL OR source = ''").to_pylist()
        runs = opened.query("SELECT status, records_read FROM runs").to_pylist()
    assert kept == [{"n": 0}]
    assert {row["status"] for row in runs} == {"done"}
    assert sum(row["records_read"] for row in runs) == len(sent)
    # All were acknowledged: nobody else gets one.
    assert not everything_on(topic.subscriptions[0], 1, secs=2)


def test_three_times_out_of_order_are_copies(pubsub: Cloud, sent: list[bytes], good: set[int], tmp_path: Path) -> None:
    again = sent * 3
    random.Random(3).shuffle(again)
    topic = Topic(pubsub.project)
    topic.publish(again)
    assert run(words(topic.subscriptions[0], tmp_path / "w", "--once", "--round_mb", "1")) == 0
    assert alerts(tmp_path / "w") == dict.fromkeys(good, 3)
    with warehouses.at(str(tmp_path / "w")) as opened:
        shown = opened.query("SELECT alert_id FROM ztf_alerts_unique").column("alert_id").to_pylist()
    assert sorted(shown) == sorted(good)


def start(pubsub: Cloud, *given: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "broker", "ingest", *given]
    environment = {**os.environ, **pubsub.variables}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_its_messages_come_again_and_sigterm_ends_it_with_0(
    pubsub: Cloud, sent: list[bytes], good: set[int], tmp_path: Path
) -> None:
    place = tmp_path / "w"
    topic = Topic(pubsub.project)
    topic.publish(sent)
    process = start(pubsub, *words(topic.subscriptions[0], place))
    assert process.stdout is not None
    process.stdout.readline()
    # It holds them, or has some of them in a round.
    time.sleep(0.8)
    process.kill()
    process.communicate()
    process = start(pubsub, *words(topic.subscriptions[0], place))
    assert process.stdout is not None
    assert "is read" in process.stdout.readline()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (_there(place) >= good and letters(place) >= len(sent) - len(good)):
        time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert set(alerts(place)) == good


def _there(place: Path) -> set[int]:
    try:
        return set(alerts(place))
    except warehouses.QueryError:
        return set()


def test_a_topic_is_read_by_a_subscription_that_goes_with_the_stream(pubsub: Cloud, sent: list[bytes], tmp_path: Path) -> None:
    topic = Topic(pubsub.project, 0)
    process = start(pubsub, *words(topic.name, tmp_path / "w"))
    assert process.stdout is not None
    said = process.stdout.readline()
    (name,) = topic.subscriptions_there()
    assert name in said
    topic.publish(sent[:5])
    assert "5 messages" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert not topic.subscriptions_there()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--subscription", "projects/{p}/subscriptions/nobody"], "there is no subscription projects/{p}/subscriptions/nobody; "),
        (["--topic", "projects/{p}/topics/nobody"], "there is no topic projects/{p}/topics/nobody; make it"),
        (["--subscription", "nobody"], "is not of the form projects/PROJECT/subscriptions/NAME"),
        (
            ["--subscription", "projects/{p}/subscriptions/some", "--id_label", "id"],
            "--id_label does nothing with --subscription",
        ),
        (["--subscription", "projects/{p}/subscriptions/some", "--watch", "/tmp"], "--subscription and --watch are given"),
    ],
)
def test_what_is_refused(pubsub: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str) -> None:
    given = [flag.format(p=pubsub.project) for flag in flags]
    assert run([*given, "--warehouse", str(tmp_path / "w")]) == 2
    assert told.format(p=pubsub.project) in capsys.readouterr().err
