"""Stamps of packets that share an alert id: each packet's own, by every way that shows them."""

from __future__ import annotations

import copy
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from broker import warehouse as warehouses
from broker.info import text
from broker.orm import Session, ZTFAlert, ZTFAlertRow
from broker.warehouse import QueryError
from tests.nights import run, simulated


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "10", "--seed", "5")


def in_conflict(night: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """A warehouse of two packets of one alert id, the second one changed; the two records."""
    with tarfile.open(next(night.glob("*.tar.gz"))) as archive:
        sent = next(archive.extractfile(member).read() for member in archive if member.name.endswith(".avro"))
    reader = fastavro.reader(io.BytesIO(sent))
    first = next(reader)
    other = copy.deepcopy(first)
    change(other)
    with (folder / "other.avro").open("wb") as file:
        fastavro.writer(file, reader.writer_schema, [other])
    (folder / "first.avro").write_bytes(sent)
    assert run(folder / "warehouse", folder / "first.avro", folder / "other.avro") == 0
    return [first, other]


def longer_stamp(record: dict[str, Any]) -> None:
    record["cutoutScience"]["stampData"] += b" "


def without_stamps(record: dict[str, Any]) -> None:
    for role in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
        record[role] = None


def forget_whose(warehouse: Path) -> None:
    """The cutouts as versions before 0.2 wrote them."""
    for file in (warehouse / "ztf_cutouts").rglob("*.parquet"):
        pq.write_table(pq.ParquetFile(file).read().drop_columns("packet_digest"), file)


def science_stamp(record: dict[str, Any]) -> bytes | None:
    return record["cutoutScience"] and record["cutoutScience"]["stampData"]


@pytest.mark.parametrize("change", [longer_stamp, without_stamps])
def test_of_packets_in_conflict_each_has_its_own_stamps(
    night: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    records = in_conflict(night, tmp_path, change)
    place = tmp_path / "warehouse"
    by_file = {name: science_stamp(record) for name, record in zip(("first.avro", "other.avro"), records, strict=True)}
    with Session(place) as session:
        rows = session.scalars(select(ZTFAlertRow)).all()
        assert {Path(row.source).name: row.cutouts.science for row in rows} == by_file
        alert = session.scalars(select(ZTFAlert)).one()
        shown = by_file[Path(alert.source).name]
        assert alert.cutouts.science == shown
        assert len(alert.all_cutouts) == 1
    with warehouses.open(str(place)) as opened:
        [known] = opened.info(alert.alert_id)
        assert known["stamps"]["science"] == (None if shown is None else len(shown))
        assert science_stamp(opened.packet(alert.alert_id)[0]) == shown
    capsys.readouterr()


def test_nobody_guesses_whose_stamps_are_of_rows_that_do_not_say_it(night: Path, tmp_path: Path) -> None:
    records = in_conflict(night, tmp_path, longer_stamp)
    forget_whose(tmp_path / "warehouse")
    with Session(tmp_path / "warehouse") as session:
        alert = session.scalars(select(ZTFAlert)).one()
        with pytest.raises(
            QueryError, match=f"{alert.alert_id}.* was sent with 2 different sets of stamps; all_cutouts has them"
        ):
            _ = alert.cutouts
        assert {one.science for one in alert.all_cutouts} == {science_stamp(record) for record in records}
        assert len({one.template for one in alert.all_cutouts}) == 1
    with warehouses.open(str(tmp_path / "warehouse")) as opened:
        [known] = opened.info(alert.alert_id)
        assert "2 different sets of stamps" in text(known)
        assert "2 different sets of stamps" in known["stamps_unknown"]
        with pytest.raises(QueryError, match="ingest its night again"):
            opened.packet(alert.alert_id)


def test_stamps_that_do_not_say_whose_they_are_and_need_not(night: Path, tmp_path: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        record["candidate"]["magpsf"] += 0.01

    record, _ = in_conflict(night, tmp_path, change)
    forget_whose(tmp_path / "warehouse")
    with warehouses.open(str(tmp_path / "warehouse")) as opened:
        assert opened.query("SELECT DISTINCT packet_digest AS d FROM ztf_cutouts").to_pylist() == [{"d": None}]
        assert science_stamp(opened.packet(record["candid"])[0]) == science_stamp(record)
    with Session(tmp_path / "warehouse") as session:
        assert session.scalars(select(ZTFAlert)).one().cutouts.science == science_stamp(record)
