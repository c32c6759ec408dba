"""Hits in a run: what filters pass is in the outbox with the verdicts, is sent when these are durable, and is sent once."""

from __future__ import annotations

import base64
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import fastavro
import pytest

from broker import cli
from streams.hits import hit_id
from tests.nights import ask, run, simulated
from tests.pipelines.test_filters import BRIGHT, FADING, RAISES, folder, verdicts

ALERTS, COPIES = 60, 4


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--duplicates", str(COPIES), "--seed", "9")


@pytest.fixture(scope="module")
def sent(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse ``w`` whose hits are in folders: by filter, all in one, and every alert as it came."""
    place = tmp_path_factory.mktemp("sent")
    filters = folder(place / "filters", bright=BRIGHT, fading=FADING, raises=RAISES)
    publish = (
        *("--publish", f"folder:{place}/{{survey}}-{{filter}}"),
        *("--publish", f"folder:{place}/json?format=json"),
        *("--publish", f"folder:{place}/every?filter=all"),
    )
    assert run(place / "w", night, flags=("--filters", str(filters), "--no_cutouts", *publish)) == 0
    return place


def received(place: Path) -> list[tuple[dict[str, str], str, bytes]]:
    """Headers, key and payload of the messages in a folder."""
    found = []
    for file in sorted(place.glob("*.json")):
        told: dict[str, Any] = json.loads(file.read_text())
        headers = {name: base64.b64decode(value).decode() for name, value in told["headers"]}
        found.append((headers, base64.b64decode(told["key"]).decode(), file.with_suffix(".avro").read_bytes()))
    return found


def records(payload: bytes, place: Path) -> dict[str, Any]:
    (place / "one.avro").write_bytes(payload)
    with (place / "one.avro").open("rb") as file:
        (found,) = fastavro.reader(file)
    return found


@pytest.mark.parametrize("name", ["bright", "fading", "raises"])
def test_each_hit_is_sent_once_as_the_survey_s_own_record_without_stamps(sent: Path, name: str, tmp_path: Path):
    hits = sorted({alert_id for alert_id, _ in verdicts(sent / "w", name)})
    came = received(sent / f"ztf-{name}")
    assert sorted(int(headers["alert_id"]) for headers, _, _ in came) == hits
    (version,) = {headers["filter_version"] for headers, _, _ in came}
    for headers, key, payload in came:
        record = records(payload, tmp_path)
        assert str(record["candid"]) == headers["alert_id"]
        assert record["cutoutScience"] is None
        assert headers["id"] == hit_id("ztf", int(headers["alert_id"]), name, version)
        assert key == f"{headers.get('object_kind', 'object')}:{headers['object_id']}"
        assert (headers["survey"], headers["filter"]) == ("ztf", name)
        assert headers["observed_at"].endswith("Z")


def test_all_filters_hits_in_one_place_are_json_with_ids_as_texts(sent: Path):
    came = received(sent / "json")
    expected = {(str(alert_id), name) for name in ("bright", "fading", "raises") for alert_id, _ in verdicts(sent / "w", name)}
    assert {(headers["alert_id"], headers["filter"]) for headers, _, _ in came} == expected
    assert len(came) == len(expected)
    columns = dict(
        ask(sent / "w", "SELECT alert_id::VARCHAR, columns FROM verdicts WHERE filter = 'bright' AND status = 'passed'")
    )
    for headers, _, payload in came:
        told = json.loads(payload)
        assert told["alert_id"] == headers["alert_id"]
        assert told["id"] == headers["id"]
        if told["filter"] == "bright":
            assert told["columns"] == json.loads(columns[told["alert_id"]])


def test_the_full_stream_is_every_alert_as_it_came(sent: Path):
    came = received(sent / "every")
    assert len(came) == ALERTS
    assert {headers["alert_id"] for headers, _, _ in came} == {
        str(row[0]) for row in ask(sent / "w", "SELECT alert_id FROM ztf_alerts")
    }
    assert {headers["filter"] for headers, _, _ in came} == {"all"}


def test_what_was_sent_is_closed_and_run_again_nothing_is_sent_again(sent: Path, night: Path, capsys: pytest.CaptureFixture[str]):
    assert ask(sent / "w", "SELECT COUNT(*) FROM outbox_open") == [(0,)]
    before = len(received(sent / "json"))
    publish = ("--publish", f"folder:{sent}/json?format=json")
    assert run(sent / "w", night, flags=("--filters", str(sent / "filters"), "--no_cutouts", *publish)) == 0
    assert len(received(sent / "json")) == before
    assert cli.main(["publish", "--outbox", "--warehouse", str(sent / "w")]) == 0
    assert "nothing waits in the outbox" in capsys.readouterr().out


def test_hits_of_a_stream_are_sent_beside_its_rounds(night: Path, tmp_path: Path):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    words = ["ingest", "--watch", str(night), "--once", "--every_secs", "1", "--warehouse", str(tmp_path / "w")]
    assert cli.main([*words, "--filters", str(filters), "--publish", f"folder:{tmp_path}/hits", "--no_cutouts"]) == 0
    hits = sorted({alert_id for alert_id, _ in verdicts(tmp_path / "w", "bright")})
    assert sorted(int(headers["alert_id"]) for headers, _, _ in received(tmp_path / "hits")) == hits
    assert hits
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM outbox_open") == [(0,)]


def test_a_receiver_that_is_away_holds_up_no_table(night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    flags = (
        "--filters",
        str(filters),
        "--no_cutouts",
        "--publish",
        "kafka:127.0.0.1:1/x",
        "--publish",
        f"folder:{tmp_path}/hits",
    )
    assert run(tmp_path / "w", night, flags=flags) == 0
    said = capfd.readouterr()
    assert "hits for kafka:127.0.0.1:1/x will wait in the outbox until it takes them" in said.err
    assert "the others wait in the outbox: Kafka at 127.0.0.1:1 does not answer within 7 s" in said.out
    hits = {alert_id for alert_id, _ in verdicts(tmp_path / "w", "bright")}
    assert {int(headers["alert_id"]) for headers, _, _ in received(tmp_path / "hits")} == hits
    assert ask(tmp_path / "w", "SELECT topic, COUNT(*) FROM outbox_open GROUP BY topic") == [("kafka:127.0.0.1:1/x", len(hits))]
    assert cli.main(["publish", "--outbox", "--warehouse", str(tmp_path / "w")]) == 1
    assert "kafka:127.0.0.1:1/x: 0 sent" in capfd.readouterr().out


def listened(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(["listen", *words, "--once", "--quiet_secs", "0.5"])
    said = capfd.readouterr()
    return status, said.out, said.err


def test_who_listens_can_prove_that_all_came(sent: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    shutil.copytree(sent / "json", tmp_path / "json")
    hits = len(received(tmp_path / "json"))
    status, out, err = listened(capfd, f"folder:{tmp_path}/json", "--verify", "--save", str(tmp_path / "saved"))
    assert status == 0
    assert len(out.splitlines()) == hits == len([*(tmp_path / "saved").glob("*.json")])
    told = [json.loads(file.read_text()) for file in (tmp_path / "saved").glob("*.headers")]
    assert {one["id"] for one in told} == {headers["id"] for headers, _, _ in received(tmp_path / "json")}
    assert f"{hits:,} messages, 0 copies" in err
    assert f"manifests tell of {hits:,} messages; 0 of them are missing" in err
    # A loss is found, and a copy is none.
    files = sorted((tmp_path / "json").glob("*.json"))
    lost = json.loads(files[0].read_text())
    for ending in (".json", ".avro"):
        files[0].with_suffix(ending).unlink()
        shutil.copy(files[1].with_suffix(ending), tmp_path / "json" / f"copy{ending}")
    (name,) = [base64.b64decode(value).decode() for header, value in lost["headers"] if header == "id"]
    status, out, err = listened(capfd, f"folder:{tmp_path}/json", "--verify")
    assert status == 1
    assert f"{hits - 1:,} messages, 1 copies" in err
    assert f"missing: {name}" in err


def test_nothing_sent_is_told_too(night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    filters = folder(tmp_path / "filters", none="SELECT alert_id FROM alerts WHERE candidate.magpsf < 1")
    publish = ("--publish", f"folder:{tmp_path}/hits")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *publish)) == 0
    capfd.readouterr()
    status, out, err = listened(capfd, f"folder:{tmp_path}/hits", "--verify")
    assert (status, out) == (0, "")
    assert "1 manifests tell of 0 messages; 0 of them are missing" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["folder:{place}/nowhere"], "is no folder; look for a misspelling"),
        (["folder:{place}", "--from", "yesterday"], "--from yesterday is neither earliest, latest, nor a time"),
        (["folder:{place}", "--verify"], "has no manifest: nothing says what was sent"),
        (["folder:{place}", "--verify", "--from", "latest"], "leave --from out"),
        (["pubsub:projects/my-project/topics/hits"], "is a topic; give a subscription of it"),
        (["kafka:127.0.0.1:1/x"], "Kafka at 127.0.0.1:1 does not answer"),
    ],
)
def test_what_cannot_be_listened_to_is_told(words: list[str], told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "_manifest").mkdir()
    status, _, err = listened(capfd, *(word.replace("{place}", str(tmp_path)) for word in words))
    assert status in (1, 2)
    assert told in err


def test_what_is_not_public_is_in_no_public_place(night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Alerts of a partnership's program, and alerts whose history has one measurement of it, planted among public ones."""
    private = planted(night, tmp_path / "night")
    assert {kind: len(ids) for kind, ids in private.items()} == {"own": 10, "history": 10}
    filters = folder(tmp_path / "filters", every="SELECT alert_id FROM alerts WHERE candidate.jd > 0")
    outlets = [f"folder:{tmp_path}/{form}?format={form}{who}" for form in ("lite", "json", "packet") for who in ("",)]
    outlets += [f"folder:{tmp_path}/stream?filter=all", f"folder:{tmp_path}/partners?filter=all&private"]
    own = {str(alert_id) for alert_id in private["own"]}
    publish = [word for outlet in outlets for word in ("--publish", outlet)]
    flags = ("--filters", str(filters), "--no_cutouts", *publish)
    assert run(tmp_path / "w", tmp_path / "night", flags=flags) == 0
    said = capfd.readouterr().out
    hidden = {str(alert_id) for ids in private.values() for alert_id in ids}
    # As it came a packet is whole; otherwise an alert that is public itself is told without what is not.
    for name, kept_back in {"lite": own, "json": own, "packet": hidden, "stream": hidden}.items():
        came = {headers["alert_id"] for headers, _, _ in received(tmp_path / name)}
        assert len(came) == ALERTS - len(kept_back)
        assert not came & kept_back
        assert f"{len(kept_back)} hits were not sent to folder:{tmp_path}/{name}, which is public" in said
    assert {headers["alert_id"] for headers, _, _ in received(tmp_path / "partners")} >= hidden
    # Nor anywhere in what is to be sent there.
    public = "SELECT payload FROM outbox WHERE topic NOT LIKE '%/partners%' AND payload IS NOT NULL"
    assert not any(alert_id.encode() in bytes(payload) for (payload,) in ask(tmp_path / "w", public) for alert_id in own)


def planted(night: Path, place: Path) -> dict[str, list[int]]:
    """The night's packets as files, of which some are private: by what of them is."""
    place.mkdir()
    private: dict[str, list[int]] = {"own": [], "history": []}
    done = set[int]()
    with tarfile.open(next(night.glob("*.tar.gz"))) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            reader = fastavro.reader(file)
            (record,) = reader
            if record["candid"] in done:
                continue
            done.add(record["candid"])
            public = [record["candidate"], *(record["prv_candidates"] or ()), *(record.get("fp_hists") or ())]
            for item in public:
                item["programid"] = 1
            if len(private["own"]) < 10:
                record["candidate"]["programid"] = 2
                private["own"].append(record["candid"])
            elif record["prv_candidates"] and len(private["history"]) < 10:
                record["prv_candidates"][-1]["programid"] = 3
                private["history"].append(record["candid"])
            with (place / member.name).open("wb") as out:
                fastavro.writer(out, reader.writer_schema, [record])
    return private
