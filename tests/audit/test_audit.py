"""The audit: a night as it was ingested passes; every fault planted in a warehouse is named, and nothing else is."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import DeadlineExceeded

from audit import audit as audits
from audit import messages
from audit import report as reports
from audit import truth as truths
from audit.books import Books
from audit.compare import FAULTS
from benchmarks.samples import cut
from broker import audit as command
from broker import cli
from schemas import known_schemas
from tests.conftest import RealData
from tests.nights import ask, by_hand, run, simulated, truth

ALERTS, COPIES, DAMAGED = 120, 20, 12
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("--alerts", str(ALERTS), "--duplicates", str(COPIES), "--damaged", str(DAMAGED), "--seed", "5", "--archive", "tar")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


@pytest.fixture(scope="module")
def archive(night: Path) -> Path:
    return next(night.glob("*.tar"))


@pytest.fixture(scope="module")
def catalog(night: Path) -> str:
    return f"file:{night / 'catalog.parquet'}"


@pytest.fixture(scope="module")
def whole(archive: Path, catalog: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse of one undisturbed run."""
    warehouse = tmp_path_factory.mktemp("whole")
    assert run(warehouse, archive, flags=("--crossmatch", f"{catalog}?ra=ra_deg&dec=dec_deg")) == 0
    return warehouse


@pytest.fixture
def damaged(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to do harm to."""
    shutil.copytree(whole, tmp_path / "warehouse")
    return tmp_path / "warehouse"


def audited(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict]:
    """Exit status and report of ``broker audit --format json``."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    capsys.readouterr()
    status = command.main(parser.parse_args([str(word) for word in (*words, "--format", "json")]))
    said = capsys.readouterr()
    return status, json.loads(said.out) if said.out else {"error": said.err}


def faults(report: dict) -> dict[str, list[dict]]:
    """The faults of a report, of the kinds that there are any of; the counts must say the same."""
    assert report["counts"]["faults"] == {kind: len(report["faults"][kind]) for kind in FAULTS}
    return {kind: found for kind, found in report["faults"].items() if found}


def rewrite(warehouse: Path, table: str, change: Change) -> None:
    """Change the rows of a table, file by file."""
    for file in (warehouse / table).rglob("*.parquet"):
        rows = pq.ParquetFile(file).read()
        pq.write_table(change(rows).cast(rows.schema), file)


def without(name: str, value: object) -> Change:
    return lambda rows: rows.filter(pc.not_equal(rows[name], pa.scalar(value, rows[name].type)))


def setting(name: str, value: object, where: str, equals: object) -> Change:
    """Give a column another value in the rows where another column has one."""

    def change(rows: pa.Table) -> pa.Table:
        chosen = pc.equal(rows[where], pa.scalar(equals, rows[where].type))
        new = pc.if_else(chosen, pa.scalar(value, rows[name].type), rows[name])
        return rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), new)

    return change


def a_good_one(night: Path, number: int = 7) -> dict:
    """Of the truth an alert that was sent once."""
    sent = Counter(one["alert_id"] for one in truth(night))
    return [one for one in truth(night) if one["kind"] == "good" and sent[one["alert_id"]] == 1][number]


# A night as it was ingested.


