"""Hits of filters that are asked about stored alerts: behind a run, behind a stream's rounds, and by ``broker refilter``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker import cli
from pipelines import refilter
from streams.hits import hit_id
from tests.nights import ask, run, simulated
from tests.pipelines.test_filters import BRIGHT, FADING, folder, verdicts
from tests.pipelines.test_hits import listened, received, records

ALERTS = 60
NEAR = (
    "SELECT (SELECT COUNT(*) FROM UNNEST(matches) AS m) AS catalogs FROM alerts "
    "WHERE EXISTS (SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE s.separation_arcsec < 3)"
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--seed", "9")


def publish(place: Path, **outlets: str) -> list[str]:
    return [word for name, told in outlets.items() for word in ("--publish", f"folder:{place}/{name}?{told}")]


def sources(night: Path) -> str:
    return f"file:{night / 'catalog.parquet'}?ra=ra_deg&dec=dec_deg"


@pytest.fixture(scope="module")
def behind(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of files has sent of a filter that asks what catalogs have answered, and of one that does not."""
    place = tmp_path_factory.mktemp("behind")
    filters = folder(place / "filters", near=NEAR, bright=BRIGHT)
    outlets = publish(place, lite="format=lite", json="format=json", packet="format=packet", every="filter=all")
    assert run(place / "w", night, flags=("--filters", str(filters), "--crossmatch", sources(night), *outlets)) == 0
    return place


@pytest.mark.parametrize("name", ["lite", "json", "packet"])
def test_hits_behind_a_run_are_sent_as_all_others(behind: Path, tmp_path: Path, name: str):
    near = {str(alert_id) for alert_id, _ in verdicts(behind / "w", "near")}
    assert near
    came = [each for each in received(behind / name) if each[0]["filter"] == "near"]
    assert sorted(headers["alert_id"] for headers, _, _ in came) == sorted(near)
    (version,) = {headers["filter_version"] for headers, _, _ in came}
    for headers, key, payload in came:
        assert headers["id"] == hit_id("ztf", int(headers["alert_id"]), "near", version)
        assert key == f"{headers.get('object_kind', 'object')}:{headers['object_id']}"
        assert "replay" not in headers
        assert "healpix9" in headers
        assert headers["observed_at"].endswith("Z")
        if name != "json":
            assert str(records(payload, tmp_path)["candid"]) == headers["alert_id"]


def test_what_is_sent_of_a_stored_alert_is_what_was_sent_when_it_came(behind: Path, tmp_path: Path):
    """``lite`` of the same alerts, cut from the packet by one filter, written anew of the row by the other."""
    lite, packet = (
        {(headers["filter"], headers["alert_id"]): payload for headers, _, payload in received(behind / name)}
        for name in ("lite", "packet")
    )
    both = [alert_id for name, alert_id in lite if name == "near" and ("bright", alert_id) in lite]
    assert both
    for alert_id in both:
        assert repr(records(lite["near", alert_id], tmp_path)) == repr(records(lite["bright", alert_id], tmp_path))
        assert repr(records(packet["near", alert_id], tmp_path)) == repr(records(packet["bright", alert_id], tmp_path))


def test_json_tells_what_the_catalogs_have_answered(behind: Path, night: Path):
    told = {
        headers["alert_id"]: json.loads(payload)
        for headers, _, payload in received(behind / "json")
        if headers["filter"] == "near"
    }
    rows = ask(
        behind / "w",
        "SELECT alert_id::VARCHAR, status, [s.separation_arcsec for s in matches] FROM crossmatches_unique "
        "WHERE catalog LIKE 'file:%'",
    )
    known = {alert_id: (status, away) for alert_id, status, away in rows}
    for alert_id, found in told.items():
        [match] = found["matches"]
        assert match["catalog"] == sources(night).partition("?")[0]
        assert (match["status"], [source["separation_arcsec"] for source in match["sources"]]) == known[alert_id]
        assert found["columns"] == {"catalogs": 1}


def test_the_full_stream_is_sent_once_and_all_is_told_in_manifests(behind: Path, capfd: pytest.CaptureFixture[str]):
    assert len(received(behind / "every")) == ALERTS
    assert ask(behind / "w", "SELECT COUNT(*) FROM outbox_open") == [(0,)]
    assert ask(behind / "w", "SELECT COUNT(*) FROM outbox WHERE topic LIKE '%/every' AND payload IS NOT NULL") == [(ALERTS,)]
    status, _, err = listened(capfd, f"folder:{behind}/lite", "--verify")
    assert status == 0
    assert f"manifests tell of {len(received(behind / 'lite')):,} messages; 0 of them are missing" in err


def test_the_full_stream_is_sent_behind_where_no_filter_is_asked_at_once(night: Path, tmp_path: Path):
    filters = folder(tmp_path / "filters", near=NEAR)
    flags = ("--filters", str(filters), "--no_cutouts", "--crossmatch", sources(night))
    assert run(tmp_path / "w", night, flags=(*flags, *publish(tmp_path, every="filter=all&format=json"))) == 0
    assert len(received(tmp_path / "every")) == ALERTS


