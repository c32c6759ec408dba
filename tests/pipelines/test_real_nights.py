"""One run over all real packets: every field of every alert in the tables is what fastavro reads."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import fastavro
import pyarrow.parquet as pq
import pytest

from alerts.surveys import SURVEYS, identify
from schemas import known_schemas, parse_text
from tests.compare import assert_row_equals_record
from tests.conftest import RealData
from tests.nights import ask, run


@pytest.fixture(scope="module")
def ztf(real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = tmp_path_factory.mktemp("ztf")
    assert run(warehouse, real_data / "ztf/nightly") == 0
    return warehouse


@pytest.fixture(scope="module")
def lsst(real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = tmp_path_factory.mktemp("lsst")
    assert run(warehouse, real_data / "lsst") == 0
    return warehouse


@pytest.fixture(scope="module")
def others(real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = tmp_path_factory.mktemp("others")
    folders = ["other_surveys"] + ["ztf/multi_record", "ztf/by_version", "elasticc"] * (real_data.larger is not None)
    assert run(warehouse, *(real_data / name for name in folders)) == 0
    return warehouse


def records(file: Path) -> Iterator[tuple[str, dict, dict]]:
    """Source, record and writer schema of every alert in a file, as fastavro reads them."""
    if file.name.endswith(".tar.gz"):
        with tarfile.open(file) as archive:
            for member in archive:
                packed = archive.extractfile(member)
                assert packed is not None
                reader = fastavro.reader(io.BytesIO(packed.read()))
                for record in reader:
                    yield f"{file}#{member.name}", record, reader.writer_schema
    elif file.suffix == ".bin":
        data = file.read_bytes()
        major, minor = divmod(int.from_bytes(data[1:5], "big"), 100)
        schema = known_schemas("lsst")[f"{major}.{minor}"]
        parsed = parse_text(json.dumps(schema))
        yield str(file), fastavro.schemaless_reader(io.BytesIO(data[5:]), parsed, None), schema
    elif file.suffix == ".avro":
        with file.open("rb") as opened:
            reader = fastavro.reader(opened)
            for record in reader:
                yield str(file), record, reader.writer_schema


def stored_rows(warehouse: Path, survey: str, source: str) -> dict[str, list[dict]]:
    """Rows of the alerts table with their stamps, by source, for the sources that begin so, in the order of the files.

    Row n of a cutouts file belongs to row n of the alerts file of the same name.
    """
    found: dict[str, list[dict]] = {}
    for file in sorted((warehouse / f"{survey}_alerts").rglob("*.parquet")):
        rows = pq.ParquetFile(file).read()
        if not any(one.startswith(source) for one in rows.column("source").unique().to_pylist()):
            continue
        stamps = pq.ParquetFile(str(file).replace("_alerts", "_cutouts")).read()
        assert stamps.column("alert_id").equals(rows.column("alert_id"))
        night = date.fromisoformat(file.parent.name.removeprefix("night="))
        for row, cutouts in zip(rows.to_pylist(), stamps.to_pylist(), strict=True):
            if row["source"].startswith(source):
                found.setdefault(row["source"], []).append({**row, **cutouts, "night": night})
    return found


def assert_all_equal(warehouse: Path, files: list[Path]) -> int:
    compared = 0
    for file in files:
        rows: dict[str, list[dict]] | None = None
        for source, record, schema in records(file):
            survey = identify(schema)
            if rows is None:
                rows = stored_rows(warehouse, survey.name, str(file))
            # Records of one file stand in the table in the file's order.
            assert_row_equals_record(rows[source].pop(0), record, survey, unions=False)
            compared += 1
        assert rows is not None
        assert not any(rows.values()), f"{file}: rows without a record"
    return compared


def files_of(folder: Path, *patterns: str) -> list[Path]:
    return [file for pattern in patterns for file in sorted(folder.glob(pattern))]


def number(real_data: RealData, in_all: int, in_ours: int) -> int:
    """How many there are in the larger set of packets, or in what the project keeps."""
    return in_all if real_data.larger else in_ours


def test_every_field_of_ztf_alerts(ztf: Path, real_data: RealData) -> None:
    assert assert_all_equal(ztf, files_of(real_data / "ztf/nightly", "*.tar.gz")) == number(real_data, 1715, 50)


def test_every_field_of_lsst(lsst: Path, real_data: RealData) -> None:
    files = files_of(real_data / "lsst", "nightly/*.gz", "ocf/*", "official_samples/*", "spark_rewritten/*", "wire_confluent/*")
    assert assert_all_equal(lsst, files) == number(real_data, 89, 14)


def test_every_field_of_multi_record_files_old_versions_and_other_surveys(others: Path, real_data: RealData) -> None:
    patterns = ("ztf/multi_record/*", "ztf/by_version/*", "other_surveys/*/*.avro", "elasticc/*.gz")
    files = files_of((real_data / "other_surveys").parent, *patterns)
    assert assert_all_equal(others, files) == number(real_data, 54 + 31 + 10 + 8 + 1500, 3)


def test_nights_are_the_surveys_own(ztf: Path, lsst: Path, real_data: RealData) -> None:
    nights = ask(ztf, "SELECT night, candidate.nid FROM ztf_alerts")
    assert len(nights) == number(real_data, 1715, 50)
    assert all(night == date(2017, 1, 1) + timedelta(days=nid) for night, nid in nights)
    visits = ask(lsst, "SELECT night, diaSource.visit // 100000 FROM lsst_alerts WHERE diaSource.visit >= 1000000000000")
    assert len(visits) >= number(real_data, 21, 1)
    assert all(f"{night:%Y%m%d}" == str(day) for night, day in visits)


def test_ids_are_exact(ztf: Path, real_data: RealData) -> None:
    beyond = ask(ztf, "SELECT count(*) FROM ztf_alerts WHERE alert_id > 9007199254740992 AND alert_id % 1000 != 0")
    assert beyond[0][0] > number(real_data, 1000, 40)
    assert ask(ztf, "SELECT count(*) FROM ztf_alerts WHERE alert_id != candidate.candid") == [(0,)]


def test_official_samples_are_conflicts(real_data: RealData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, real_data / "lsst/official_samples") == 0
    assert "14, of them 0 copies and 13 conflicts" in capsys.readouterr().out
    # Three of them are the same bytes as another, but written with another version: not the same contents.
    contents = "SELECT count(*), count(DISTINCT packet_digest), count(DISTINCT (packet_digest, schema_version)) FROM lsst_alerts"
    assert ask(tmp_path, contents) == [(14, 11, 14)]
    assert ask(tmp_path, "SELECT schema_version FROM lsst_alerts_unique") == [("11.0",)]


def test_one_object_twice_in_a_night_gives_two_rows(ztf: Path) -> None:
    twice = ask(ztf, "SELECT object_id, count(*) FROM ztf_alerts WHERE source LIKE '%20200202%' GROUP BY 1 HAVING count(*) > 1")
    assert twice == [("ZTF20aajcdad", 2)]


def test_rewritten_packets_are_of_their_survey_with_what_is_new_in_extra(
    others: Path, lsst: Path, all_real_data: RealData
) -> None:
    labels = "json_extract_string(extra, '$.cdsxmatch')"
    sql = f"SELECT count(*), count(extra), count({labels}) FROM ztf_alerts WHERE source LIKE '%fink%'"
    assert ask(others, sql) == [(85, 85, 85)]
    sql = "SELECT count(*), count(extra) FROM lsst_alerts WHERE source LIKE '%spark_rewritten%'"
    assert ask(lsst, sql) == [(4, 4)]


def test_side_files_of_a_folder_are_skipped_and_counted(lsst: Path, all_real_data: RealData) -> None:
    read, skipped = ask(lsst, "SELECT records_read, inputs_skipped FROM runs")[0]
    assert read == 89
    assert skipped > 80


def test_every_survey_has_its_table(others: Path, all_real_data: RealData) -> None:
    for survey in SURVEYS:
        if survey != "lsst":
            assert ask(others, f"SELECT count(*) FROM {survey}_alerts")[0][0] > 0
