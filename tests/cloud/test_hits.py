"""Hits into Pub/Sub, out of a warehouse in BigQuery and out of one in a bucket: each comes once, with its attributes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import pubsub_v1

import warehouses
from broker import cli
from pipelines import open_messages
from pipelines.ingest import run
from pipelines.open_messages import WrittenBetween
from pipelines.sending import Reach, send_open
from streams.addresses import parse_address
from tests.cloud.pulled import pulled
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud
from tests.nights import simulated
from tests.pipelines.test_filters import BRIGHT, folder
from tests.pipelines.test_sending import AT, add, hit, ids, run_id, send


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--duplicates", "4", "--seed", "9")


@pytest.mark.parametrize("kind", ["bigquery", "bucket"])
@pytest.mark.parametrize("options", ["", "?ordered&format=json"])
def test_each_hit_comes_once(kind: str, options: str, pubsub: Cloud, night: Path, tmp_path: Path) -> None:
    place = pubsub.folder() if kind == "bucket" else f"bigquery://{pubsub.project}/{pubsub.dataset()}"
    method = ("--write_method", "storage_write") if kind == "bigquery" else ()
    topic = Topic(pubsub.project, 2)
    manifests = f"{topic.subscriptions[0]}-manifest"
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        publisher.create_topic(name=f"{topic.name}-manifest")
        subscriber.create_subscription(name=manifests, topic=f"{topic.name}-manifest")
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    words = ("--input", str(night), "--warehouse", place, "--no_cutouts", "--filters", str(filters), *method)
    publish = ("--publish", f"pubsub:{topic.name}{options}")
    assert run([*words, *publish]) == 0
    with warehouses.open(place) as opened:
        hits = {row["alert_id"] for row in opened.query("SELECT alert_id FROM verdicts WHERE status = 'passed'").to_pylist()}
        open_now = "SELECT COUNT(*) AS n FROM outbox_open"
        assert opened.query(open_now).to_pylist()[0]["n"] == 0
    came = pulled(topic.subscriptions[0], lambda found: len(found) >= len(hits))
    proved = f"pubsub:{topic.subscriptions[1]}"
    assert cli.main(["listen", proved, "--once", "--quiet_secs", "2", "--verify", "--manifest", f"pubsub:{manifests}"]) == 0
    assert sorted(int(message.attributes["alert_id"]) for message in came) == sorted(hits)
    for message in came:
        told = dict(message.attributes)
        assert told["filter"] == "bright"
        assert len(told["id"]) == 32
        assert all(len(value.encode()) <= 1024 for value in told.values())
        assert message.ordering_key == (told["kafka_key"] if options else "")


def test_a_topic_that_is_not_there_is_made(pubsub: Cloud, night: Path, tmp_path: Path) -> None:
    name = f"projects/{pubsub.project}/topics/made-{{survey}}-{{filter}}"
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    words = ["--input", str(night), "--warehouse", str(tmp_path / "w"), "--no_cutouts", "--filters", str(filters)]
    assert run([*words, "--publish", f"pubsub:{name}"]) == 0
    with pubsub_v1.PublisherClient() as client:
        made = name.replace("{survey}", "ztf").replace("{filter}", "bright")
        assert client.get_topic(topic=made).name == made


def test_a_topic_that_is_gone_is_waited_for(pubsub: Cloud, tmp_path: Path) -> None:
    # Made again by who sends, it would have no subscriptions, and what goes there would reach nobody.
    uri, name = f"{tmp_path}/w", f"projects/{pubsub.project}/topics/gone"
    topic = f"pubsub:{name}"
    add(uri, hit(topic, 1))
    assert send(uri, topic) == {topic: 1}
    add(uri, hit(topic, 2))
    with pubsub_v1.PublisherClient() as client:
        client.delete_topic(topic=name)
        told = send_open(uri, {topic: parse_address(topic, "test")}, run_id())
        assert not told.sent
        assert told.waiting == {topic: f"{topic} is gone; make it again, and its subscriptions"}
        with pytest.raises(NotFound):
            client.get_topic(topic=name)
        client.create_topic(name=name)
    assert send(uri, topic) == {topic: 1}


def test_a_topic_that_is_gone_before_the_first_hit_is_waited_for(pubsub: Cloud, tmp_path: Path) -> None:
    # Whoever reads there has subscribed when it was made, and a manifest has said since that nothing was sent.
    uri, name = f"{tmp_path}/w", f"projects/{pubsub.project}/topics/gone-early"
    topic = f"pubsub:{name}"
    addresses = {topic: parse_address(topic, "test")}
    add(uri, hit("folder:/elsewhere", 1))
    assert not send_open(uri, addresses, run_id(), Reach(nothing_since=AT)).waiting
    add(uri, hit(topic, 1))
    with pubsub_v1.PublisherClient() as client:
        client.delete_topic(topic=name)
        assert send_open(uri, addresses, run_id()).waiting == {topic: f"{topic} is gone; make it again, and its subscriptions"}
        with pytest.raises(NotFound):
            client.get_topic(topic=name)


def test_what_could_not_be_saved_comes_again(pubsub: Cloud, tmp_path: Path) -> None:
    topic = Topic(pubsub.project, 1)
    names = [f"{number:032x}" for number in range(5)]
    with pubsub_v1.PublisherClient() as client:
        for name in names:
            client.publish(topic.name, b"{}", id=name).result(30)
    saved = tmp_path / "saved"
    listen = ["listen", f"pubsub:{topic.subscriptions[0]}", "--once", "--quiet_secs", "2", "--save", str(saved)]
    for name in names:
        (saved / f"{name}.json").mkdir(parents=True)
    assert cli.main(listen) == 1
    for name in names:
        (saved / f"{name}.json").rmdir()
    assert cli.main(listen) == 0
    assert {file.stem for file in saved.glob("*.json")} == set(names)


def test_what_was_sent_long_ago_is_not_sent_again_out_of_bigquery(pubsub: Cloud, tmp_path: Path) -> None:
    uri, topic = f"bigquery://{pubsub.project}/{pubsub.dataset()}", f"folder:{tmp_path}/hits"
    addresses, week = {topic: parse_address(topic, "test")}, -7 * 86_400
    with warehouses.at(uri) as place:
        place.prepare(["ztf"])
    add(uri, hit(topic, 1, written_secs=week))
    assert send(uri, topic) == {topic: 1}
    add(uri, *(hit(topic, number, observed_secs=week) for number in (1, 2)))
    look = Reach(WrittenBetween(since=AT - timedelta(days=2)), nothing_since=datetime.now(UTC))
    assert send_open(uri, addresses, run_id(), look).sent == {topic: 1}
    assert [int(name, 16) for name in ids(tmp_path / "hits")] == [1, 2]
    with warehouses.at(uri) as place:
        assert open_messages.open_topics(place) == []
