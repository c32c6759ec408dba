"""Alerts of which only the history has what is not public: in public they are as if the survey had sent them without that."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipelines import refilter
from tests.conftest import RealData
from tests.nights import ask, run, simulated
from tests.nights import records as packets_of
from tests.pipelines.test_filters import folder, verdicts
from tests.pipelines.test_hits import received, records

PRIVATE_MAG = 11.2718
"""Of the planted items, in the band of the alert; nothing else of the night is so bright."""
BRIGHTEST = "(SELECT MIN(p.magpsf) FROM UNNEST(prv_candidates) AS p)"
FILTERS = {
    "told": f"SELECT {BRIGHTEST} AS brightest, ARRAY_LENGTH(prv_candidates) AS items, ARRAY_LENGTH(fp_hists) AS forced, "
    "features.g.n_detections AS n, "
    "features.g.brightest_mag AS g, features.r.brightest_mag AS r, features.age_history_days AS age "
    "FROM alerts WHERE candidate.jd > 0",
    "only_with": f"SELECT alert_id FROM alerts WHERE {BRIGHTEST} < 11.5",
    "only_without": f"SELECT alert_id FROM alerts WHERE COALESCE({BRIGHTEST}, 30) > 11.5",
    "fails_without": """
def passes(alerts):
    found = []
    for items in alerts.column("prv_candidates").to_pylist():
        if not any(item["magpsf"] is not None and item["magpsf"] < 11.5 for item in items or ()):
            raise ValueError("nothing is so bright")
        found.append(True)
    return found
""",
}
PUBLIC = {
    "lite": "format=lite",
    "json": "format=json",
    "packet": "format=packet",
    "stream": "filter=all",
    "stream_lite": "filter=all&format=lite",
    "stream_json": "filter=all&format=json",
}
PARTS = ("lite", "json", "stream_lite", "stream_json")
"""Those that have of a packet what is public."""
PRIVATE = {"partners_json": "format=json&private", "partners_lite": "format=lite&private"}
PRIVATE_BYTES = (struct.pack("<f", PRIVATE_MAG), b"11.2718")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, real_data: RealData) -> dict[str, Any]:
    """A night ``with`` private items in the histories of some public alerts, simulated and real, and one ``without`` them."""
    place = tmp_path_factory.mktemp("planted")
    simulated(place / "simulated", "--alerts", "40", "--seed", "9")
    archives = [*(place / "simulated").glob("*.tar.gz"), real_data / "ztf/nightly/ztf_public_20231012.tar.gz"]
    mixed = list[int]()
    for archive in archives:
        for number, (name, schema, record) in enumerate(packets_of(archive)):
            private = _private(record) if number % 3 == 0 else None
            _write(place / "without" / name, schema, record)
            if private is not None:
                mixed.append(record["candid"])
                history = record["prv_candidates"]
                record["prv_candidates"] = [*history[:1], private, *history[1:], private | {"jd": private["jd"] - 1}]
                if forced := record.get("fp_hists"):
                    record["fp_hists"] = [*forced, forced[0] | {"programid": 3, "magnr": PRIVATE_MAG}]
            _write(place / "with" / name, schema, record)
    assert len(mixed) > 10
    return {"with": place / "with", "without": place / "without", "mixed": set(map(str, mixed))}


def _private(record: dict[str, Any]) -> dict[str, Any] | None:
    """A detection of the partnership's that no one else has seen."""
    found = [item for item in record["prv_candidates"] or () if item["magpsf"] is not None]
    if not found:
        return None
    return found[0] | {"programid": 2, "magpsf": PRIVATE_MAG, "jd": found[0]["jd"] - 0.5, "isdiffpos": "t", "candid": 1427}


