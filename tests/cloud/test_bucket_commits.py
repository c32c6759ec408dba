"""A warehouse in a bucket: claims by the bucket's clock, commits by its preconditions, against the emulator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import warehouses
from tests.emulators.cloud import Cloud
from tests.warehouses.commits import Struck, alerts, dying, from_input, put, write
from warehouses import InputsTaken, StaleRun
from warehouses.files import bucket_files, delete, files_below, listed_files
from warehouses.folder import bucket_claims, claims, compact, index, manifest, readers
from warehouses.folder import commit as committing
from warehouses.folder.commit import commit
from warehouses.units import Unit

CHANGES = ("pipe_file", "copy", "rm")
"""By what the bucket is changed, beside what is written through opened files, which nobody has before it is put in place."""


@pytest.fixture
def place(cloud: Cloud) -> str:
    return cloud.folder()


def sources(place: str) -> dict[str, int]:
    with warehouses.open(place) as opened:
        found = opened.query("SELECT source, COUNT(*) AS n FROM ztf_alerts GROUP BY source").to_pylist()
    return {row["source"]: row["n"] for row in found}


def paths(place: str) -> set[str]:
    """What a glob sees."""
    return {file.uri.removeprefix(f"{place}/") for file in files_below(place) if "/ztf_" in file.uri and "/_" not in file.uri}


@contextlib.contextmanager
def struck_at(step: int) -> Iterator[list[str]]:
    """Let a commit die before its change number ``step`` (from 0) of the bucket; gives those that it made."""
    made: list[str] = []
    bucket = bucket_files()

    with pytest.MonkeyPatch.context() as patched:
        for name in CHANGES:
            patched.setattr(bucket, name, dying(made, step, name, getattr(bucket, name)))
        with contextlib.suppress(Struck):
            yield made


def test_a_commit_that_dies_at_any_step_changes_nothing_or_all(cloud: Cloud) -> None:
    rows = alerts()
    for step in range(60):
        place = cloud.folder()
        put(place, "run1", ("a.tar",), from_input(rows, "old"))
        unit = Unit(("a.tar",))
        with struck_at(step) as made:
            commit(place, "run2", [unit], write(place, "run2", unit.key, from_input(rows, "new")))
        assert sources(place) in ({"old": rows.num_rows}, {"new": rows.num_rows}), (step, made)
        put(place, "run3", ("a.tar",), from_input(rows, "newest"))
        assert sources(place) == {"newest": rows.num_rows}, (step, made)
        if len(made) < step:
            break
    else:
        pytest.fail("a commit of two files has not ended after 60 changes")
    assert len(made) > 3


def test_an_index_that_dies_at_any_step_changes_no_answer(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_LEAST_ROWS", 8)
    monkeypatch.setattr(index, "_FANOUT", 2)
    rows = alerts()
    object_id = rows.column("object_id")[0].as_py()
    for number in range(3):
        put(place, f"run{number}", (f"{number}.tar",), from_input(rows.slice(2 * number, 2), f"{number}.tar"))
    with warehouses.open(place) as opened:
        before = opened.alerts_of(object_id).to_pylist()
    for step in range(60):
        with struck_at(step) as made:
            index.complete(place)
        assert found(place, object_id) == before, (step, made)
        if len(made) < step:
            break
    else:
        pytest.fail("an index of three files has not been kept after 60 changes")
    # What was replaced by another's commit meanwhile is made again.
    index.complete(place)
    assert not index.not_indexed(readers.begun(place)).num_rows
    with warehouses.open(place) as opened:
        assert opened.alerts_of(object_id).to_pylist() == before
        assert opened.alerts_of("nobody").to_pylist() == []
    put(place, "again", ("0.tar",), from_input(rows.slice(0, 1), "0.tar"))
    index.complete(place)
    assert found(place, object_id)
    assert not index.not_indexed(readers.begun(place)).num_rows


def found(place: str, object_id: str) -> list[dict[str, Any]]:
    with warehouses.open(place) as opened:
        return opened.alerts_of(object_id).to_pylist()


def test_what_was_replaced_stays_for_readers_and_then_goes(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = alerts()
    put(place, "run1", ("a.tar",), from_input(rows, "old"))
    old = paths(place)
    with warehouses.open(place) as opened:
        assert opened.surveys
        put(place, "run2", ("a.tar",), from_input(rows, "new"))
        put(place, "run3", ("b.tar",), from_input(rows, "other"))
        assert opened.query("SELECT DISTINCT source FROM ztf_alerts").to_pylist() == [{"source": "old"}]
    assert old < paths(place)
    monkeypatch.setattr(readers, "GRACE_SECS", 0.0)
    put(place, "run4", ("c.tar",), from_input(rows, "last"))
    assert paths(place) == set(readers.begun(place).live.column("path").to_pylist())
    assert sources(place) == dict.fromkeys(("new", "other", "last"), rows.num_rows)
    assert len(manifest.versions(place)) <= readers.KEPT_VERSIONS + 1


def test_whoever_loses_the_race_takes_the_others_files_in(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another commit makes the version that we were about to make: ours is refused by the bucket, and made anew on top."""
    rows = alerts()
    put(place, "run1", ("a.tar",), from_input(rows, "a"))
    publish = committing.publish
    answers: list[bool] = []

    def beside(*given: Any) -> bool:
        if not answers:
            monkeypatch.setattr(committing, "publish", publish)
            put(place, "beside", ("b.tar",), from_input(rows, "b"))
            monkeypatch.setattr(committing, "publish", beside)
        answers.append(publish(*given))
        return answers[-1]

    monkeypatch.setattr(committing, "publish", beside)
    put(place, "run2", ("c.tar",), from_input(rows, "c"))
    assert answers == [False, True]
    assert sources(place) == dict.fromkeys("abc", rows.num_rows)


