"""One run over all real packets: every alert stands in the tables as it was decoded, which is as fastavro reads it."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import SURVEYS
from schemas.tables import CUTOUTS
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


def decoded(files: list[Path]) -> dict[str, list[pa.Table]]:
    """The rows of input files by survey, in the order of their packets: ``test_decode_real`` holds them against fastavro."""
    found: dict[str, list[pa.Table]] = defaultdict(list)
    for file in files:
        with file.open("rb") as opened:
            packets = [item for item in read_input(opened, str(file), WireSchemas()) if isinstance(item, Packet)]
        for survey, rows in decode(packets).rows.items():
            found[survey].append(pa.Table.from_batches([rows]))
    return found


def stored(warehouse: Path, survey: str) -> list[pa.Table]:
    """The rows of a survey with their stamps and nights, in the order of the files.

    Row n of a cutouts file belongs to row n of the alerts file of the same name.
    """
    found = []
    for file in sorted((warehouse / f"{survey}_alerts").rglob("*.parquet")):
        rows = pq.ParquetFile(file).read()
        stamps = pq.ParquetFile(str(file).replace("_alerts", "_cutouts")).read()
        assert stamps.column("alert_id").equals(rows.column("alert_id"))
        for role in CUTOUTS:
            rows = rows.append_column(role, stamps.column(role))
        night = date.fromisoformat(file.parent.name.removeprefix("night="))
        found.append(rows.append_column("night", pa.array([night] * rows.num_rows, pa.date32())))
    return found


def numbered(tables: list[pa.Table], columns: list[str]) -> pa.Table:
    """All rows with these columns, and as ``place`` which of its source each one is."""
    rows = pa.concat_tables([table.select(columns) for table in tables], promote_options="permissive")
    so_far: Counter[str] = Counter()
    places = []
    for source in rows.column("source").to_pylist():
        places.append(so_far[source])
        so_far[source] += 1
    return rows.append_column("place", pa.array(places))


def assert_all_stored(warehouse: Path, files: list[Path]) -> int:
    """Every row of the files stands in the tables once, to the last field and stamp, those of a source in its order."""
    compared = 0
    for survey, given in decoded(files).items():
        columns = [name for name in given[0].column_names if name not in ("run_id", "ingested_at")]
        expected = numbered(given, columns)
        found = numbered(stored(warehouse, survey), columns)
        ours = pa.table({"source": expected.column("source").unique()})
        with duckdb.connect() as connection:
            for name, table in {"expected": expected, "every": found, "ours": ours}.items():
                connection.register(name, table)
            connection.execute("CREATE TABLE found AS SELECT every.* FROM every SEMI JOIN ours USING (source)")
            assert connection.execute("SELECT count(*) FROM found").fetchall() == [(expected.num_rows,)]
            differ = "SELECT source, place FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM found)"
            assert connection.execute(differ).fetchall() == []
        compared += expected.num_rows
    return compared


def files_of(folder: Path, *patterns: str) -> list[Path]:
    return [file for pattern in patterns for file in sorted(folder.glob(pattern))]


def number(real_data: RealData, in_all: int, in_ours: int) -> int:
    """How many there are in the larger set of packets, or in what the project keeps."""
    return in_all if real_data.larger else in_ours


def test_every_field_of_ztf_alerts(ztf: Path, real_data: RealData) -> None:
    assert assert_all_stored(ztf, files_of(real_data / "ztf/nightly", "*.tar.gz")) == number(real_data, 1715, 50)


def test_every_field_of_lsst(lsst: Path, real_data: RealData) -> None:
    files = files_of(real_data / "lsst", "nightly/*.gz", "ocf/*", "official_samples/*", "spark_rewritten/*", "wire_confluent/*")
    assert assert_all_stored(lsst, files) == number(real_data, 89, 14)


def test_every_field_of_multi_record_files_old_versions_and_other_surveys(others: Path, real_data: RealData) -> None:
    patterns = ("ztf/multi_record/*", "ztf/by_version/*", "other_surveys/*/*.avro", "elasticc/*.gz")
    files = files_of((real_data / "other_surveys").parent, *patterns)
    assert assert_all_stored(others, files) == number(real_data, 54 + 31 + 10 + 8 + 1500, 3)


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
