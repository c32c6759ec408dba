"""The file manifest of a folder: readers see one version, commits that die change nothing, stale runs are refused."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warehouses
from tests.warehouses.commits import Struck, alerts, from_input, put, struck_at, write
from warehouses import QueryError
from warehouses.folder import claims, compact, locks, manifest, readers
from warehouses.folder.commit import CommitError, commit
from warehouses.folder.manifest_rows import may_hold, rows_of
from warehouses.folder.rebuild import rebuild
from warehouses.folder.taken import InputsTaken, StaleRun
from warehouses.units import Unit

COUNT = "SELECT COUNT(*) AS rows, COUNT(DISTINCT alert_id) AS alerts, COUNT(DISTINCT source) AS sources FROM ztf_alerts"


def counted(place: Path) -> tuple[int, int, int]:
    with warehouses.open(str(place)) as opened:
        [row] = opened.query(COUNT).to_pylist()
    return row["rows"], row["alerts"], row["sources"]


def runs_of(place: Path) -> set[str]:
    with warehouses.open(str(place)) as opened:
        found = opened.query("SELECT DISTINCT source FROM ztf_alerts").to_pylist()
        [stamps] = opened.query("SELECT COUNT(*) AS n FROM ztf_cutouts").to_pylist()
        assert stamps["n"] == counted(place)[0]
    return {row["source"] for row in found}


def files_of(place: Path) -> set[str]:
    """What a glob sees."""
    return {str(path.relative_to(place)) for path in place.glob("ztf_*/**/*.parquet")}


def test_a_manifest_tells_of_every_file(tmp_path: Path) -> None:
    rows = alerts()
    put(str(tmp_path), "run1", ("a.tar",), rows)
    found = readers.begun(str(tmp_path)).live
    assert set(found.column("path").to_pylist()) == files_of(tmp_path)
    assert found.column("bytes").to_pylist() == [(tmp_path / path).stat().st_size for path in found.column("path").to_pylist()]
    [file] = found.filter(pa.compute.equal(found.column("table"), "ztf_alerts")).to_pylist()
    healpix, times = rows.column("healpix29").to_pylist(), rows.column("observed_at").to_pylist()
    assert (file["rows"], file["unit"], file["night"]) == (rows.num_rows, Unit(("a.tar",)).key, rows.column("night")[0].as_py())
    assert (file["healpix29_min"], file["healpix29_max"]) == (min(healpix), max(healpix))
    assert (file["observed_at_min"], file["observed_at_max"]) == (min(times), max(times))


def test_a_reader_sees_its_version_until_it_closes(tmp_path: Path) -> None:
    rows = alerts()
    put(str(tmp_path), "run1", ("a.tar",), from_input(rows, "old"))
    old = files_of(tmp_path)
    with warehouses.open(str(tmp_path)) as opened:
        assert opened.query(COUNT).to_pylist()[0]["rows"] == rows.num_rows
        put(str(tmp_path), "run2", ("a.tar",), from_input(rows, "new"))
        # Its files are there, and are what it sees; who comes now sees the new ones.
        assert old < files_of(tmp_path)
        assert opened.query("SELECT DISTINCT source FROM ztf_alerts").to_pylist() == [{"source": "old"}]
        assert runs_of(tmp_path) == {"new"}
    put(str(tmp_path), "run3", ("b.tar",), from_input(rows, "other"))
    assert not old & files_of(tmp_path), "what nobody reads any more goes with the next commit"
    assert files_of(tmp_path) == set(readers.begun(str(tmp_path)).live.column("path").to_pylist())
    assert len(manifest.versions(str(tmp_path))) == 1


def test_a_reader_in_a_loop_never_sees_a_row_twice_or_not_at_all(tmp_path: Path) -> None:
    rows = alerts()
    put(str(tmp_path), "run0", ("a.tar",), rows)
    ended = threading.Event()
    seen: set[tuple[int, int]] = set()
    failures: list[Exception] = []

    def read() -> None:
        while not ended.is_set():
            try:
                seen.add(counted(tmp_path)[:2])
            except Exception as error:  # told below
                failures.append(error)

    readers_ = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers_:
        reader.start()
    try:
        for number in range(1, 16):
            put(str(tmp_path), f"run{number}", ("a.tar",), rows)
    finally:
        ended.set()
        for reader in readers_:
            reader.join()
    assert (seen, failures) == ({(rows.num_rows, rows.num_rows)}, [])


@pytest.mark.parametrize("power_loss", [False, True], ids=["killed", "power loss"])
def test_a_commit_that_dies_at_any_step_changes_nothing_or_all(tmp_path: Path, power_loss: bool) -> None:
    """Two inputs in one unit; then one of them comes alone, in new files, and is taken out of the unit by writing it anew."""
    rows = alerts()
    first = tmp_path / "first"
    both = pa.Table.from_batches([from_input(rows.slice(0, 3), "a.tar"), from_input(rows.slice(3), "b.tar")]).combine_chunks()
    put(str(first), "run1", ("a.tar", "b.tar"), both.to_batches()[0])
    new = from_input(rows.slice(0, 3), "a.tar#new")
    whole = {"a.tar#new", "b.tar"}
    for step in range(200):
        place = tmp_path / f"at{step}"
        shutil.copytree(first, place)
        unit = Unit(("a.tar",))
        with pytest.MonkeyPatch.context() as patched, struck_at(step, patched, place if power_loss else None) as made:
            commit(str(place), "run2", [unit], write(str(place), "run2", unit.key, new))
            done = len(made)
        sources = runs_of(place)
        assert sources in ({"a.tar", "b.tar"}, whole), (step, made)
        assert counted(place)[:2] == (rows.num_rows, rows.num_rows), (step, made)
        put(str(place), "run3", ("a.tar",), new)
        assert (counted(place)[:2], runs_of(place)) == ((rows.num_rows, rows.num_rows), whole), (step, made)
        shutil.rmtree(place)
        if len(made) < step:
            break
    else:
        pytest.fail("a commit of two files has not ended after 200 changes")
    assert done == len(made) > 8


def test_what_a_dead_commit_left_is_swept(tmp_path: Path) -> None:
    rows = alerts()
    put(str(tmp_path), "run1", ("a.tar",), rows)
    unit = Unit(("a.tar",))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("warehouses.folder.commit.publish", lambda *given: (_ for _ in ()).throw(Struck))
        with pytest.raises(Struck):
            commit(str(tmp_path), "run2", [unit], write(str(tmp_path), "run2", unit.key, rows))
    live = set(readers.begun(str(tmp_path)).live.column("path").to_pylist())
    assert live < files_of(tmp_path)
    # The lock of a killed run's claim stays behind; or its claim was in another folder, and there is none.
    (tmp_path / "_tmp" / "run2.lock").touch()
    put(str(tmp_path), "run3", ("b.tar",), from_input(alerts(seed=2), "b.tar"))
    assert files_of(tmp_path) == set(readers.begun(str(tmp_path)).live.column("path").to_pylist())
    assert not list((tmp_path / "_tmp").iterdir())


def test_a_run_whose_claim_is_gone_changes_nothing(tmp_path: Path) -> None:
    rows = alerts()
    put(str(tmp_path), "run1", ("a.tar",), from_input(rows, "first"))
    unit = Unit(("a.tar",))
    with claims.claim(str(tmp_path), "late", unit.inputs):
        written = write(str(tmp_path), "late", unit.key, from_input(rows, "late"))
    put(str(tmp_path), "run2", ("a.tar",), from_input(rows, "second"))
    before = files_of(tmp_path)
    with pytest.raises((StaleRun, CommitError), match=r"run late"):
        commit(str(tmp_path), "late", [unit], written, fenced=True)
    assert (runs_of(tmp_path), files_of(tmp_path)) == ({"second"}, before)


def test_the_claim_of_another_run_is_no_claim(tmp_path: Path) -> None:
    unit = Unit(("a.tar",))
    written = write(str(tmp_path), "late", unit.key, alerts())
    with claims.claim(str(tmp_path), "other", unit.inputs):
        with pytest.raises(StaleRun, match=r"run late has lost its claim"):
            commit(str(tmp_path), "late", [unit], written, fenced=True)
        with pytest.raises(InputsTaken), claims.claim(str(tmp_path), "third", unit.inputs):
            pytest.fail("two runs have one input")


def test_a_file_that_is_not_whole_stops_the_commit_before_it_begins(tmp_path: Path) -> None:
    put(str(tmp_path), "run1", ("a.tar",), from_input(alerts(), "first"))
    unit = Unit(("a.tar",))
    written = write(str(tmp_path), "run2", unit.key, from_input(alerts(), "second"))
    Path(written[-1].temporary).write_bytes(Path(written[-1].temporary).read_bytes()[:-1])
    before = files_of(tmp_path)
    with pytest.raises(CommitError, match=r"bytes of .* run the same command again"):
        commit(str(tmp_path), "run2", [unit], written)
    Path(written[-1].temporary).unlink()
    with pytest.raises(CommitError, match=r"is gone, so that run run2 cannot be put in place"):
        commit(str(tmp_path), "run2", [unit], written)
    assert (files_of(tmp_path), runs_of(tmp_path)) == (before, {"first"})


def test_the_same_commit_again_changes_nothing(tmp_path: Path) -> None:
    unit = Unit(("a.tar",))
    written = write(str(tmp_path), "run1", unit.key, alerts())
    for _ in range(3):
        assert commit(str(tmp_path), "run1", [unit], written) == 3 * alerts().num_rows
    assert manifest.versions(str(tmp_path)) == [2]
    assert counted(tmp_path)[0] == alerts().num_rows


def test_a_folder_from_before_gets_its_manifest_by_itself(tmp_path: Path) -> None:
    put(str(tmp_path), "run1", ("a.tar", "b.tar"), from_input(alerts(), "a.tar"))
    before = readers.begun(str(tmp_path)).live.drop_columns(["first_input", "runs", "number"])
    shutil.rmtree(tmp_path / "_manifest")
    assert counted(tmp_path)[0] == alerts().num_rows
    found = readers.begun(str(tmp_path)).live
    assert found.drop_columns(["first_input", "runs", "number"]).sort_by("path").equals(before.sort_by("path"))
    # And what it was ingested from is known, so that it is replaced.
    put(str(tmp_path), "run2", ("a.tar",), from_input(alerts(), "a.tar#new"))
    assert runs_of(tmp_path) == {"a.tar#new"}


def test_a_folder_that_we_may_only_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(str(tmp_path), "run1", ("a.tar",), alerts())
    shutil.rmtree(tmp_path / "_manifest")

    def refused(*given: object) -> bool:
        raise PermissionError("Read-only file system")

    monkeypatch.setattr(manifest, "create_new", refused)
    assert counted(tmp_path)[0] == alerts().num_rows
    assert not (tmp_path / "_manifest").exists()


def test_files_that_somebody_took_away_are_named_and_left_out_when_that_is_said(tmp_path: Path) -> None:
    put(str(tmp_path), "run1", ("a.tar",), alerts())
    put(str(tmp_path), "run2", ("b.tar",), from_input(alerts(seed=2), "b.tar"))
    gone = sorted(tmp_path.glob("ztf_alerts/*/*.parquet"))[0]
    kept = pq.ParquetFile(sorted(tmp_path.glob("ztf_alerts/*/*.parquet"))[1]).metadata.num_rows
    gone.unlink()
    with pytest.raises(QueryError, match=r"1 files .* are gone, .*broker compact --rebuild"):
        counted(tmp_path)
    rebuild(str(tmp_path))
    assert counted(tmp_path)[0] == kept


def test_a_manifest_of_a_newer_broker_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    put(str(tmp_path), "run1", ("a.tar",), alerts())
    [file] = (tmp_path / "_manifest").iterdir()
    table = pq.read_table(file)
    pq.write_table(table.replace_schema_metadata({"format_version": "99"}), file)
    with pytest.raises(QueryError, match=r"has format_version 99, and this broker knows 2; use a newer broker"):
        counted(tmp_path)
    file.write_bytes(b"PAR1")
    with pytest.raises(QueryError, match=r"is damaged .*broker compact --rebuild"):
        counted(tmp_path)
    rebuild(str(tmp_path))
    assert counted(tmp_path)[0] == alerts().num_rows


def test_an_index_of_inputs_leaves_out_only_what_cannot_overlap() -> None:
    unit = Unit(("b", "d\udcff", "c"))
    rows = rows_of("w", [write_file("w/ztf_alerts/night=2026-01-01/k-1-0.parquet")], {"k": unit})
    for ours, near in ((["a"], False), (["b"], True), (["c"], True), (["d\udcff"], True), (["e"], False), (["a", "e"], True)):
        assert may_hold(rows, ours) == ({"k"} if near else set())


def write_file(final: str) -> warehouses.units.WrittenFile:
    return warehouses.units.WrittenFile("k", "", final, 1)


def test_the_account_of_a_run_reads_what_the_run_wrote(tmp_path: Path) -> None:
    rows = alerts()
    for number in range(5):
        put(str(tmp_path), f"run{number}", (f"{number}.tar",), rows)
    place = warehouses.at(str(tmp_path))
    # A row says its run by itself; these were all decoded by one.
    assert place.counts("run", []).surveys == {}
    own = readers.begun(str(tmp_path)).of_run("run3")
    assert set(own.live.column("path").to_pylist()) == {
        path for path in files_of(tmp_path) if f"/{Unit(('3.tar',)).key}-" in path
    }
    compact.compact(str(tmp_path))
    assert readers.begun(str(tmp_path)).of_run("run3").live.num_rows == 3
    shutil.rmtree(tmp_path / "_manifest")
    # What nobody has told of may be anybody's.
    assert place.counts("run", []).surveys["ztf"].alerts == 5 * rows.num_rows


def test_a_commit_tried_again_after_others_came_in_changes_nothing(tmp_path: Path) -> None:
    rows = alerts()
    unit = Unit(("a.tar",))
    written = write(str(tmp_path), "run1", unit.key, from_input(rows, "first"))
    commit(str(tmp_path), "run1", [unit], written)
    put(str(tmp_path), "run2", ("a.tar",), from_input(rows, "second"))
    with warehouses.open(str(tmp_path)) as opened:
        assert opened.surveys
        commit(str(tmp_path), "run1", [unit], written)
    assert runs_of(tmp_path) == {"second"}
    other = Unit(("b.tar",))
    late = write(str(tmp_path), "run3", other.key, from_input(alerts(seed=2), "other"))
    commit(str(tmp_path), "run3", [other], late)
    with warehouses.open(str(tmp_path)) as opened:
        assert opened.query(COUNT)
        compact.compact(str(tmp_path))
        commit(str(tmp_path), "run3", [other], late)
        assert runs_of(tmp_path) == {"second", "other"}
    assert counted(tmp_path)[0] == rows.num_rows + alerts(seed=2).num_rows


def test_a_stream_that_commits_again_after_compaction_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = alerts()
    bundles = [file for _ in range(2) for file in write(str(tmp_path), "run", "stream", rows)]
    with monkeypatch.context() as patched:
        patched.setattr("warehouses.folder.commit.remove_empty", lambda *given: (_ for _ in ()).throw(Struck))
        with pytest.raises(Struck):
            commit(str(tmp_path), "run", [], bundles)
    put(str(tmp_path), "other", ("b.tar",), from_input(alerts(seed=2), "other"))
    commit(str(tmp_path), "more", [], write(str(tmp_path), "more", "stream", rows))
    compact.compact(str(tmp_path))
    before = counted(tmp_path)
    put(str(tmp_path), "last", ("c.tar",), from_input(alerts(seed=3), "last"))
    with pytest.raises(CommitError, match="run the same command again"):
        commit(str(tmp_path), "run", [], bundles)
    assert counted(tmp_path)[0] == before[0] + alerts(seed=3).num_rows


def test_a_unit_that_is_down_to_one_input_is_found(tmp_path: Path) -> None:
    rows = alerts()
    both = pa.Table.from_batches([from_input(rows.slice(0, 3), "a.tar"), from_input(rows.slice(3), "b.tar")]).combine_chunks()
    put(str(tmp_path), "run1", ("a.tar", "b.tar"), both.to_batches()[0])
    put(str(tmp_path), "run2", ("a.tar",), from_input(rows.slice(0, 3), "a.tar#new"))
    put(str(tmp_path), "run3", ("b.tar",), from_input(rows.slice(3), "b.tar#new"))
    assert (counted(tmp_path)[0], runs_of(tmp_path)) == (rows.num_rows, {"a.tar#new", "b.tar#new"})


def test_a_name_may_hold_the_mark_of_members(tmp_path: Path) -> None:
    rows = alerts()
    both = pa.Table.from_batches([from_input(rows.slice(0, 3), "a.avro"), from_input(rows.slice(3), "a.avro#1")]).combine_chunks()
    put(str(tmp_path), "run1", ("a.avro", "a.avro#1"), both.to_batches()[0])
    put(str(tmp_path), "run2", ("a.avro",), from_input(rows.slice(0, 3), "a.avro#new"))
    assert (counted(tmp_path)[0], runs_of(tmp_path)) == (rows.num_rows, {"a.avro#new", "a.avro#1"})


def test_a_manifest_whose_answer_was_lost_is_ours(tmp_path: Path) -> None:
    put(str(tmp_path), "run1", ("a.tar",), alerts())
    current = readers.begun(str(tmp_path))
    following = current.next(without=[], added=manifest.SCHEMA.empty_table())
    assert manifest.publish(str(tmp_path), following, str(tmp_path / "_tmp" / "x"))
    assert manifest.publish(str(tmp_path), following, str(tmp_path / "_tmp" / "x")), "asked again, as a client does"
    other = current.next(without=current.live.column("path").to_pylist(), added=manifest.SCHEMA.empty_table())
    assert not manifest.publish(str(tmp_path), other, str(tmp_path / "_tmp" / "x"))


def test_who_opens_a_folder_from_before_while_a_run_writes_waits_for_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(str(tmp_path), "run1", ("a.tar",), alerts())
    shutil.rmtree(tmp_path / "_manifest")
    adopted = readers.adopted
    seen: list[int] = []

    def slowly(*given: Any, **options: Any) -> Any:
        """While the commit makes the first manifest somebody opens the folder; whoever adopts there adopts half of it."""
        reader = threading.Thread(target=lambda: seen.append(counted(tmp_path)[0]))
        monkeypatch.setattr(readers, "adopted", adopted)
        reader.start()
        threads.append(reader)
        return adopted(*given, **options)

    threads: list[threading.Thread] = []
    monkeypatch.setattr(readers, "adopted", slowly)
    put(str(tmp_path), "run2", ("a.tar",), alerts())
    for thread in threads:
        thread.join()
    assert seen == [alerts().num_rows]


def test_rebuilding_takes_no_orphans_and_leaves_readers_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = alerts()
    put(str(tmp_path), "run1", ("a.tar",), from_input(rows, "old"))
    with warehouses.open(str(tmp_path)) as opened:
        assert opened.query(COUNT).to_pylist()[0]["rows"] == rows.num_rows
        put(str(tmp_path), "run2", ("a.tar",), from_input(rows, "new"))
        unit = Unit(("a.tar",))
        with monkeypatch.context() as patched:
            patched.setattr("warehouses.folder.commit.publish", lambda *given: (_ for _ in ()).throw(Struck))
            with pytest.raises(Struck):
                commit(str(tmp_path), "run3", [unit], write(str(tmp_path), "run3", unit.key, rows))
        rebuild(str(tmp_path))
        assert opened.query("SELECT DISTINCT source FROM ztf_alerts").to_pylist() == [{"source": "old"}]
        assert (counted(tmp_path)[0], runs_of(tmp_path)) == (rows.num_rows, {"new"})
        # And with a manifest that cannot be read: the one before says what was retired.
        (tmp_path / "_manifest" / "000000000099.parquet").write_bytes(b"PAR1")
        rebuild(str(tmp_path))
        assert (counted(tmp_path)[0], runs_of(tmp_path)) == (rows.num_rows, {"new"})


def test_without_locks_what_was_replaced_stays_for_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    rows = alerts()
    put(str(tmp_path), "run1", ("a.tar",), rows)
    old = files_of(tmp_path)
    put(str(tmp_path), "run2", ("a.tar",), rows)
    put(str(tmp_path), "run3", ("b.tar",), from_input(alerts(seed=2), "b.tar"))
    assert old < files_of(tmp_path)
    assert counted(tmp_path)[0] == rows.num_rows + alerts(seed=2).num_rows
    monkeypatch.setattr(readers, "GRACE_SECS", -1.0)
    put(str(tmp_path), "run4", ("c.tar",), from_input(alerts(seed=3), "c.tar"))
    assert not old & files_of(tmp_path)


def test_a_file_that_cannot_be_deleted_keeps_nobody_from_committing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = alerts()
    put(str(tmp_path), "run1", ("a.tar",), rows)
    old = files_of(tmp_path)
    delete = readers.delete

    def refused(uris: Any) -> None:
        for uri in uris:
            if "/ztf_" in uri:
                raise PermissionError(uri)
            delete([uri])

    with monkeypatch.context() as patched:
        patched.setattr(readers, "delete", refused)
        put(str(tmp_path), "run2", ("a.tar",), rows)
    assert (old < files_of(tmp_path), counted(tmp_path)[0]) == (True, rows.num_rows)
    put(str(tmp_path), "run3", ("b.tar",), from_input(alerts(seed=2), "b.tar"))
    assert not old & files_of(tmp_path)


def test_tables_on_another_disk_and_names_of_somebodys_own(tmp_path: Path) -> None:
    put(str(tmp_path / "w"), "run1", ("a.tar",), alerts())
    shutil.rmtree(tmp_path / "w" / "_manifest")
    (tmp_path / "w" / "ztf_alerts").rename(tmp_path / "elsewhere")
    (tmp_path / "w" / "ztf_alerts").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "w" / "loop").symlink_to(tmp_path / "w")
    for number in range(2):
        own = tmp_path / "w" / "mine" / f"night=2023-13-4{number}" / "a.parquet"
        own.parent.mkdir(parents=True)
        pq.write_table(pa.table({"a": [number]}), own)
    assert counted(tmp_path / "w")[0] == alerts().num_rows
    compact.compact(str(tmp_path / "w"))
    with warehouses.open(str(tmp_path / "w")) as opened:
        assert opened.query("SELECT COUNT(*) AS n FROM mine").to_pylist() == [{"n": 2}]
    shutil.rmtree(tmp_path / "w" / "_manifest")
    Path(os.fsdecode(os.fsencode(tmp_path / "w" / "mine") + b"/\xff.parquet")).write_bytes(b"")
    with pytest.raises(QueryError, match=r"\\xff.parquet has a name that is no UTF-8"):
        counted(tmp_path / "w")