def _write(path: Path, schema: Any, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        fastavro.writer(out, schema, [record])


@pytest.fixture(scope="module")
def ran(planted: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``with`` and ``without``: warehouse ``w``, a folder for each outlet, and what was said."""
    place = tmp_path_factory.mktemp("ran")
    filters = folder(place / "filters", **FILTERS)
    for night in ("with", "without"):
        names = {**PUBLIC, **PRIVATE} if night == "with" else {name: PUBLIC[name] for name in PARTS}
        outlets = [f"folder:{place}/{night}/{name}?{told}" for name, told in names.items()]
        publish = [word for outlet in outlets for word in ("--publish", outlet)]
        flags = ("--filters", str(filters), "--no_cutouts", "--direct_num_workers", "1", *publish)
        assert run(place / night / "w", planted[night], flags=flags) == 0
    return place


def told_of(place: Path, tmp: Path) -> dict[tuple[str, str], Any]:
    """By filter and alert, headers and payload as they can be held against others."""
    found = {}
    for headers, key, payload in received(place):
        carried: Any = json.loads(payload) if payload[:1] == b"{" else records(payload, tmp)
        if isinstance(carried, Mapping):
            carried = {name: value for name, value in carried.items() if name != "passed_at"}
        told = {name: value for name, value in headers.items() if name != "passed_at"}
        found[headers["filter"], headers["alert_id"]] = (key, told, repr(carried))
    return found


@pytest.mark.parametrize("name", PARTS)
def test_public_places_have_what_they_had_if_it_had_been_sent_without(ran: Path, tmp_path: Path, name: str):
    expected = told_of(ran / "without" / name, tmp_path)
    found = told_of(ran / "with" / name, tmp_path)
    assert set(found) == set(expected)
    assert found == expected


def test_both_directions(ran: Path, planted: dict[str, Any]):
    mixed = planted["mixed"]
    came = {
        name: {headers["alert_id"] for headers, _, _ in received(ran / "with" / "json") if headers["filter"] == name}
        for name in FILTERS
    }
    assert came["only_with"] == set()
    assert came["fails_without"] == set()
    assert came["only_without"] >= mixed
    assert came["told"] >= mixed
    partners = {
        name: {headers["alert_id"] for headers, _, _ in received(ran / "with" / "partners_json") if headers["filter"] == name}
        for name in FILTERS
    }
    assert partners["only_with"] == partners["fails_without"] == mixed
    assert not partners["only_without"] & mixed
    # The tables have what is said of the whole alert.
    for name, ids in partners.items():
        assert {str(alert_id) for alert_id, _ in verdicts(ran / "with" / "w", name)} == ids


def test_a_packet_as_it_came_goes_nowhere(ran: Path, planted: dict[str, Any]):
    for name in ("packet", "stream"):
        assert not {headers["alert_id"] for headers, _, _ in received(ran / "with" / name)} & planted["mixed"]
    alerts = ask(ran / "with" / "w", "SELECT COUNT(*) FROM ztf_alerts")[0][0]
    assert len(received(ran / "with" / "stream")) == alerts - len(planted["mixed"])


def test_each_that_is_kept_back_is_counted(ran: Path, planted: dict[str, Any]):
    (counts,) = ask(ran / "with" / "w", "SELECT counts FROM runs")[0]
    mixed = len(planted["mixed"])
    found = json.loads(counts)["withheld"]
    # Of those that a verdict tells of: ``only_without`` passes none of them as a whole.
    expected = {"lite": 2 * mixed, "json": 2 * mixed, "packet": 3 * mixed, "stream": mixed}
    assert found == {f"folder:{ran}/with/{name}": number for name, number in expected.items()}
    (counts,) = ask(ran / "without" / "w", "SELECT counts FROM runs")[0]
    assert json.loads(counts)["withheld"] == {}


def test_what_is_private_is_nowhere_in_public(ran: Path):
    for name in PUBLIC:
        for file in (ran / "with" / name).rglob("*.*"):
            assert not any(told in file.read_bytes() for told in PRIVATE_BYTES), file
        for headers, key, payload in received(ran / "with" / name):
            assert not any(told in repr((headers, key)).encode() + payload for told in PRIVATE_BYTES)
    rows = ask(ran / "with" / "w", "SELECT topic, headers, payload FROM outbox WHERE payload IS NOT NULL")
    held = {"public": 0, "partners": 0}
    for topic, headers, payload in rows:
        has = any(told in str(headers).encode() + bytes(payload) for told in PRIVATE_BYTES)
        held["partners" if "partners" in topic else "public"] += has
    assert held["public"] == 0
    assert held["partners"] > 0


def test_a_run_that_writes_no_histories_sends_none_that_are_private(
    planted: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    filters = folder(tmp_path / "filters", every="SELECT alert_id FROM alerts WHERE candidate.jd > 0")
    names = ("lite", "json", "packet", "stream", "stream_lite")
    publish = [word for name in names for word in ("--publish", f"folder:{tmp_path}/{name}?{PUBLIC[name]}")]
    assert run(tmp_path / "w", planted["with"], flags=("--filters", str(filters), "--no_cutouts", "--no_history", *publish)) == 0
    alerts = ask(tmp_path / "w", "SELECT COUNT(*) FROM ztf_alerts")[0][0]
    for name in names:
        came = received(tmp_path / name)
        expected = alerts - (len(planted["mixed"]) if name in ("packet", "stream") else 0)
        assert len(came) == expected
        assert not any(told in payload for _, _, payload in came for told in PRIVATE_BYTES)
    said = capfd.readouterr()
    assert "11.2718" not in said.out + said.err


@pytest.fixture(scope="module")
def refiltered(planted: dict[str, Any], ran: Path) -> Path:
    """What a refilter has sent of the night with private items; the filters were not asked before."""
    place = ran / "refiltered"
    assert run(place / "w", planted["with"], flags=("--no_cutouts",)) == 0
    names = {**PUBLIC, **PRIVATE}
    outlets = [f"folder:{place}/{name}?{names[name]}" for name in ("lite", "json", "stream_json", "partners_json")]
    words = ["--warehouse", str(place / "w"), "--filters", str(ran / "filters")]
    assert refilter.run([*words, *(word for outlet in outlets for word in ("--publish", outlet))]) == 0
    return place


@pytest.mark.parametrize("name", ["lite", "json", "stream_json"])
def test_of_stored_alerts_public_places_have_the_same(ran: Path, refiltered: Path, tmp_path: Path, name: str):
    expected = told_of(ran / "without" / name, tmp_path)
    found = told_of(refiltered / name, tmp_path)
    assert set(found) == set(expected)
    for hit, (key, headers, carried) in expected.items():
        again = carried.replace("'replay': False", "'replay': True") if "json" in name else carried
        assert found[hit] == (key, headers | {"replay": "true"}, again)


def test_of_stored_alerts_private_places_have_all_and_no_other_has(planted: dict[str, Any], refiltered: Path):
    came = [headers for headers, _, _ in received(refiltered / "partners_json")]
    assert {headers["alert_id"] for headers in came if headers["filter"] == "only_with"} == planted["mixed"]
    sql = "SELECT headers, payload FROM outbox WHERE payload IS NOT NULL AND topic NOT LIKE '%partners%'"
    rows = ask(refiltered / "w", sql)
    assert rows
    assert not any(told in str(headers).encode() + bytes(payload) for headers, payload in rows for told in PRIVATE_BYTES)
