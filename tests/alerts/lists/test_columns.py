"""What lists say of alerts as columns of the row that filters see, and what they do not say where a list is not what it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pytest

from alerts.catalogs.files.read_table import open_local_file
from alerts.features.records import Floats
from alerts.filters.filter_set import FilterSet
from alerts.filters.inputs import UsedField
from alerts.filters.running import Running
from alerts.filters.text import parse_text
from alerts.limits import MAX_LISTS
from alerts.lists import columns, own_lists
from alerts.lists.columns import AskedLists, ListColumns
from alerts.lists.named import BadList
from alerts.lists.own_lists import OwnLists, open_region, open_watchlist, read_lists
from alerts.lists.regions.times import days_to_first_detection
from alerts.positions import healpix29
from alerts.surveys import Survey, survey
from tests.alerts.filters.rows import real
from tests.conftest import OURS, RealData

ZTF = survey("ztf")
RA_DEG, DEC_DEG = [10.0, 200.0, 10.0, None], [20.0, -60.0, 20.0001, None]


def rows() -> pa.RecordBatch:
    """Four alerts, the last of them without a place on the sky."""
    places = healpix29([10.0, 200.0, 10.0], [20.0, -60.0, 20.0001]).tolist()
    times = [datetime(2026, 11, 1, hour, tzinfo=UTC) for hour in range(4)]
    return pa.RecordBatch.from_pydict(
        {
            "alert_id": pa.array([1, 2, 3, 4], pa.int64()),
            "healpix29": pa.array([*places, None], pa.int64()),
            "ra_deg": pa.array(RA_DEG, pa.float64()),
            "dec_deg": pa.array(DEC_DEG, pa.float64()),
            "observed_at": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )


def lists_in(folder: Path) -> OwnLists:
    """A region with the first and third alert, and a list with the first."""
    (folder / "here.json").write_text(json.dumps({"6": [rows().column("healpix29")[0].as_py() >> 46]}))
    (folder / "mine.csv").write_text("ra,dec,radius_arcsec\n10.0,20.0,0.3\n")
    regions = [f"here={folder / 'here.json'}?t0=2026-11-01T00:00:00Z", f"other={folder / 'here.json'}"]
    return read_lists([f"mine={folder / 'mine.csv'}"], regions, 5.0, open_local_file, str)


def running(lists: OwnLists, **conditions: str) -> Running:
    texts = tuple(
        parse_text(name, f"-- surveys: ztf\nSELECT alert_id FROM alerts WHERE {text}\n") for name, text in conditions.items()
    )
    compiled = FilterSet(texts, lists).of_survey("ztf")
    return Running(compiled, ListColumns(AskedLists.of(lists, compiled.used), ZTF, open_local_file))


def passed(judged: dict) -> dict[str, list[bool]]:
    return {name: said.passed.tolist() for name, said in judged.items()}


def test_filters_see_what_lists_say(tmp_path: Path):
    asked = running(
        lists_in(tmp_path),
        inside="regions.here",
        outside="NOT regions.here",
        nowhere="regions.here IS NULL AND watchlists.mine IS NULL",
        watched="watchlists.mine",
        since="regions.here_days_since >= 1 / 24",
    )
    assert passed(asked.judge(rows())) == {
        "inside": [True, False, True, False],
        "outside": [False, True, False, False],
        "nowhere": [False, False, False, True],
        "watched": [True, False, False, False],
        "since": [False, True, True, True],
    }


def test_only_lists_that_filters_ask_about_are_looked_at(tmp_path: Path):
    lists = lists_in(tmp_path)
    used = (
        FilterSet((parse_text("f", "-- surveys: ztf\nSELECT 1 AS a FROM alerts WHERE regions.here"),), lists)
        .of_survey("ztf")
        .used
    )
    asked = AskedLists.of(lists, used)
    assert asked.names == ["region:here"]
    assert set(asked.columns(ZTF)) == {"healpix29", "ra_deg", "dec_deg", "observed_at"}
    told = ListColumns(asked, ZTF, open_local_file).add(rows()).alerts
    assert told.column("regions").type.names == ["here"]
    assert "watchlists" not in told.schema.names


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_list_that_is_not_what_it_was_gives_no_verdict_and_disturbs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
):
    lists = lists_in(tmp_path)
    # Another process, which has not read them yet.
    monkeypatch.setattr(own_lists, "_OPEN", type(own_lists._OPEN)())
    if what == "changed":
        (tmp_path / "here.json").write_text('{"0": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}')
    else:
        (tmp_path / "here.json").unlink()
    judged = running(lists, inside="regions.here", watched="watchlists.mine", level="regions.here_days_since > 0").judge(rows())
    assert passed(judged)["watched"] == [True, False, False, False]
    for name in ("inside", "level"):
        assert not judged[name].passed.any()
        assert not judged[name].rejected.any()
        assert set(judged[name].failures) == {0, 1, 2, 3}
        assert ("has changed since the run began" if what == "changed" else "cannot be read") in judged[name].failures[0]
    assert not judged["watched"].failures


def test_other_contents_or_parameters_are_another_version(tmp_path: Path):
    first = lists_in(tmp_path)
    assert first == lists_in(tmp_path)
    assert set(first.versions) == {"watchlist:mine", "region:here", "region:other"}
    assert first.versions["region:here"] != first.versions["region:other"]
    (tmp_path / "mine.csv").write_text("ra,dec,radius_arcsec\n10.0,20.0,0.4\n")
    again = read_lists([f"mine={tmp_path / 'mine.csv'}"], [], 5.0, open_local_file, str)
    assert again.versions["watchlist:mine"] != first.versions["watchlist:mine"]
    assert again.texts["watchlist:mine"].startswith(f"mine={tmp_path / 'mine.csv'}")


@pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (None, "cannot be read: No such file or directory")])
@pytest.mark.parametrize("kind", ["watchlist", "region"])
def test_a_file_that_is_none_is_told(tmp_path: Path, kind: str, content: bytes | None, told: str):
    if content is not None:
        (tmp_path / "f").write_bytes(content)
    named = [f"mine={tmp_path / 'f'}"]
    with pytest.raises(BadList, match=told):
        read_lists(named if kind == "watchlist" else [], named if kind == "region" else [], 5.0, open_local_file, str)


def test_a_place_that_raises_whatever_it_likes_is_told(tmp_path: Path):
    """A bucket's client has errors of its own, and so has Beam of paths of services that it does not know."""

    def opener(path: str) -> BinaryIO:
        raise ValueError(f"Unable to get filesystem of\n{path}")

    with pytest.raises(BadList, match=r"cannot be read: ValueError: Unable to get filesystem of http://x.y/a.json$"):
        read_lists([], ["here=http://x.y/a.json"], 5.0, opener, str)