def test_hits_behind_the_rounds_of_a_stream_are_sent(night: Path, behind: Path, tmp_path: Path):
    filters = folder(tmp_path / "filters", near=NEAR, bright=BRIGHT)
    words = ["ingest", "--watch", str(night), "--once", "--every_secs", "1", "--warehouse", str(tmp_path / "w"), "--no_cutouts"]
    flags = ["--filters", str(filters), "--crossmatch", sources(night), *publish(tmp_path, lite="", json="format=json")]
    assert cli.main([*words, *flags]) == 0
    for name in ("lite", "json"):
        expected = sorted((headers["filter"], headers["id"]) for headers, _, _ in received(behind / name))
        assert sorted((headers["filter"], headers["id"]) for headers, _, _ in received(tmp_path / name)) == expected
    told = [json.loads(payload) for headers, _, payload in received(tmp_path / "json") if headers["filter"] == "near"]
    assert all(found["matches"][0]["sources"] and not found["replay"] for found in told)
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM outbox_open") == [(0,)]


def again(warehouse: Path, filters: Path, *flags: str) -> int:
    return refilter.run(["--warehouse", str(warehouse), "--filters", str(filters), *flags])


def test_a_refilter_sends_what_a_new_filter_passes_and_says_that_it_is_a_replay(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    outlets = publish(tmp_path, hits="", json="format=json")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), *outlets)) == 0
    before = len(received(tmp_path / "hits"))
    folder(filters, fading=FADING)
    with monkeypatch.context() as killed:
        killed.setattr("pipelines.ingest.send", lambda job: None)
        assert again(tmp_path / "w", filters, *outlets) == 0
    assert len(received(tmp_path / "hits")) == before
    # It has nothing to ask any more, and sends what the one before has left.
    assert again(tmp_path / "w", filters, *outlets) == 0
    hits = {str(alert_id) for alert_id, _ in verdicts(tmp_path / "w", "fading")}
    assert hits
    said = capfd.readouterr().out
    assert f"sent to folder:{tmp_path}/hits: {len(hits)}" in said
    for name in ("hits", "json"):
        # What was sent by the run is not sent again.
        came = received(tmp_path / name)
        assert len(came) == before + len(hits)
        assert {headers["alert_id"] for headers, _, _ in came if headers.get("replay") == "true"} == hits
        assert {headers["filter"] for headers, _, _ in came if "replay" in headers} == {"fading"}
    assert all(json.loads(payload)["replay"] == ("replay" in headers) for headers, _, payload in received(tmp_path / "json"))
    assert again(tmp_path / "w", filters, *outlets) == 0
    assert len(received(tmp_path / "hits")) == before + len(hits)
    status, _, err = listened(capfd, f"folder:{tmp_path}/hits", "--verify")
    assert status == 0
    assert f"manifests tell of {before + len(hits):,} messages; 0 of them are missing" in err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--publish", "folder:{place}/x?filter=brihgt"), "there is no filter brihgt; known are bright"),
        (("--publish", "kafka:x"), "--publish kafka:x"),
    ],
)
def test_what_cannot_be_sent_to_is_told_before_a_refilter_starts(
    night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], told: str
):
    assert run(tmp_path / "w", night, flags=("--no_cutouts", "--max_alerts", "5")) == 0
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    assert again(tmp_path / "w", filters, *(word.replace("{place}", str(tmp_path)) for word in flags)) == 2
    assert told in capfd.readouterr().err


def test_a_hit_whose_packet_is_not_there_is_a_dead_letter_that_says_why(
    night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    some = ("--no_cutouts", "--max_alerts", "20")
    assert run(tmp_path / "w", night, flags=(*some, "--no_history")) == 0
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    outlets = publish(tmp_path, lite="", json="format=json", packet="format=packet")
    assert again(tmp_path / "w", filters, *outlets) == 0
    hits = len(verdicts(tmp_path / "w", "bright"))
    assert (len(received(tmp_path / "json")), len(received(tmp_path / "lite"))) == (hits, 0)
    said = capfd.readouterr().out
    assert f"{hits} hits cannot be sent to folder:{tmp_path}/lite: the warehouse does not have their packets" in said
    rows = ask(tmp_path / "w", "SELECT stage, message, payload, attributes FROM dead_letters_open")
    assert len(rows) == 2 * hits
    assert {(stage, payload) for stage, _, payload, _ in rows} == {("publish", None)}
    assert all(
        "the warehouse does not have its prv_candidates; send json, which needs none" in message for _, message, _, _ in rows
    )
    assert {json.loads(about)["topic"] for *_, about in rows} == {f"folder:{tmp_path}/{name}" for name in ("lite", "packet")}
    # That is what makes up for it.
    publish_lite = publish(tmp_path, lite="")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), *some, *publish_lite)) == 0
    assert len(received(tmp_path / "lite")) == hits


def test_without_its_stamps_no_packet_is_what_came(night: Path, tmp_path: Path):
    assert run(tmp_path / "w", night, flags=("--no_cutouts", "--max_alerts", "20")) == 0
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    assert again(tmp_path / "w", filters, *publish(tmp_path, packet="format=packet")) == 0
    assert received(tmp_path / "packet") == []
    messages = [message for (message,) in ask(tmp_path / "w", "SELECT message FROM dead_letters_open")]
    assert len(messages) == len(verdicts(tmp_path / "w", "bright")) > 0
    assert all("the packet of ztf alert " in message and "cannot be written anew" in message for message in messages)
