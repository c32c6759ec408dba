"""Where hits go: each place by one name, public or not, and no table waits for one that is away or gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker import cli
from streams.heartbeats import heartbeat_of
from tests.nights import ask, run, simulated
from tests.pipelines.test_filters import BRIGHT, folder, verdicts
from tests.pipelines.test_hits import received


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--seed", "9")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--publish", "folder:{place}/x", "--filters", "{filters}", "--publish", "folder:{place}/x"), "is given twice"),
        (("--publish", "folder:{place}/x"), "is given without --filters"),
        (
            ("--publish", "folder:{place}/x?filter=all", "--publish", "folder:{place}/y"),
            "folder:{place}/y is given without --filters",
        ),
        (
            ("--publish", "folder:{place}/x?filter=brihgt", "--filters", "{filters}"),
            "there is no filter brihgt; known are bright",
        ),
        (
            ("--publish", "folder:{place}/ztf", "--publish", "folder:{place}/{survey}?format=json", "--filters", "{filters}"),
            "would both send ztf hits of bright to folder:{place}/ztf; leave one out",
        ),
        (
            ("--publish", "folder:{place}/x", "--publish", "folder:{place}/x?filter=bright&private", "--filters", "{filters}"),
            "would both send ztf hits of bright",
        ),
        (
            ("--publish", "folder:{place}/x", "--publish", "folder:{place}/x?filter=all&private", "--filters", "{filters}"),
            "folder:{place}/x is given with different options: private, ordered and config are of a place",
        ),
        (("--publish", "folder:{place}/x/_manifest", "--filters", "{filters}"), "is where manifests go; take another name"),
    ],
)
def test_what_cannot_be_sent_to_is_told_before_anything_starts(
    night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], told: str
):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    words = tuple(word.replace("{place}", str(tmp_path)).replace("{filters}", str(filters)) for word in flags)
    assert run(tmp_path / "w", night, flags=words) == 2
    assert told.replace("{place}", str(tmp_path)) in capfd.readouterr().err


def test_no_filter_is_called_as_the_one_that_every_alert_passes(night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    filters = folder(tmp_path / "filters", all=BRIGHT)
    flags = ("--filters", str(filters), "--publish", f"folder:{tmp_path}/x?filter=all")
    assert run(tmp_path / "w", night, flags=flags) == 2
    assert "'all' is the filter that every alert passes; call this one something else" in capfd.readouterr().err


def test_a_folder_is_the_same_wherever_its_hits_are_sent_from(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "hits").touch(0)  # no folder, as when its disk is away
    flags = ("--filters", str(filters), "--no_cutouts", "--publish", "folder:hits/x")
    assert run(tmp_path / "w", night, flags=flags) == 2
    (tmp_path / "here" / "hits").unlink()
    monkeypatch.setattr("pipelines.ingest.send", lambda job: None)
    assert run(tmp_path / "w", night, flags=flags) == 0
    monkeypatch.chdir(tmp_path / "there")
    assert cli.main(["publish", "--outbox", "--warehouse", str(tmp_path / "w")]) == 0
    hits = {alert_id for alert_id, _ in verdicts(tmp_path / "w", "bright")}
    assert {int(headers["alert_id"]) for headers, _, _ in received(tmp_path / "here" / "hits" / "x")} == hits
    assert not list((tmp_path / "there").iterdir())


def test_what_an_earlier_stream_left_open_waits_for_no_round(night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    flags = ("--filters", str(filters), "--no_cutouts", "--publish", f"folder:{tmp_path}/hits")
    with monkeypatch.context() as killed:
        killed.setattr("pipelines.ingest.send", lambda job: None)
        assert run(tmp_path / "w", night, flags=flags) == 0
    (tmp_path / "nothing").mkdir()
    words = ["ingest", "--watch", str(tmp_path / "nothing"), "--stop_after_secs", "2", "--every_secs", "1"]
    assert cli.main([*words, "--warehouse", str(tmp_path / "w"), *flags]) == 0
    hits = {alert_id for alert_id, _ in verdicts(tmp_path / "w", "bright")}
    assert {int(headers["alert_id"]) for headers, _, _ in received(tmp_path / "hits")} == hits


def test_no_table_waits_because_a_filter_whose_hits_are_sent_is_gone(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    filters = folder(tmp_path / "filters", bright=BRIGHT, fast=BRIGHT)
    monkeypatch.setattr("pipelines.rounds.make_topics", lambda uri, addresses: (filters / "fast.sql").unlink())
    words = ["ingest", "--watch", str(night), "--once", "--every_secs", "1", "--warehouse", str(tmp_path / "w"), "--no_cutouts"]
    publish = ("--publish", f"folder:{tmp_path}/fast?filter=fast", "--publish", f"folder:{tmp_path}/hits")
    assert cli.main([*words, "--filters", str(filters), *publish]) == 0
    hits = {alert_id for alert_id, _ in verdicts(tmp_path / "w", "bright")}
    assert {int(headers["alert_id"]) for headers, _, _ in received(tmp_path / "hits")} == hits


@pytest.mark.parametrize("flags", [(), ("--no_history", "--no_features")], ids=["whole", "no history"])
def test_the_full_stream_needs_no_filter(night: Path, tmp_path: Path, flags: tuple[str, ...], capfd: pytest.CaptureFixture[str]):
    publish = ("--publish", f"folder:{tmp_path}/{{survey}}?filter=all&format=json")
    assert run(tmp_path / "w", night, flags=("--no_cutouts", "--survey", "ztf", *publish, *flags)) == 0
    sent = {int(headers["alert_id"]) for headers, _, _ in received(tmp_path / "ztf")}
    public = ask(tmp_path / "w", "SELECT alert_id FROM ztf_alerts WHERE candidate.programid = 1")
    assert sent == {row[0] for row in public}
    assert sent
    capfd.readouterr()
    assert cli.main(["listen", f"folder:{tmp_path}/ztf", "--once", "--quiet_secs", "0.3", "--verify"]) == 0
    assert cli.main(["audit", "--input", str(night), "--warehouse", str(tmp_path / "w"), "--no_cutouts"]) == 0
    assert f"{len(sent):,} hits" in capfd.readouterr().out


def test_a_stream_says_that_it_lives(night: Path, tmp_path: Path):
    filters, began = (
        folder(tmp_path / "filters", bright=BRIGHT, none="SELECT ra_deg FROM alerts WHERE ra_deg > 400\n"),
        datetime.now(UTC),
    )
    words = ["ingest", "--watch", str(night), "--once", "--every_secs", "1", "--warehouse", str(tmp_path / "w"), "--no_cutouts"]
    assert cli.main([*words, "--filters", str(filters), "--publish", f"folder:{tmp_path}/{{filter}}"]) == 0
    for name in ("bright", "none"):
        beat = heartbeat_of((tmp_path / name / "_manifest" / "heartbeat.avro").read_bytes())
        assert beat is not None
        assert beat.topic == f"folder:{tmp_path}/{name}"
        assert began <= beat.at + timedelta(seconds=1) <= datetime.now(UTC) + timedelta(seconds=1)
    # What says so is no message of the stream, and no manifest.
    assert cli.main(["listen", f"folder:{tmp_path}/bright", "--once", "--quiet_secs", "0.3", "--verify"]) == 0


def test_a_pubsub_that_is_away_holds_up_no_table(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    flags = ("--filters", str(filters), "--no_cutouts", "--publish", "pubsub:projects/my-project/topics/hits")
    assert run(tmp_path / "w", night, flags=flags) == 0
    assert "hits for pubsub:projects/my-project/topics/hits will wait in the outbox until it takes them" in capfd.readouterr().err
    hits = {alert_id for alert_id, _ in verdicts(tmp_path / "w", "bright")}
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM outbox_open") == [(len(hits),)]


def test_hits_that_nobody_sends_any_more_are_told(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    filters = folder(tmp_path / "filters", bright=BRIGHT, fast=BRIGHT)
    flags = ("--filters", str(filters), "--no_cutouts", "--publish", f"folder:{tmp_path}/{{filter}}")
    with monkeypatch.context() as killed:
        killed.setattr("pipelines.ingest.send", lambda job: None)
        assert run(tmp_path / "w", night, flags=flags) == 0
    (filters / "fast.sql").unlink()
    assert run(tmp_path / "w", night, flags=flags) == 0
    told = f"hits wait in the outbox for folder:{tmp_path}/fast, which no --publish names; broker publish --outbox sends them"
    said = capfd.readouterr().out
    assert told in said
    assert said.count("wait in the outbox") == 1
    assert cli.main(["publish", "--outbox", "--warehouse", str(tmp_path / "w")]) == 0
    assert len(received(tmp_path / "fast")) == len(received(tmp_path / "bright"))


def test_a_stream_into_a_new_warehouse_waits_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    (tmp_path / "nothing").mkdir()
    words = ["ingest", "--watch", str(tmp_path / "nothing"), "--stop_after_secs", "1", "--every_secs", "1", "--no_cutouts"]
    publish = ("--filters", str(filters), "--publish", f"folder:{tmp_path}/hits")
    assert cli.main([*words, "--warehouse", str(tmp_path / "w"), *publish]) == 0
    assert "outbox" not in caplog.text