def test_a_run_over_inputs_of_a_run_that_lives_is_refused(place: str) -> None:
    with claims.claim(place, "first", ["a.tar", "b.tar"]):
        with (
            pytest.raises(InputsTaken, match=r"run first is writing b.tar into .* now; wait for its end"),
            claims.claim(place, "second", ["b.tar"]),
        ):
            pytest.fail("two runs have one input")
        with claims.claim(place, "third", ["c.tar"]):
            claims.check_claim(place, "first")
    assert not files_below(f"{place}/_tmp")


def test_a_claim_that_nobody_renews_is_void_and_its_run_changes_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command was killed; its workers come back a minute later, by the bucket's clock, after another run."""
    rows = alerts()
    put(place, "run1", ("a.tar",), from_input(rows, "first"))
    unit = Unit(("a.tar",))
    bucket_files().pipe_file(f"{place}/_tmp/late.claim", b'["a.tar"]')
    written = write(place, "late", unit.key, from_input(rows, "late"))
    claims.check_claim(place, "late")
    clock = bucket_claims._renewed_at

    def a_minute_ago(uri: str) -> Any:
        return clock(uri) - timedelta(seconds=61) * uri.endswith("late.claim")

    monkeypatch.setattr(bucket_claims, "_renewed_at", a_minute_ago)
    with pytest.raises(StaleRun, match=r"run late has lost its claim .* nobody has renewed it for 60 s"):
        commit(place, "late", [unit], written, fenced=True)
    # Every claim but one's own is void for who looks at the others from here on.
    monkeypatch.setattr(bucket_claims, "VOID_SECS", -1.0)
    with claims.claim(place, "run2", unit.inputs):
        commit(place, "run2", [unit], write(place, "run2", unit.key, from_input(rows, "second")))
    assert not [file for file in files_below(f"{place}/_tmp") if "/late" in file.uri], "what it left is swept by who claims next"
    monkeypatch.undo()
    with pytest.raises((StaleRun, committing.CommitError), match="run late"):
        commit(place, "late", [unit], written, fenced=True)
    assert sources(place) == {"second": rows.num_rows}


def test_a_claim_is_renewed_and_once_cleared_away_stays_lost(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_claims, "RENEW_SECS", 0.05)
    uri = f"{place}/_tmp/run.claim"
    with claims.claim(place, "run", ["a.tar"]):
        begun = bucket_claims._renewed_at(uri)
        for _ in range(200):
            if bucket_claims._renewed_at(uri) > begun:
                break
        else:
            pytest.fail("nobody has renewed the claim")
        delete([uri])
        for _ in range(20):
            assert not bucket_files().exists(uri)
        with pytest.raises(StaleRun):
            claims.check_claim(place, "run")