@pytest.mark.parametrize("form", ["tar", "tar.gz", "folder"])
def test_a_night_as_it_was_ingested_passes(
    form: str, night: Path, archive: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, warehouse = archive, whole
    if form != "tar":
        warehouse = tmp_path / "warehouse"
        place = tmp_path / ("loose" if form == "folder" else "night.tar.gz")
        with tarfile.open(archive) as packed:
            if form == "folder":
                packed.extractall(place, filter="data")
            else:
                with tarfile.open(place, "w:gz", compresslevel=1) as again:
                    for member in packed:
                        again.addfile(member, packed.extractfile(member))
        assert run(warehouse, place) == 0
    status, report = audited(capsys, "--input", place, "--warehouse", warehouse, "--stamps")
    assert (status, faults(report)) == (0, {})
    counts = report["counts"]
    assert counts["records"] == ALERTS + COPIES + DAMAGED
    assert (counts["expected"], counts["present"], counts["copies"], counts["unreadable"]) == (ALERTS, ALERTS, COPIES, DAMAGED)
    damages = Counter(one["damage"] for one in truth(night) if one["kind"] == "damaged")
    assert counts["dead_letters"] == {"read": DAMAGED - damages["nan_time"], "decode": damages["nan_time"]}
    bad = {one["name"] for one in truth(night) if one["kind"] == "damaged"}
    assert {one["source"].replace("#", "/").rsplit("/", 1)[1] for one in report["dead_letters"]} == bad
    assert all(one["message"] and one["error_type"] for one in report["dead_letters"])


def test_cross_matches_are_counted_by_catalog(
    night: Path, archive: Path, whole: Path, catalog: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, report = audited(capsys, "--input", archive, "--warehouse", whole)
    assert status == 0
    matched = sum(one["has_catalog_star"] for one in truth(night) if one["kind"] == "good")
    states = {"matched": matched, "no_match": ALERTS - matched, "failed": 0, "without_row": 0}
    assert report["counts"]["catalogs"] == {catalog: states}
    status, report = audited(capsys, "--input", archive, "--warehouse", whole, "--crossmatch", "simbad?radius_arcsec=2")
    assert status == 1
    assert {kind: len(found) for kind, found in faults(report).items()} == {"without_crossmatch": ALERTS}
    assert report["faults"]["without_crossmatch"][0]["catalog"] == "simbad"


def test_every_packet_of_real_nights_is_there(real_data: RealData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two alerts under an id with other contents, JPEG stamps, no stamps, several records in a file, seven schema versions."""
    names = ["ztf/nightly/ztf_public_20200202.tar.gz", "lsst", "other_surveys"]
    names += ["ztf/multi_record", "ztf/by_version"] * (real_data.larger is not None)
    inputs = [real_data / name for name in names]
    if real_data.larger:
        inputs.append(cut(real_data / "elasticc/elasticc_v0_9.tar.gz", 100, tmp_path, ".tar"))
    warehouse = tmp_path / "warehouse"
    assert run(warehouse, *inputs) == 0
    words = [word for one in inputs for word in ("--input", one)]
    status, report = audited(capsys, *words, "--warehouse", warehouse, "--stamps")
    assert (status, faults(report)) == (0, {})
    surveys = ["ztf", "lsst", "pgir", "winter", "decam"] + ["elasticc"] * (real_data.larger is not None)
    rows = sum(ask(warehouse, f"SELECT count(*) FROM {name}_alerts")[0][0] for name in surveys)
    assert report["counts"]["records"] == rows + report["counts"]["unreadable"]
    assert report["counts"]["expected"] + report["counts"]["copies"] == rows > (280 if real_data.larger else 20)
    # A night of its own among them.
    status, report = audited(capsys, "--input", inputs[0], "--warehouse", warehouse, "--night", "2020-01-11")
    assert (status, report["counts"]["expected"]) == (0, 1)


# Faults planted by hand, each found and nothing else.


def plant_missing(warehouse: Path, one: dict) -> dict:
    for table in ("ztf_alerts", "ztf_cutouts", "crossmatches"):
        rewrite(warehouse, table, without("alert_id", one["alert_id"]))
    return {"kind": "missing", "remedy": "broker ingest"}


def plant_doubled(warehouse: Path, one: dict) -> dict:
    def twice(rows: pa.Table) -> pa.Table:
        return pa.concat_tables([rows, rows.filter(pc.equal(rows["alert_id"], one["alert_id"]))])

    rewrite(warehouse, "ztf_alerts", twice)
    return {"kind": "doubled", "sent": 1, "number": 2, "remedy": "broker ingest"}


def plant_altered(warehouse: Path, one: dict) -> dict:
    rewrite(warehouse, "ztf_alerts", setting("packet_digest", b"\x07" * 16, "alert_id", one["alert_id"]))
    rewrite(warehouse, "ztf_alerts", setting("object_id", "ZTF00aaaaaaa", "alert_id", one["alert_id"]))
    return {"kind": "altered", "found_digest": "07" * 16, "remedy": "broker ingest"}


def plant_other_version(warehouse: Path, one: dict) -> dict:
    rewrite(warehouse, "ztf_alerts", setting("schema_version", "1.0", "alert_id", one["alert_id"]))
    return {"kind": "altered", "message": "the schema version is 1.0, the packet's is 4.02", "remedy": "broker ingest"}


def plant_without_cutouts(warehouse: Path, one: dict) -> dict:
    rewrite(warehouse, "ztf_cutouts", without("alert_id", one["alert_id"]))
    return {"kind": "without_cutouts", "number": 0, "remedy": "broker ingest"}


def plant_lost_stamp(warehouse: Path, one: dict) -> dict:
    rewrite(warehouse, "ztf_cutouts", setting("template", None, "alert_id", one["alert_id"]))
    return {"kind": "without_cutouts", "number": 1, "remedy": "broker ingest"}


def plant_stamps_of_another(warehouse: Path, one: dict) -> dict:
    """A row of its alert, but of another packet under that id."""
    rewrite(warehouse, "ztf_cutouts", setting("packet_digest", b"\x09" * 16, "alert_id", one["alert_id"]))
    return {"kind": "without_cutouts", "number": 0, "remedy": "broker ingest"}


def plant_without_crossmatch(warehouse: Path, one: dict) -> dict:
    rewrite(warehouse, "crossmatches", without("alert_id", one["alert_id"]))
    return {"kind": "without_crossmatch", "remedy": "broker rematch"}


def plant_failed_crossmatch(warehouse: Path, one: dict) -> dict:
    """A newer row than the answer."""

    def later(rows: pa.Table) -> pa.Table:
        failed = rows.filter(pc.equal(rows["alert_id"], one["alert_id"]))
        values = {"status": "failed", "error": "the service answered 502"}
        columns = {
            name: pa.array([values[name]] * failed.num_rows) if name in values else failed[name] for name in failed.schema.names
        }
        columns["asked_at"] = pc.add(failed["asked_at"], pa.scalar(1_000_000, pa.duration("us")))
        return pa.concat_tables([rows, pa.table(columns).cast(rows.schema)])

    rewrite(warehouse, "crossmatches", later)
    return {"kind": "failed_crossmatch", "message": "the service answered 502", "remedy": "broker rematch"}


def plant_unexpected(warehouse: Path, one: dict) -> dict:
    """Under an id next to it: one more, which a float would not tell from it."""

    def more(rows: pa.Table) -> pa.Table:
        strange = rows.filter(pc.equal(rows["alert_id"], one["alert_id"]))
        strange = strange.set_column(
            rows.schema.get_field_index("alert_id"),
            rows.schema.field("alert_id"),
            pa.array([one["alert_id"] + 1] * strange.num_rows),
        )
        return pa.concat_tables([rows, strange])

    rewrite(warehouse, "ztf_alerts", more)
    return {"kind": "unexpected", "alert_id": one["alert_id"] + 1, "remedy": "see whether the truth is whole"}


@pytest.mark.parametrize(
    "plant",
    [
        plant_missing,
        plant_doubled,
        plant_altered,
        plant_other_version,
        plant_without_cutouts,
        plant_lost_stamp,
        plant_stamps_of_another,
        plant_without_crossmatch,
        plant_failed_crossmatch,
        plant_unexpected,
    ],
    ids=lambda plant: plant.__name__.removeprefix("plant_"),
)
@pytest.mark.parametrize("range_of_nights", [(), ("--night", "2026-09-17")], ids=["its nights", "the whole night"])
def test_a_planted_fault_is_found_and_nothing_else(
    plant: Callable[[Path, dict], dict],
    range_of_nights: tuple[str, ...],
    night: Path,
    archive: Path,
    damaged: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one = a_good_one(night)
    told = plant(damaged, one)
    words = ["--input", archive, "--warehouse", damaged, *range_of_nights]
    status, report = audited(capsys, *words, "--stamps")
    kind, remedy = told.pop("kind"), told.pop("remedy")
    assert status == 1
    assert {name: len(found) for name, found in faults(report).items()} == {kind: 1}
    (fault,) = report["faults"][kind]
    expected = {"survey": "ztf", "alert_id": one["alert_id"], "night": "2026-09-17", "source": f"{archive}#{one['name']}", **told}
    # In JSON an id is text, as a reader of JSON may round it.
    expected["alert_id"] = str(expected["alert_id"])
    assert {name: fault[name] for name in expected} == expected
    assert remedy in fault["remedy"]
    assert kind == "unexpected" or str(damaged) in fault["remedy"]
    # All others are as they should be.
    lost = kind in ("missing", "altered")
    assert report["counts"]["present"] == ALERTS - lost
    # A stamp that is not looked into is not missed; its row is.
    if plant is plant_lost_stamp:
        assert audited(capsys, *words)[0] == 0


def test_a_row_in_the_wrong_night_is_altered(
    night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = a_good_one(night)
    (file,) = (damaged / "ztf_alerts").rglob("*.parquet")
    strange = file.parents[1] / "night=2026-09-18" / "unit.parquet"
    strange.parent.mkdir()
    rows = pq.ParquetFile(file).read()
    pq.write_table(rows.filter(pc.equal(rows["alert_id"], one["alert_id"])), strange)
    pq.write_table(rows.filter(pc.not_equal(rows["alert_id"], one["alert_id"])), file)
    by_hand(damaged)
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged, "--night", "2026-09-17..2026-09-18")
    assert status == 1
    assert {kind: len(found) for kind, found in faults(report).items()} == {"altered": 1}
    (fault,) = report["faults"]["altered"]
    assert (fault["alert_id"], fault["message"]) == (str(one["alert_id"]), "it stands in the night 2026-09-18")


def test_the_same_damage_twice_under_one_name_has_one_letter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "page.avro").write_bytes(b"<html>try again later</html>")
    with tarfile.open(tmp_path / "night.tar", "w") as packed:
        for _ in range(2):
            packed.add(tmp_path / "page.avro", "page.avro")
    assert run(tmp_path / "warehouse", tmp_path / "night.tar") == 3
    status, report = audited(capsys, "--input", tmp_path / "night.tar", "--warehouse", tmp_path / "warehouse")
    assert (status, report["counts"]["unreadable"], report["counts"]["dead_letters"]) == (0, 2, {"read": 1})


def test_a_lost_dead_letter_is_named(night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [one for one in truth(night) if one["kind"] == "damaged"][3]
    rewrite(damaged, "dead_letters", without("source", f"{archive}#{bad['name']}"))
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged)
    assert status == 1
    assert {name: len(found) for name, found in faults(report).items()} == {"missing_letters": 1}
    assert report["faults"]["missing_letters"][0]["source"] == f"{archive}#{bad['name']}"
    assert sum(report["counts"]["dead_letters"].values()) == DAMAGED - 1


def test_a_letter_that_does_not_hold_its_packet_does_not_count(
    night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = next(one for one in truth(night) if one["damage"] == "cut_short")
    rewrite(damaged, "dead_letters", setting("payload", b"something else", "source", f"{archive}#{bad['name']}"))
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged)
    assert status == 1
    assert [one["source"] for one in faults(report)["missing_letters"]] == [f"{archive}#{bad['name']}"]


def test_many_faults_at_once_are_told_apart(
    night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [a_good_one(night, number) for number in range(6)]
    plants = [plant_missing, plant_doubled, plant_altered, plant_without_cutouts, plant_without_crossmatch, plant_unexpected]
    kinds = [plant(damaged, one)["kind"] for plant, one in zip(plants, chosen, strict=True)]
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged)
    assert status == 1
    found = faults(report)
    assert set(found) == set(kinds)
    for kind, one in zip(kinds, chosen, strict=True):
        (fault,) = found[kind]
        assert int(fault["alert_id"]) == one["alert_id"] + (kind == "unexpected")


def test_an_alert_sent_twice_must_be_there_once(
    night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = next(one for one in truth(night) if one["kind"] == "duplicate")
    rewrite(damaged, "ztf_alerts", without("source", f"{archive}#{copy['name']}"))
    assert audited(capsys, "--input", archive, "--warehouse", damaged)[0] == 0
    first = next(one for one in truth(night) if one["kind"] == "good" and one["alert_id"] == copy["alert_id"])
    rewrite(damaged, "ztf_alerts", without("source", f"{archive}#{first['name']}"))
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged)
    assert status == 1
    (fault,) = faults(report)["missing"]
    assert (int(fault["alert_id"]), fault["sent"]) == (copy["alert_id"], 2)


# What is no fault.


def test_off_the_sky_no_catalog_is_asked(night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = a_good_one(night)
    plant_without_crossmatch(damaged, one)
    rewrite(damaged, "ztf_alerts", setting("healpix29", None, "alert_id", one["alert_id"]))
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged)
    assert (status, report["counts"]["off_the_sky"]) == (0, 1)


def test_a_run_without_cutouts_owes_none(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, archive, flags=("--no_cutouts",)) == 0
    status, report = audited(capsys, "--input", archive, "--warehouse", tmp_path)
    assert (status, report["counts"]["information"]) == (0, {"cutouts_not_written": ALERTS})
    # A run that wrote them owes them all.
    assert run(tmp_path, archive) == 0
    shutil.rmtree(tmp_path / "ztf_cutouts")
    by_hand(tmp_path)
    status, report = audited(capsys, "--input", archive, "--warehouse", tmp_path)
    assert status == 1
    assert len(faults(report)["without_cutouts"]) == ALERTS
    assert audited(capsys, "--input", archive, "--warehouse", tmp_path, "--no_cutouts")[0] == 0


def test_a_message_that_came_again_is_information(
    night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pub/Sub delivers at least once: its rows have a time of publishing, and two of them are no fault of ours."""
    one = a_good_one(night)
    plant_doubled(damaged, one)
    rewrite(damaged, "ztf_alerts", setting("published_at", one["observed_at"], "alert_id", one["alert_id"]))
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged)
    assert (status, report["counts"]["information"]) == (0, {"rows_of_messages_again": 1})


def test_rows_of_another_archive_are_its_own_matter_unless_the_night_is_asked_for(
    archive: Path, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = simulated(tmp_path / "other", "--alerts", "30", "--seed", "77", "--archive", "tar")
    (second,) = other.glob("*.tar")
    assert run(damaged, second) == 0
    assert audited(capsys, "--input", archive, "--warehouse", damaged)[0] == 0
    status, report = audited(capsys, "--input", archive, "--warehouse", damaged, "--night", "2026-09-17")
    assert status == 1
    strange = faults(report)["unexpected"]
    assert {int(one["alert_id"]) for one in strange} == {one["alert_id"] for one in truth(other)}
    # The night's truth is both of them; it is not asked about by the catalog of the first.
    words = ["--input", archive, "--input", second, "--warehouse", damaged, "--night", "2026-09-17"]
    status, report = audited(capsys, *words)
    assert set(faults(report)) == {"without_crossmatch"}
    assert len(report["faults"]["without_crossmatch"]) == 30


def test_an_archive_that_was_moved_is_judged_by_contents(
    night: Path, archive: Path, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "elsewhere.tar"
    shutil.copy(archive, moved)
    status, report = audited(capsys, "--input", moved, "--warehouse", damaged)
    assert (status, faults(report)) == (0, {})
    assert sum(report["counts"]["dead_letters"].values()) == DAMAGED
    bad = next(one for one in truth(night) if one["damage"] == "html_page")
    rewrite(damaged, "dead_letters", without("source", f"{archive}#{bad['name']}"))
    plant_altered(damaged, a_good_one(night))
    status, report = audited(capsys, "--input", moved, "--warehouse", damaged)
    # Of the same page saved twice, one letter is left: which of the two is lost nobody can tell.
    assert {name: len(found) for name, found in faults(report).items()} == {"missing_letters": 1, "altered": 1}


# What lies in dead letters.


def test_packets_that_can_be_read_now_wait_for_a_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--survey", "lsst", "--framing", "wire", "--alerts", "12", "--damaged", "4", "--archive", "folder")
    night = simulated(tmp_path / "night", *flags)
    good = [one["name"] for one in truth(night) if one["kind"] == "good"]
    for name in good[:5]:
        (message,) = night.rglob(name)
        message.write_bytes(b"\x00" + (1099).to_bytes(4, "big") + message.read_bytes()[5:])
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "1099.avsc").write_text(json.dumps(known_schemas("lsst")["10.0"]))
    warehouse = tmp_path / "warehouse"
    assert run(warehouse, night) == 0
    words = ["--input", night, "--warehouse", warehouse]
    # Without the schema the truth cannot read them either: each has its letter.
    status, report = audited(capsys, *words)
    assert (status, report["counts"]["unreadable"]) == (0, 9)
    # With it they are alerts, that are not in their table.
    status, report = audited(capsys, *words, "--schemas", schemas)
    assert status == 1
    found = faults(report)
    assert set(found) == {"dead_lettered"}
    assert sorted(Path(one["source"]).name for one in found["dead_lettered"]) == sorted(good[:5])
    assert {(one["stage"], one["error_type"]) for one in found["dead_lettered"]} == {("read", "UnknownSchema")}
    assert all("broker replay" in one["remedy"] for one in found["dead_lettered"])
    assert cli.main(["replay", "--warehouse", str(warehouse), "--schemas", str(schemas)]) == 0
    status, report = audited(capsys, *words, "--schemas", schemas)
    assert (status, report["counts"]["present"], report["counts"]["unreadable"]) == (0, 12, 4)
    # Who has not got the schema sees rows in place of letters.
    status, report = audited(capsys, *words)
    assert (status, report["counts"]["information"]["letters_replayed"]) == (0, 5)


def test_what_lies_behind_a_damage_is_missing_and_the_letter_says_why(
    archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, warehouse = tmp_path / "night.tar", tmp_path / "warehouse"
    place.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    assert run(warehouse, place) == 0
    present = ask(warehouse, "SELECT count(DISTINCT alert_id) FROM ztf_alerts")[0][0]
    status, report = audited(capsys, "--input", place, "--warehouse", warehouse)
    # As it is, all of it is accounted for, by a letter for the rest.
    assert (status, report["counts"]["expected"]) == (0, present)
    shutil.copy(archive, place)
    status, report = audited(capsys, "--input", place, "--warehouse", warehouse)
    assert status == 1
    found = faults(report)
    assert len(found["missing"]) == ALERTS - present > 50
    assert all("cannot be read beyond its member" in one["message"] for one in found["missing"])
    assert all(one["remedy"] == f"broker ingest --warehouse {warehouse} --input {place}" for one in found["missing"])
    assert run(warehouse, place) == 0
    assert audited(capsys, "--input", place, "--warehouse", warehouse)[0] == 0


# Ids.


def ids_of(night: Path) -> list[int]:
    return [one["alert_id"] for one in truth(night) if one["kind"] == "good"]


@pytest.mark.parametrize("form", ["lines", "csv", "parquet", "with digests", "digests in hexadecimal"])
def test_ids_in_every_form(
    form: str, night: Path, whole: Path, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = ids_of(night)
    file = tmp_path / "ids"
    if form == "lines":
        file.write_text("".join(f"{one}\n" for one in ids))
    elif form == "csv":
        file.write_text("filter,candid\n" + "".join(f"r,{one}\n" for one in ids))
    elif form == "parquet":
        pq.write_table(pa.table({"diaSourceId": ids, "mag": [1.5] * len(ids)}), file)
    else:
        rows = ask(whole, "SELECT alert_id, packet_digest FROM ztf_alerts_unique")
        digests = [row[1] if form == "with digests" else row[1].hex() for row in rows]
        pq.write_table(pa.table({"alert_id": [row[0] for row in rows], "packet_digest": digests}), file)
    status, report = audited(capsys, "--ids", file, "--warehouse", whole)
    assert (status, report["counts"]["present"], report["unexpected_judged"]) == (0, ALERTS, False)
    missing, altered = a_good_one(night, 3), a_good_one(night, 4)
    plant_missing(damaged, missing)
    plant_altered(damaged, altered)
    status, report = audited(capsys, "--ids", file, "--warehouse", damaged, "--night", "2026-09-17")
    kinds = {kind: [int(one["alert_id"]) for one in found] for kind, found in faults(report).items()}
    # Ids alone cannot tell that a row was altered.
    assert kinds == {"missing": [missing["alert_id"]]} | ({"altered": [altered["alert_id"]]} if "digests" in form else {})


def test_ids_that_a_float_would_take_for_one(
    night: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = ids_of(night)
    strange = next(one + 1 for one in ids if one + 1 not in ids and float(one + 1) == float(one))
    (tmp_path / "ids.csv").write_text("alert_id\n" + "".join(f"{one}\n" for one in [*ids, strange]))
    status, report = audited(capsys, "--ids", tmp_path / "ids.csv", "--warehouse", whole)
    assert status == 1
    assert [one["alert_id"] for one in faults(report)["missing"]] == [str(strange)]
    # All but one of the night's: the one is unexpected, if all of the night is asked for.
    (tmp_path / "ids.csv").write_text("".join(f"{one}\n" for one in ids[1:]))
    assert audited(capsys, "--ids", tmp_path / "ids.csv", "--warehouse", whole)[0] == 0
    status, report = audited(capsys, "--ids", tmp_path / "ids.csv", "--warehouse", whole, "--night", "2026-09-17")
    assert [one["alert_id"] for one in faults(report)["unexpected"]] == [str(ids[0])]


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"alert_id\n1.0e18\n", "something other than an integer of 64 bits"),
        (b"alert_id\n99999999999999999999\n", "something other than an integer of 64 bits"),
        (b'alert_id\n""\n', "something other than an integer|without an id"),
        (b"objectId,mag\nZTF1,1\n", "no column alert_id or candid or diaSourceId"),
        (b"\n1\n", "begins with an empty line"),
        (b"alert_id,packet_digest\n5,xyz\n", "not hexadecimal"),
        (b"alert_id,packet_digest\n5,abcd\n", "something other than 16 bytes"),
        (pa.table({"alert_id": [5, 6], "packet_digest": [bytes(16), None]}), "has a row without a digest; give all of them"),
        (b"alert_id,mag\n5,1\n6\n", "cannot be read: CSV parse error"),
        (b'"alert_id', "cannot be read: "),
        (pa.table({"alert_id": [1.0e18]}), "of type double, in which ids above 2\\^53 are rounded"),
        (b"PAR1 and then nothing", "cannot be read"),
    ],
)
def test_ids_that_are_none(
    contents: bytes | pa.Table, said: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ids"
    if isinstance(contents, bytes):
        file.write_bytes(contents)
    else:
        pq.write_table(contents, file)
    status, report = audited(capsys, "--ids", file, "--warehouse", whole)
    assert status == 2
    assert re.search(said, report["error"])
    assert report["error"].count("\n") == 1


# The command.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give the truth by one of --input, --ids and --subscription"),
        (["--input", "{archive}", "--ids", "x"], "not 2"),
        (["--input", "/nowhere.tar"], "matches no file"),
        (["--ids", "/nowhere.csv"], "cannot be read"),
        (["--subscription", "night"], "not of the form projects/PROJECT/subscriptions/NAME"),
        (["--input", "{archive}", "--night", "yesterday"], "--night yesterday is no night"),
        (["--input", "{archive}", "--night", "2020-01-01..2020-01-02"], ""),
        (["--input", "{archive}", "--survey", "cosmos"], "survey 'cosmos' is not known"),
        (["--input", "{archive}", "--crossmatch", "wizier"], "'wizier' names no catalog"),
        (["--input", "{archive}", "--show", "-1"], "--show is -1"),
        (["--input", "{archive}", "--warehouse", "/nowhere"], "/nowhere holds no tables"),
        (["--input", "{archive}", "--warehouse", "s3://bucket/folder"], "no place for a warehouse"),
        (["--input", "{archive}", "--warehouse", "bigquery://project"], "not of the form bigquery://PROJECT/DATASET"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(
    words: Sequence[str], said: str, archive: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(archive=archive) for word in words]
    status, report = audited(capsys, *(["--warehouse", whole] if "--warehouse" not in given else []), *given)
    if not said:
        # Only what cannot be read is of any night: it has its letters.
        assert (status, report["counts"]["expected"], report["counts"]["unreadable"]) == (0, 0, DAMAGED)
        return
    assert status == 2
    assert said in report["error"]
    assert report["error"].count("\n") == 1


def test_the_table_names_examples_and_what_mends_them(
    night: Path, archive: Path, damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [a_good_one(night, number) for number in range(4)]
    for one in chosen:
        plant_missing(damaged, one)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--input", str(archive), "--warehouse", str(damaged), "--show", "3"]
    assert command.main(parser.parse_args(words)) == 1
    said = capsys.readouterr().out
    assert "  missing                           4   neither a row nor a dead letter" in said
    assert sum(f"ztf {one['alert_id']}; {archive}#{one['name']}" in said for one in chosen) == 3
    assert "... and 1 more" in said
    assert said.count(f"-> broker ingest --warehouse {damaged} --input {archive}") == 3
    assert "NOT all is accounted for" in said
    assert "decode, UndecodablePacket" in said or "read, UnreadableInput" in said
    assert run(damaged, archive) == 0
    assert command.main(parser.parse_args(words)) == 1, "the new rows have not been cross-matched"
    said = capsys.readouterr().out
    assert "without crossmatch                4" in said


# As large as a night of LSST's first years.


def made_up_warehouse(folder: Path, alerts: int) -> Path:
    """A warehouse of so many alerts, cutouts and cross-matches, of the columns that an audit reads; the ids beside it."""
    ids = pa.array(np.arange(alerts) * 1009 + 3546113215715015001)
    digests = pa.array([number.to_bytes(16, "big") for number in range(alerts)], pa.binary())
    same = {"survey": "ztf", "schema_version": "4.02", "run_id": "r", "catalog": "simbad", "status": "no_match"}
    texts = {name: pa.array([text]).take(pa.array(np.zeros(alerts, np.int64))) for name, text in same.items()}
    times = pa.array(np.full(alerts, np.datetime64("2026-09-18", "us")), pa.timestamp("us", tz="UTC"))
    numbers = pa.array(np.zeros(alerts))
    sources = pa.array([f"/data/ztf/nightly/ztf_public_20260917.tar.gz#{number}.avro" for number in range(alerts)])
    own = {
        "ztf_alerts": {
            "packet_digest": digests,
            "schema_version": texts["schema_version"],
            "run_id": texts["run_id"],
            "source": sources,
            "healpix29": ids,
            "published_at": pa.nulls(alerts, times.type),
        },
        "ztf_cutouts": {"science": texts["survey"], "template": texts["survey"], "difference": texts["survey"]},
        "crossmatches": {
            **{name: texts[name] for name in ("survey", "catalog", "status")},
            "error": pa.nulls(alerts, pa.string()),
            "asked_at": times,
            **dict.fromkeys(("radius_arcsec", "ra_deg", "dec_deg"), numbers),
            "object_id": texts["survey"],
        },
    }
    for table, columns in own.items():
        place = folder / table / "night=2026-09-17"
        place.mkdir(parents=True)
        pq.write_table(pa.table({"alert_id": ids, **columns}), place / "unit.parquet")
    pq.write_table(pa.table({"alert_id": ids, "packet_digest": digests}), folder.with_suffix(".ids"))
    return folder.with_suffix(".ids")


def test_two_hundred_thousand_ids_take_as_many_statements_as_a_thousand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison goes set by set: what it costs per alert does not grow with their number."""
    counted: list[Books] = []
    begin = Books.__init__
    monkeypatch.setattr(Books, "__init__", lambda self, connection: (begin(self, connection), counted.append(self))[0])
    seconds = {}
    for alerts in (1_000, 20_000, 200_000):
        ids = made_up_warehouse(tmp_path / str(alerts), alerts)
        used = time.process_time()
        status, report = audited(capsys, "--ids", ids, "--warehouse", tmp_path / str(alerts), "--night", "2026-09-17")
        seconds[alerts] = time.process_time() - used
        assert (status, report["counts"]["present"]) == (0, alerts)
        assert report["counts"]["catalogs"]["simbad"]["no_match"] == alerts
    assert len({one.statements for one in counted}) == 1
    # What compares each with each would take a hundred times as long.
    assert seconds[200_000] < 30 * seconds[20_000]


def test_ids_of_a_warehouse_of_several_surveys_need_its_name(
    real_data: RealData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse, ids = tmp_path / "w", tmp_path / "ids"
    ids.write_text("1\n")
    assert run(warehouse, real_data / "other_surveys/pgir/114310898.avro") == 0
    assert audited(capsys, "--ids", ids, "--warehouse", warehouse)[0] == 1
    status, report = audited(capsys, "--ids", ids, "--warehouse", warehouse, "--night", "2001-01-01")
    assert (status, "the warehouse has no alerts there" in report["error"]) == (2, True)
    assert run(warehouse, real_data / "other_surveys/winter/3608701.avro") == 0
    status, report = audited(capsys, "--ids", ids, "--warehouse", warehouse)
    assert status == 2
    assert re.search(
        "has alerts of (pgir and winter|winter and pgir) there, and ids do not tell .* give --survey", report["error"]
    )


def test_a_place_that_cannot_be_listed_is_named(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unanswered(uri: str) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(truths, "find_inputs", unanswered)
    status, report = audited(capsys, "--input", "gs://night/a.tar", "--warehouse", whole)
    assert (status, report["error"]) == (2, "broker audit: --input gs://night/a.tar cannot be listed: no route to host\n")


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"survey": "ztf", "alert_id": 5, "number": 3, "sent": 2}, "ztf 5; rows: 3, sent: 2"),
        ({"survey": "ztf", "alert_id": 5, "number": 3}, "ztf 5; rows: 3"),
        ({"survey": "ztf", "alert_id": 5, "found_digest": "aa", "expected_digest": "bb"}, "ztf 5; digest aa, the packet's is bb"),
        ({"stage": "read", "error_type": "UnreadableInput", "source": "a.tar#1"}, "read, UnreadableInput; a.tar#1"),
        ({"survey": "ztf", "alert_id": 5, "catalog": "simbad", "message": "no answer"}, "ztf 5; simbad; no answer"),
    ],
)
def test_a_fault_is_told_in_a_line_and_its_remedy_below(fault: dict, line: str) -> None:
    assert reports._fault_line(fault | {"remedy": "broker ingest"}) == f"  {line}\n      -> broker ingest"


def test_a_letter_of_a_refused_row_tells_its_alert_and_one_of_another_table_none() -> None:
    row = {"survey": "ztf", "alert_id": "2560123456789012345", "packet_digest": "AAAA", "schema_version": "4.02"}
    found = audits._refused_row({"payload": json.dumps(row).encode()})
    assert found is not None
    assert found.to_pylist() == [row | {"alert_id": 2_560_123_456_789_012_345, "packet_digest": bytes(3)}]
    for payload in (b"{}", b"no JSON", b"[1]", json.dumps(row | {"alert_id": "x"}).encode()):
        assert audits._refused_row({"payload": payload}) is None


class Acknowledged:
    """Takes down how long which messages are held."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], int]] = []

    def modify_ack_deadline(self, subscription: str, ack_ids: Sequence[str], ack_deadline_seconds: int) -> None:
        self.asked.append((list(ack_ids), ack_deadline_seconds))

    def pull(self, **_: object) -> None:
        raise DeadlineExceeded("nothing came")


def test_messages_of_a_long_audit_are_held_again_and_given_back_in_requests_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_REQUEST_IDS", 2)
    monkeypatch.setattr(messages, "_RENEW_SECS", -1.0)
    client = Acknowledged()
    assert messages._pulled(client, "s", 10, 0.1) == []
    with (tmp_path / "held").open("w+") as file:
        held = messages._Held(client, "s", file)
        held.hold(["a", "b", "c"])
        held.renew()
        held.close()
    hold = messages._HOLD_SECS
    assert client.asked == [(["a", "b", "c"], hold), (["a", "b"], hold), (["c"], hold), (["a", "b"], 0), (["c"], 0)]