def test_lists_are_opened_once_however_many_there_are(tmp_path: Path):
    opened = list[str]()

    def opener(path: str) -> BinaryIO:
        opened.append(path)
        return open_local_file(path)

    (tmp_path / "here.json").write_text('{"3": [1]}')
    regions = [f"r{number}={tmp_path / 'here.json'}" for number in range(MAX_LISTS + 1)]
    lists = read_lists([], regions[:MAX_LISTS], 5.0, opener, str)
    assert len(opened) == MAX_LISTS
    (tmp_path / "here.json").unlink()
    for file in lists.regions:
        open_region(file, opener)
    assert len(opened) == MAX_LISTS
    with pytest.raises(BadList, match="there are 257 watchlists and regions; 256 are the most"):
        read_lists([], regions, 5.0, opener, str)


def test_of_a_list_that_changes_what_is_asked_and_what_it_is_now_are_held(tmp_path: Path):
    place = tmp_path / "mine.csv"
    named, versions = [f"mine={place}"], []
    for number in range(5):
        place.write_text(f"ra,dec\n{number},20.0\n")
        versions.append(read_lists(named, [], 5.0, open_local_file, str).watchlists[0])
        # This one is asked all the time, as one is whose successors come with others that are wrong.
        assert open_watchlist(versions[0], open_local_file).spec == versions[0].spec
    with pytest.raises(BadList, match="has changed since the run began"):
        open_watchlist(versions[3], open_local_file)


def test_places_that_are_left_out_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "mine.csv").write_text("ra,dec\n10.0,20.0\n400.0,95.0\n,\n")
    read_lists([f"mine={tmp_path / 'mine.csv'}"], [], 5.0, open_local_file, str)
    (said,) = caplog.messages
    assert said.endswith("mine.csv, the list mine: 2 rows have a position that is no place on the sky, and are left out")


def test_histories_are_read_once_however_many_events_there_are(
    tmp_path: Path, real_data: RealData, monkeypatch: pytest.MonkeyPatch
):
    """It takes a fifth of what decoding an alert does."""
    told, calls = columns.age_of_first_detection_days, list[int]()

    def counted(alerts: pa.RecordBatch, facts: Survey) -> Floats:
        calls.append(alerts.num_rows)
        return told(alerts, facts)

    monkeypatch.setattr(columns, "age_of_first_detection_days", counted)
    (tmp_path / "sky.json").write_text('{"0": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}')
    regions = [f"e{day}={tmp_path / 'sky.json'}?t0=2018-05-{day:02}T00:00:00Z" for day in range(1, 6)]
    lists = read_lists([], regions, 5.0, open_local_file, str)
    used = UsedField({f"e{day}_days_to_first_detection": UsedField() for day in range(1, 6)})
    batch = next(iter(real(real_data, "ztf", (OURS,))))
    made = ListColumns(AskedLists.of(lists, {"regions": used}), ZTF, open_local_file).add(batch)
    assert calls == [batch.num_rows]
    for day in range(1, 6):
        expected = days_to_first_detection(batch, ZTF, datetime(2018, 5, day, tzinfo=UTC))
        assert made.alerts.column("regions").field(f"e{day}_days_to_first_detection").equals(expected)
    ListColumns(AskedLists.of(lists, {}), ZTF, open_local_file).add(batch)
    assert len(calls) == 1


def test_whatever_a_list_raises_is_its_own_affair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lists = lists_in(tmp_path)

    def raises(*_: object) -> None:
        raise ZeroDivisionError("here")

    monkeypatch.setattr("alerts.lists.columns.days_since", raises)
    judged = running(lists, inside="regions.other", since="regions.here_days_since > 0").judge(rows())
    assert passed(judged)["inside"] == [True, False, True, False]
    assert set(judged["since"].failures.values()) == {"ZeroDivisionError: here"}