def test_compaction_in_a_bucket(place: str) -> None:
    rows = alerts()
    for number in range(3):
        put(place, f"run{number}", (f"{number}.tar",), from_input(rows, f"{number}.tar"))
    assert warehouses.at(place).compact().after == 3
    assert sources(place) == {f"{number}.tar": rows.num_rows for number in range(3)}
    put(place, "again", ("1.tar",), from_input(rows, "1.tar#new"))
    assert sources(place) == dict.fromkeys(("0.tar", "1.tar#new", "2.tar"), rows.num_rows)
    assert compact.compact(place) == (6, 3)


def test_a_lost_answer_to_the_manifest_is_no_lost_race(cloud: Cloud, place: str) -> None:
    """The bucket made the version, the connection broke before it said so; the client asks again and is told that it exists."""
    rows = alerts()
    put(place, "run1", ("a.tar", "b.tar"), from_input(rows, "a.tar#x"))
    cloud.storage_faults.fail(1, r"ifGenerationMatch=0", cut="answer")
    try:
        put(place, "run2", ("b.tar",), from_input(rows, "b.tar#x"))
    finally:
        cloud.storage_faults.heal()
    assert sources(place) == {"a.tar#x": rows.num_rows, "b.tar#x": rows.num_rows}
    assert paths(place) >= set(readers.begun(place).live.column("path").to_pylist())


def test_who_was_cleared_away_between_its_claim_and_its_manifest_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = alerts()
    put(place, "run1", ("a.tar",), from_input(rows, "first"))
    unit = Unit(("a.tar",))
    bucket_files().pipe_file(f"{place}/_tmp/late.claim", b'["a.tar"]')
    written = write(place, "late", unit.key, from_input(rows, "late"))
    publish = committing.publish

    def swept(*given: Any) -> bool:
        """It has seen its claim, stands still, and is given up; what it put in place is cleared away."""
        monkeypatch.setattr(committing, "publish", publish)
        bucket_claims.remove(place, "late")
        return publish(*given)

    monkeypatch.setattr(committing, "publish", swept)
    with pytest.raises(StaleRun, match="run late"):
        commit(place, "late", [unit], written, fenced=True)
    assert sources(place) == {"first": rows.num_rows}


def test_what_nobody_has_claimed_goes_after_an_hour(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket_files().pipe_file(f"{place}/_tmp/dead/ztf_alerts/x.parquet", b"x")
    with claims.claim(place, "one", ["a.tar"]):
        assert bucket_files().exists(f"{place}/_tmp/dead/ztf_alerts/x.parquet")
    monkeypatch.setattr(bucket_claims, "_UNKNOWN_SECS", -1.0)
    with claims.claim(place, "two", ["a.tar"]):
        assert not bucket_files().exists(f"{place}/_tmp/dead/ztf_alerts/x.parquet")


def test_of_files_that_are_known_nobody_is_asked(cloud: Cloud, place: str) -> None:
    for name in ("a.parquet", "b.parquet"):
        bucket_files().pipe_file(f"{place}/t/{name}", b"rows")
    known = listed_files({f"{place}/t/a.parquet": 4})
    before = len(cloud.storage_faults.exchanges)
    assert (known.info(f"{place}/t/a.parquet")["size"], known.exists(f"{place}/t/a.parquet")) == (4, True)
    assert known.isfile(f"{place}/t/a.parquet")
    assert [known.glob(f"{place}/t/{name}") for name in ("a.parquet", "*.parquet", "b.*")] == [
        [f"{place}/t/a.parquet".removeprefix("gs://")],
        [f"{place}/t/a.parquet".removeprefix("gs://")],
        [],
    ]
    assert len(cloud.storage_faults.exchanges) == before
    assert (known.info(f"{place}/t/b.parquet")["size"], known.exists(f"{place}/t/b.parquet")) == (4, True)
    assert known.isfile(f"{place}/t/b.parquet")
    assert not known.exists(f"{place}/t/c.parquet")
