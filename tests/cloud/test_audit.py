"""The audit of a BigQuery warehouse, and by what lies on a Pub/Sub subscription: which has it all afterwards, too."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from google.cloud import pubsub_v1

from audit.messages import MessagesTruth
from broker import warehouse
from pipelines.ingest import run
from pipelines.messages import messages
from tests.audit.test_audit import a_good_one, audited, faults, rewrite, without
from tests.cloud.streams import Topic, everything_on, run_until
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth

ALERTS, COPIES, DAMAGED = 60, 8, 6


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("--alerts", str(ALERTS), "--duplicates", str(COPIES), "--damaged", str(DAMAGED), "--seed", "9", "--archive", "tar")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


@pytest.fixture(scope="module")
def archive(night: Path) -> Path:
    return next(night.glob("*.tar"))


def ingest_into(place: str, cloud: Cloud, night: Path, archive: Path) -> None:
    catalog = f"file:{night / 'catalog.parquet'}?ra=ra_deg&dec=dec_deg"
    into = ["--warehouse", place, "--survey", "ztf", "--temp_location", f"{cloud.bucket}/loads", "--crossmatch", catalog]
    assert run(["--input", str(archive), *into]) == 0


def change(cloud: Cloud, sql: str) -> None:
    with cloud.client() as client:
        client.query(sql).result()


def show(cloud: Cloud, view: str, sql: str) -> None:
    """Make another query of a view."""
    with cloud.client() as client:
        there = client.get_table(view)
        there.view_query = sql
        client.update_table(there, ["view_query"])


def test_faults_planted_in_bigquery_are_found_and_nothing_else(
    cloud: Cloud, night: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = cloud.dataset()
    place = f"bigquery://{cloud.project}/{dataset}"
    table = f"`{cloud.project}.{dataset}.{{}}`"
    ingest_into(place, cloud, night, archive)
    words = ["--input", archive, "--warehouse", place, "--stamps"]
    status, report = audited(capsys, *words)
    assert (status, faults(report)) == (0, {})
    assert (report["counts"]["present"], report["counts"]["copies"]) == (ALERTS, COPIES)
    assert sum(report["counts"]["dead_letters"].values()) == report["counts"]["unreadable"] == DAMAGED
    assert len(report["counts"]["catalogs"]) == 1

    missing, altered, bare, unasked, failed, blank = (a_good_one(night, number)["alert_id"] for number in range(6))
    lost = next(one["name"] for one in truth(night) if one["kind"] == "damaged")
    alerts, cutouts, matches, letters = (
        table.format(name) for name in ("ztf_alerts", "ztf_cutouts", "crossmatches", "dead_letters")
    )
    expected: dict[str, set[str]] = {}
    for kind, who, sql in [
        ("missing", missing, f"DELETE FROM {alerts} WHERE alert_id = {missing}"),
        ("altered", altered, f"UPDATE {alerts} SET packet_digest = MD5('x'), object_id = 'x' WHERE alert_id = {altered}"),
        ("without_cutouts", bare, f"DELETE FROM {cutouts} WHERE alert_id = {bare}"),
        ("without_cutouts", blank, f"UPDATE {cutouts} SET science = NULL WHERE alert_id = {blank}"),
        ("without_crossmatch", unasked, f"DELETE FROM {matches} WHERE alert_id = {unasked}"),
        ("failed_crossmatch", failed, f"UPDATE {matches} SET status = 'failed', error = '502' WHERE alert_id = {failed}"),
        ("missing_letters", lost, f"DELETE FROM {letters} WHERE ENDS_WITH(source, '#{lost}')"),
    ]:
        change(cloud, sql)
        expected.setdefault(kind, set()).add(str(who))
        status, report = audited(capsys, *words)
        assert status == 1
        found = {
            name: {str(one.get("alert_id", one["source"].rpartition("#")[2])) for one in some}
            for name, some in faults(report).items()
        }
        assert found == expected
    # In BigQuery the altered row stays when the packet is ingested again.
    assert "DELETE FROM ztf_alerts WHERE night = '2026-09-17'" in report["faults"]["altered"][0]["remedy"]
    assert all(place in one["remedy"] for some in report["faults"].values() for one in some)


def test_a_rerun_into_bigquery_is_information_and_a_view_that_shows_it_twice_a_fault(
    cloud: Cloud, night: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = cloud.dataset()
    place = f"bigquery://{cloud.project}/{dataset}"
    for _ in range(2):
        ingest_into(place, cloud, night, archive)
    words = ["--input", archive, "--warehouse", place, "--night", "2026-09-17"]
    status, report = audited(capsys, *words)
    assert (status, faults(report)) == (0, {})
    assert report["counts"]["information"]["rows_again"] == ALERTS + COPIES
    one = a_good_one(night)["alert_id"]
    view = f"{cloud.project}.{dataset}.ztf_alerts_unique"
    alerts = f"`{cloud.project}.{dataset}.ztf_alerts`"
    newest = "QUALIFY ROW_NUMBER() OVER (PARTITION BY alert_id ORDER BY ingested_at) = 1"
    # A view that someone made otherwise: one alert twice, another not at all.
    others = f"SELECT * FROM {alerts} WHERE alert_id <> {one} {newest}"
    twice = f"{others} UNION ALL SELECT * FROM {alerts} WHERE alert_id = {one}"
    show(cloud, view, twice)
    status, report = audited(capsys, *words)
    assert status == 1
    (fault,) = faults(report)["doubled"]
    assert (fault["alert_id"], fault["number"]) == (str(one), 2)
    show(cloud, view, others)
    status, report = audited(capsys, *words)
    assert status == 1
    (fault,) = faults(report)["missing"]
    assert (fault["alert_id"], fault["message"]) == (str(one), "the view ztf_alerts_unique shows it 0 times")


def test_a_dataset_that_is_not_there_is_told_in_one_sentence(
    cloud: Cloud, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = audited(capsys, "--input", archive, "--warehouse", f"bigquery://{cloud.project}/nowhere")
    assert status == 2
    assert f"bigquery://{cloud.project}/nowhere" in report["error"]
    assert report["error"].count("\n") == 1


# Pub/Sub.


def test_a_night_against_the_messages_it_was_sent_as_which_are_there_afterwards(
    pubsub: Cloud, night: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--input", str(archive), "--warehouse", str(tmp_path)]) == 0
    sent = list(messages([str(archive)]))
    topic = Topic(pubsub.project)
    topic.publish(sent)
    words = ["--subscription", topic.subscriptions[0], "--silence_secs", "1.5", "--warehouse", tmp_path]
    # Twice, as what the first audit holds, the second could not see.
    for _ in range(2):
        status, report = audited(capsys, *words)
        assert (status, faults(report)) == (0, {})
        assert report["counts"]["records"] == len(sent)
        assert report["counts"]["expected"] == report["counts"]["present"] == ALERTS
    one = a_good_one(night)["alert_id"]
    rewrite(tmp_path, "ztf_alerts", without("alert_id", one))
    status, report = audited(capsys, *words)
    assert status == 1
    assert [fault["alert_id"] for fault in faults(report)["missing"]] == [str(one)]
    # Nobody has acknowledged anything, nor is anything held.
    assert everything_on(topic.subscriptions[0], len(sent)) == Counter(sent)


def test_messages_are_given_back_by_an_audit_that_is_interrupted(
    pubsub: Cloud, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[str, list[int]] = defaultdict(list)
    real = pubsub_v1.SubscriberClient.modify_ack_deadline

    def watched(self: Any, **request: Any) -> None:
        for one in request["ack_ids"]:
            held[one].append(request["ack_deadline_seconds"])
        real(self, **request)

    monkeypatch.setattr(pubsub_v1.SubscriberClient, "modify_ack_deadline", watched)
    sent = list(messages([str(archive)]))
    topic = Topic(pubsub.project)
    topic.publish(sent)
    parts = MessagesTruth(topic.subscriptions[0], silence_secs=1).parts()
    next(parts)
    parts.close()
    # At once, and not only when the time is up for which each was held.
    assert held
    assert {tuple(secs) for secs in held.values()} == {(600, 0)}
    assert everything_on(topic.subscriptions[0], len(sent)) == Counter(sent)


def test_subscriptions_that_a_look_would_change_are_refused(
    pubsub: Cloud, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--input", str(archive), "--warehouse", str(tmp_path)]) == 0
    topic, graveyard = Topic(pubsub.project), Topic(pubsub.project)
    name = topic.subscriptions[0] + "-{}"
    policy = {"dead_letter_topic": graveyard.name, "max_delivery_attempts": 5}
    with pubsub_v1.SubscriberClient() as client:
        client.create_subscription(request={"name": name.format("dead"), "topic": topic.name, "dead_letter_policy": policy})
        client.create_subscription(request={"name": name.format("order"), "topic": topic.name, "enable_message_ordering": True})
    for kind, said in [("dead", "counts as a failed delivery"), ("order", "in order"), ("nowhere", "cannot be read")]:
        words = ["--subscription", name.format(kind), "--warehouse", tmp_path]
        status, report = audited(capsys, *words)
        assert status == 2
        assert said in report["error"]
        assert report["error"].count("\n") == 1
    status, report = audited(capsys, "--subscription", topic.subscriptions[0], "--silence_secs", "0.5", "--warehouse", tmp_path)
    assert status == 2
    assert "holds no record" in report["error"]


def test_a_stream_against_a_second_subscription(
    pubsub: Cloud, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows and letters have the message ids by which the truth knows them."""
    place = str(tmp_path / "warehouse")
    topic = Topic(pubsub.project, 2)
    sent = list(messages([str(archive)]))
    topic.publish(sent)

    def complete() -> bool:
        try:
            with warehouse.open(place) as opened:
                return opened.query("SELECT COUNT(*) AS n FROM ztf_cutouts").to_pylist()[0]["n"] == ALERTS + COPIES
        except warehouse.QueryError:
            return False

    reader, spare = topic.subscriptions
    topic.subscriptions = [reader]
    run_until(topic, [["--warehouse", place, "--survey", "ztf", "--load_every_secs", "1"]], complete)
    _, report = audited(capsys, "--subscription", spare, "--silence_secs", "1.5", "--warehouse", place)
    found = faults(report)
    # The last heartbeats came when the stream was being ended, which the local runner does not do cleanly.
    assert set(found) <= {"missing_letters"}
    assert all("b'heartbeat'" in one["message"] for one in found.get("missing_letters", []))
    assert (report["counts"]["present"], report["counts"]["copies"]) == (ALERTS, COPIES)
    damaged = [one for one in report["dead_letters"] if "b'heartbeat'" not in one["message"]]
    assert len(damaged) == len(sent) - ALERTS - COPIES
    assert "rows_from_elsewhere" not in report["counts"]["information"]
