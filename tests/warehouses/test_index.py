"""The index says where not to look and never what there is: answers are those of reading every file, whatever becomes of it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import warehouses
from alerts.positions import cone_ranges
from broker import cli
from tests.warehouses.commits import alerts, at_every_step, from_input, put
from warehouses.folder import compact, index, index_files, manifest, readers
from warehouses.folder import warehouse as folder_warehouse
from warehouses.folder.index_files import entries_of, files_of, joined, object_key, read_entries, write_entries
from warehouses.folder.rebuild import rebuild
from warehouses.sought import in_ranges, of_ids, of_object
from warehouses.units import WrittenFile

NIGHTS, OBJECTS = 9, 5


@pytest.fixture(autouse=True)
def _small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_LEAST_ROWS", 8)


def changed(rows: pa.RecordBatch, **columns: Any) -> pa.RecordBatch:
    """The rows with other values in some columns."""
    schema = rows.schema
    arrays = [columns.get(field.name, rows.column(field.name)) for field in schema]
    return pa.RecordBatch.from_arrays(
        [
            each.cast(field.type) if isinstance(each, pa.Array | pa.ChunkedArray) else pa.array(each, field.type)
            for each, field in zip(arrays, schema, strict=True)
        ],
        schema=schema,
    )


def night(number: int) -> pa.RecordBatch:
    """Alerts of a few objects, which come again each night; the last has no object and no place."""
    rows = alerts(count=OBJECTS + 1)
    days = pa.scalar(timedelta(days=number), pa.duration("us"))
    return changed(
        rows,
        alert_id=pc.add(rows.column("alert_id"), 1000 * number),
        object_id=[*(f"object{each}" for each in range(OBJECTS)), None],
        healpix29=[*rows.column("healpix29").to_pylist()[:OBJECTS], None],
        ra_deg=[*rows.column("ra_deg").to_pylist()[:OBJECTS], None],
        dec_deg=[*rows.column("dec_deg").to_pylist()[:OBJECTS], None],
        observed_at=pc.add(rows.column("observed_at"), days),
        night=pc.add(rows.column("night"), days).cast(pa.date32()),
    )


def filled(place: Path, nights: int = NIGHTS) -> Path:
    """A night in each input; one of them sends an alert of an earlier night again, newer and of another object."""
    for number in range(nights):
        rows = night(number)
        if number == nights - 1:
            own = {"alert_id": night(1).column("alert_id").slice(0, 1), "object_id": ["elsewhere"]}
            again = changed(rows.slice(0, 1), **own, published_at=[datetime(2030, 1, 1, tzinfo=UTC)])
            rows = pa.Table.from_batches([rows, again]).combine_chunks().to_batches()[0]
        put(str(place), f"run{number}", (f"{number}.tar",), from_input(rows, f"{number}.tar#x"))
    return place


def answers(place: Path) -> dict[str, str]:
    """What can be asked of it, by object, place and id: as text, in which NaN is NaN."""
    first = night(0)
    with warehouses.open(str(place)) as opened:
        found: dict[str, Any] = {name: opened.alerts_of(name).to_pylist() for name in ("object0", "elsewhere", "nobody")}
        for row in range(0, OBJECTS, 4):
            ra_deg, dec_deg = (first.column(name)[row].as_py() for name in ("ra_deg", "dec_deg"))
            found[f"cone {row}"] = opened.cone(ra_deg, dec_deg, 2.0).to_pylist()
        found["whole sky"] = opened.cone(0.0, 0.0, 180 * 3600.0).to_pylist()
        found["light curve"] = opened.light_curve("object2").to_pylist()
        for number in (1,):
            [alert_id] = night(number).column("alert_id").slice(0, 1).to_pylist()
            found[f"info {number}"] = opened.info(alert_id)
            if found[f"info {number}"]:
                found[f"packet {number}"] = opened.packet(alert_id)
    return {name: str(each) for name, each in found.items()}


def few_answers(place: Path) -> list[str]:
    first = night(0).slice(0, 1).to_pylist()[0]
    with warehouses.open(str(place)) as opened:
        found = [opened.alerts_of("object0"), opened.alerts_of("elsewhere"), opened.cone(first["ra_deg"], first["dec_deg"], 2.0)]
        return [str(each.to_pylist()) for each in found]


@contextlib.contextmanager
def without_index() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folder_warehouse.FolderWarehouse, "_has_index", lambda *_: False)
        yield


def check_same(place: Path) -> None:
    with without_index():
        expected = answers(place)
    assert_same(answers(place), expected)
    with pytest.MonkeyPatch.context() as patched:
        # By DuckDB over the files that the index names.
        patched.setattr(folder_warehouse, "_FEW_FILES", 0)
        assert_same(answers(place), expected)


def assert_same(found: dict[str, str], expected: dict[str, str], *about: object) -> None:
    assert [name for name in expected if found[name] != expected[name]] == [], about


def files_looked_into(place: Path, sought: Any) -> int:
    with warehouses.open(str(place)) as opened, opened.holding(sought) as some:
        assert isinstance(some, folder_warehouse.FolderWarehouse)
        return some._opened().manifest.of("ztf_alerts").num_rows


@pytest.mark.parametrize("at_least", [1, 3])
def test_the_same_is_found_in_fewer_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_least: int) -> None:
    monkeypatch.setattr(index, "AT_LEAST", at_least)
    place = filled(tmp_path)
    check_same(place)
    # One file is always there, by which the columns are known; an alert is looked for in all files that have its id.
    assert files_looked_into(place, of_object("nobody")) == 1
    assert files_looked_into(place, of_object("elsewhere")) <= 3
    [alert_id] = night(2).column("alert_id").slice(0, 1).to_pylist()
    assert files_looked_into(place, of_ids([alert_id])) <= 2
    # An alert that was sent again as another object's is none of the object's any more: its newest row tells.
    with warehouses.open(str(place)) as opened:
        assert len(opened.alerts_of("object0")) == NIGHTS - 1


def test_what_is_replaced_or_compacted_is_found_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path)
    put(str(place), "again", ("4.tar",), from_input(alerts(count=3, seed=9), "4.tar#new"))
    check_same(place)
    sent_again = changed(night(3), published_at=[datetime(2030, 1, 1, tzinfo=UTC)] * (OBJECTS + 1))
    put(str(place), "other", ("other.tar",), from_input(sent_again, "other.tar#x"))
    compact.compact(str(place))
    assert not index.not_indexed(readers.begun(str(place))).num_rows
    check_same(place)
    put(str(place), "last", ("3.tar",), from_input(night(3).slice(0, 2), "3.tar#x"))
    check_same(place)


def test_files_that_wait_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 4)
    place = filled(tmp_path, 6)
    assert index.not_indexed(readers.begun(str(place))).num_rows == 2
    assert files_looked_into(place, of_object("nobody")) == 3
    check_same(place)
    assert cli.main(["compact", "--warehouse", str(place)]) == 0
    assert not index.not_indexed(readers.begun(str(place))).num_rows
    check_same(place)


@pytest.mark.parametrize("power_loss", [False, True], ids=["killed", "power loss"])
def test_what_dies_at_any_step_leaves_answers_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power_loss: bool
) -> None:
    monkeypatch.setattr(index, "_FANOUT", 2)
    first = filled(tmp_path / "first", 3)
    index.complete(str(first))
    put(str(first), "more", ("more.tar",), from_input(night(7), "more.tar#x"))
    with without_index():
        before = few_answers(first)

    def check(place: Path, about: object) -> None:
        assert few_answers(place) == before, about
        index.complete(str(place))
        assert few_answers(place) == before, about
        assert not index.not_indexed(readers.begun(str(place))).num_rows, about

    assert at_every_step(first, tmp_path, index.complete, check, power_loss=power_loss) > 2


@pytest.mark.parametrize(("harm", "mended_by"), [("gone", "rebuild"), ("cut", "commit"), ("other", "commit")])
def test_an_index_that_is_none_changes_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, harm: str, mended_by: str
) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path, 3)
    for file in place.glob("_index/*.parquet"):
        if harm == "gone":
            file.unlink()
        elif harm == "cut":
            file.write_bytes(file.read_bytes()[:-20])
        else:
            file.write_bytes(b"no index")
    check_same(place)
    assert "the index names cannot be read" in caplog.text
    if mended_by == "rebuild":
        assert cli.main(["compact", "--rebuild", "--warehouse", str(place)]) == 0
    else:
        # What comes becomes one with the others, so that it is seen; the commit after that makes the index anew.
        for number in (7, 8):
            put(str(place), f"run{number}", (f"{number}.tar",), from_input(night(number), f"{number}.tar#x"))
    check_same(place)
    now = readers.begun(str(place))
    assert not index.not_indexed(now).num_rows
    assert files_looked_into(place, of_object("nobody")) == 1
    assert {f"_index/{path.name}" for path in place.glob("_index/*")} >= set(now.index.column("path").to_pylist())


class OfABucket(Exception):
    """An error that is no ``OSError``."""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OfABucket("503")], ids=["disk", "bucket"])
def test_what_fails_in_the_index_fails_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def full(*given: object) -> None:
        raise error

    monkeypatch.setattr(index, "AT_LEAST", 1)
    with monkeypatch.context() as patched:
        patched.setattr(index, "write_entries", full)
        place = filled(tmp_path, 3)
    assert f"could not be indexed ({error}); objects and cones are found all the same" in caplog.text
    check_same(place)
    compact.compact(str(place))
    assert not index.not_indexed(readers.begun(str(place))).num_rows
    check_same(place)


def test_rebuilding_keeps_no_index_that_nobody_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path, 3)
    for version in place.glob("_manifest/*"):
        version.write_bytes(b"damaged")
    assert cli.main(["compact", "--rebuild", "--warehouse", str(place)]) == 0
    named = set(readers.begun(str(place)).index.column("path").to_pylist())
    assert {f"_index/{path.name}" for path in place.glob("_index/*")} == named
    check_same(place)


def test_a_file_that_changed_by_hand_is_indexed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path, 4)
    first, second = sorted(place.glob("ztf_alerts/*/*.parquet"))[:2]
    rows = pq.ParquetFile(second).read()
    number = rows.schema.get_field_index("object_id")
    pq.write_table(rows.set_column(number, rows.schema.field(number), pa.array(["by hand"] * len(rows))), second)
    first.unlink()
    assert cli.main(["compact", "--rebuild", "--warehouse", str(place)]) == 0
    check_same(place)
    with warehouses.open(str(place)) as opened:
        [by_sql] = opened.query("SELECT COUNT(*) AS n FROM ztf_alerts_unique WHERE object_id = 'by hand'").to_pylist()
        assert len(opened.alerts_of("by hand")) == by_sql["n"] >= len(rows) - 1


def test_the_files_of_the_index_stay_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = index.write_entries

    def noted(place: WrittenFile, entries: Any) -> WrittenFile:
        written.append(sum(len(keys) for keys, _ in entries.values()))
        return write(place, entries)

    monkeypatch.setattr(index, "write_entries", noted)
    monkeypatch.setattr(index, "AT_LEAST", 1)
    rows, commits = night(0).slice(0, 3), 24
    for number in range(commits):
        own = changed(rows, object_id=[f"{number}", "every", None])
        put(str(tmp_path), f"run{number}", (f"{number}.tar",), from_input(own, f"{number}.tar#x"))
    now = readers.begun(str(tmp_path))
    # At most three of a size, and each entry is written once for each size that it has been in.
    sizes = now.index.column("rows").to_pylist()
    levels = [index._level(size) for size in sizes]
    assert max(levels.count(level) for level in levels) < index._FANOUT
    assert sum(written) <= 8 * commits * (2 + max(levels))
    found = index.narrowed(str(tmp_path), now, of_object("7")).of("ztf_alerts")
    assert found.num_rows <= 2
    assert index.narrowed(str(tmp_path), now, of_object("every")).of("ztf_alerts").num_rows == commits


def test_no_file_becomes_larger_than_is_sorted_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    monkeypatch.setattr(index, "_MERGED_ROWS", 60)
    place = filled(tmp_path, 8)
    sizes = readers.begun(str(place)).index.column("rows").to_pylist()
    assert len(sizes) > 1
    assert max(sizes) <= 60
    check_same(place)


def test_of_two_who_index_the_same_one_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filled(tmp_path, 4)
    step = index._step

    def beside(*given: Any) -> Any:
        monkeypatch.setattr(index, "_step", step)
        own = step(*given)
        index.complete(str(place))
        return own

    monkeypatch.setattr(index, "_step", beside)
    index.complete(str(place))
    named = readers.begun(str(place)).index.column("path").to_pylist()
    assert [f"_index/{path.name}" for path in place.glob("_index/*")] == named
    check_same(place)


def test_who_reads_has_the_index_of_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    monkeypatch.setattr(index, "_FANOUT", 2)
    place = filled(tmp_path, 3)
    with warehouses.open(str(place)) as opened:
        before = opened.alerts_of("object0").table
        for number in range(3, 7):
            put(str(place), f"run{number}", (f"{number}.tar",), from_input(night(number), f"{number}.tar#x"))
        compact.compact(str(place))
        assert opened.alerts_of("object0").table == before
        with opened.holding(of_object("nobody")) as some:
            assert some is not opened


def test_a_manifest_of_the_first_format_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filled(tmp_path, 3)
    last = max(place.glob("_manifest/*"))
    old = pq.read_table(last).drop_columns(["number", "indexed"])
    pq.write_table(old.replace_schema_metadata({"format_version": "1"}), last)
    check_same(place)
    monkeypatch.setattr(index, "AT_LEAST", 1)
    put(str(place), "more", ("more.tar",), from_input(night(7), "more.tar#x"))
    now = readers.begun(str(place))
    assert not index.not_indexed(now).num_rows
    assert len(set(now.files.column("number").to_pylist())) == now.files.num_rows
    check_same(place)


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    place = filled(tmp_path, 2)
    known: dict[str, int] = {}
    for again in range(4):
        put(str(place), f"again{again}", ("0.tar",), from_input(night(0), "0.tar#x"))
        now = readers.begun(str(place)).files
        for path, number in zip(now.column("path").to_pylist(), now.column("number").to_pylist(), strict=True):
            assert known.setdefault(path, number) == number
    assert len(set(known.values())) == len(known)


def written(place: Path, entries: index_files.Entries) -> str:
    uri = str(place / "entries.parquet")
    write_entries(WrittenFile("stream", uri, uri, 0), entries)
    return uri


def test_ranges_by_brute_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_files, "_GROUP_ROWS", 7)
    random = np.random.default_rng(1)
    least, greatest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    keys = np.concatenate([random.integers(-50, 50, 200), [least, greatest]])
    files = random.integers(0, 9, len(keys))
    entries = joined([{"healpix29": (keys, files), "alert_id": (keys[:5], files[:5])}], np.arange(8))
    uri = written(tmp_path, entries)
    assert {name: [side.tolist() for side in pair] for name, pair in read_entries(uri).items()} == {
        name: [side.tolist() for side in pair] for name, pair in entries.items() if len(pair[0])
    }
    for _ in range(200):
        edges = np.unique(random.integers(-60, 60, 2 * random.integers(1, 5)))
        ranges = edges[: len(edges) // 2 * 2].reshape(-1, 2)
        inside = ((keys[:, None] >= ranges[:, 0]) & (keys[:, None] <= ranges[:, 1])).any(axis=1) & (files < 8)
        assert files_of(uri, "healpix29", ranges).tolist() == np.unique(files[inside]).tolist()
    ends = np.array([[least, least], [greatest, greatest]])
    assert files_of(uri, "healpix29", ends).tolist() == np.unique(files[-2:][files[-2:] < 8]).tolist()
    assert files_of(uri, "object_id", ends).tolist() == []


def test_what_has_no_value_has_no_entry(tmp_path: Path) -> None:
    place = filled(tmp_path, 1)
    found = entries_of(str(next(place.glob("ztf_alerts/*/*.parquet"))), 3)
    assert [len(found[name][0]) for name in ("object_id", "healpix29", "alert_id")] == [OBJECTS + 1, OBJECTS, OBJECTS + 2]
    assert object_key("object0") in found["object_id"][0]
    assert len({object_key(f"ZTF{number}") for number in range(10_000)}) == 10_000


def test_places_are_asked_for_by_their_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path, 3)
    now = readers.begun(str(place))
    cell = night(0).column("healpix29")[0].as_py()
    assert index.narrowed(str(place), now, in_ranges([(cell, cell)])).of("ztf_alerts").num_rows == 3
    assert index.narrowed(str(place), now, in_ranges([(cell + 1, cell + 1)])).of("ztf_alerts").num_rows == 1
    with pytest.raises(ValueError, match="the index has no night"):
        index.narrowed(str(place), now, type(of_ids([1]))("night", ""))


def test_a_wide_cone_is_not_looked_for_in_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path, 3)
    monkeypatch.setattr(index, "narrowed", lambda *_: pytest.fail("the index was asked"))
    with warehouses.open(str(place)) as opened:
        assert len(opened.cone(0.0, 0.0, 180 * 3600.0)) == 3 * OBJECTS
    assert not in_ranges(cone_ranges(10.0, 20.0, 3600.0)).is_wide
    assert in_ranges(cone_ranges(10.0, 20.0, 4 * 3600.0)).is_wide


def test_many_files_are_indexed_a_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filled(tmp_path, 5)
    monkeypatch.setattr(index, "_AT_MOST_ROWS", 2 * (OBJECTS + 1) - 1)
    assert index.keep(str(place), at_least=1)
    assert index.not_indexed(readers.begun(str(place))).num_rows == 3
    monkeypatch.setattr(index, "_AT_MOST", 1)
    assert index.keep(str(place), at_least=1)
    assert index.not_indexed(readers.begun(str(place))).num_rows == 2
    index.complete(str(place))
    assert not index.not_indexed(readers.begun(str(place))).num_rows
    check_same(place)


@pytest.mark.parametrize("lost", ["a file's bytes", "the manifest"])
def test_a_step_beside_a_rebuild_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """What has the same name may be another file after it, and has another number."""
    place = filled(tmp_path, 4)
    step = index._step

    def beside(*given: Any) -> Any:
        monkeypatch.setattr(index, "_step", step)
        own = step(*given)
        if lost == "the manifest":
            shutil.rmtree(place / "_manifest")
        else:
            rewrite(sorted(place.glob("ztf_alerts/*/*.parquet"))[0], object_id=["by hand"] * (OBJECTS + 1))
        with monkeypatch.context() as patched:
            patched.setattr(index, "complete", lambda _: None)
            rebuild(str(place))
        return own

    monkeypatch.setattr(index, "_step", beside)
    index.complete(str(place))
    assert not index.not_indexed(readers.begun(str(place))).num_rows
    check_same(place)
    with warehouses.open(str(place)) as opened:
        assert len(opened.alerts_of("by hand")) == (0 if lost == "the manifest" else OBJECTS + 1)


def rewrite(file: Path, without: str | None = None, **columns: list[Any]) -> None:
    """A table's file by somebody's hand."""
    rows = pq.ParquetFile(file).read()
    for name, values in columns.items():
        number = rows.schema.get_field_index(name)
        rows = rows.set_column(number, rows.schema.field(number), pa.array(values, rows.schema.field(number).type))
    pq.write_table(rows if without is None else rows.drop_columns([without]), file)


@pytest.mark.parametrize("version", ["7\x1c", "1e3", "0x1F", "\xa04", "1_000", "9" * 5000, "4.10"])
def test_versions_that_a_database_alone_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    rows = night(0)
    put(str(tmp_path), "run1", ("a.tar",), from_input(rows, "a.tar#x"))
    other = changed(rows, schema_version=[version] * len(rows), packet_digest=[b"other"] * len(rows))
    put(str(tmp_path), "run2", ("b.tar",), from_input(other, "b.tar#x"))
    with without_index():
        before = few_answers(tmp_path)
    assert few_answers(tmp_path) == before


def test_a_page_of_the_index_with_another_byte_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 3)
    place = filled(tmp_path, 3)
    [file] = place.glob("_index/*.parquet")
    with without_index():
        before = few_answers(place)
    whole = file.read_bytes()
    chunk = pq.ParquetFile(file).metadata.row_group(0).column(1)
    first = chunk.dictionary_page_offset or chunk.data_page_offset
    # The last bytes of the column's one page are its values.
    for place_of_byte in range(first + chunk.total_compressed_size - 40, first + chunk.total_compressed_size, 4):
        damaged = bytearray(whole)
        damaged[place_of_byte] ^= 1
        file.write_bytes(bytes(damaged))
        caplog.clear()
        assert few_answers(place) == before
        assert "the index names cannot be read" in caplog.text


def test_a_part_that_is_gone_is_made_anew_by_compaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path, 3)
    next(place.glob("_index/*.parquet")).unlink()
    compact.compact(str(place))
    assert not index.not_indexed(readers.begun(str(place))).num_rows
    assert files_looked_into(place, of_object("nobody")) == 1
    check_same(place)


def test_a_file_that_cannot_be_read_keeps_no_other_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = filled(tmp_path, 4)
    file = sorted(place.glob("ztf_alerts/*/*.parquet"))[1]
    whole = file.read_bytes()
    file.write_bytes(b"PAR1" + bytes(len(whole) - 8) + b"PAR1")
    index.complete(str(place))
    assert index.not_indexed(readers.begun(str(place))).column("path").to_pylist() == [str(file.relative_to(place))]
    assert f"{file} cannot be read" in caplog.text
    file.write_bytes(whole)
    check_same(place)


def test_a_run_does_not_index_what_was_there_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "MANY_FILES", 2)
    monkeypatch.setattr(index, "_AT_MOST", 1)
    place = filled(tmp_path, 4)
    put(str(place), "last", ("more.tar", "most.tar"), from_input(night(3), "more.tar"))
    with warehouses.open(str(place)) as opened:
        monkeypatch.setattr(index, "AT_LEAST", 2)
        opened.tidy("last")
    assert index.not_indexed(readers.begun(str(place))).num_rows == 3


@pytest.mark.parametrize("column", ["healpix29", "object_id"])
def test_a_file_without_a_column_has_none_that_is_sought_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    place = filled(tmp_path, 3)
    for file in sorted(place.glob("ztf_alerts/*/*.parquet"))[:2]:
        rewrite(file, without=column)
    rebuild(str(place))
    with without_index():
        before = few_answers(place)
    assert few_answers(place) == before


def test_it_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "AT_LEAST", 1)
    place = filled(tmp_path, 2)
    assert manifest.INDEX not in readers.begun(str(place)).tables
    with warehouses.open(str(place)) as opened:
        assert not [name for name in opened.tables if "index" in name]
