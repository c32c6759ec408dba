"""Rows for filters out of a folder: they say of stored alerts what they say of the packets, and of each alert once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warehouses
from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.features.table import features_table_of, rows_of
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.surveys import SURVEYS
from tests.conftest import RealData
from tests.nights import by_hand, run, simulated
from tests.warehouses.filter_verdicts import ALL, of_packets, of_warehouse, queries, verdicts
from warehouses import filter_rows
from warehouses.filter_rows import FilterRows

ZTF = SURVEYS["ztf"]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--damaged", "0", "--duplicates", "10")


@pytest.fixture(scope="module")
def warehouse(night: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("filled") / "warehouse"
    assert run(place, night) == 0
    return str(place)


@pytest.mark.parametrize(
    ("survey", "pattern"),
    [
        ("ztf", "ztf/nightly/*nan.tar.gz"),
        ("ztf", "ztf/nightly/*20240715*"),
        ("lsst", "lsst/wire_confluent/v10*"),
        ("lsst", "lsst/nightly/*.tar.gz"),
    ],
)
def test_filters_say_of_stored_alerts_what_they_say_of_real_packets(
    survey: str, pattern: str, real_data: RealData, tmp_path: Path
) -> None:
    files = real_data.glob(pattern)
    assert run(tmp_path / "warehouse", *files) == 0
    with warehouses.open(str(tmp_path / "warehouse")) as opened:
        stored = of_warehouse(opened, SURVEYS[survey])
    sent = of_packets(files, SURVEYS[survey])
    for name, found in stored.items():
        assert found == sent[name], name
    assert {tuple, bool} <= {type(value) for found in stored.values() for value in found.values()}


def test_a_night_in_parts_is_the_night(warehouse: str, night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of_packets(night.glob("*.tar.gz"), ZTF)
    with warehouses.open(warehouse) as opened:
        assert of_warehouse(opened, ZTF) == whole
        monkeypatch.setattr(filter_rows, "_MOST_ALERTS", 9)
        monkeypatch.setattr(filter_rows, "ROWS_AT_ONCE", 4)
        assert of_warehouse(opened, ZTF) == whole


def test_one_alert_is_read_as_in_its_night(warehouse: str) -> None:
    asked = queries(ZTF)
    with warehouses.open(warehouse) as opened:
        rows = FilterRows(opened, ZTF, asked.values())
        whole = of_warehouse(opened, ZTF)
        ids = list(whole[next(iter(asked))])
        for alert_id in ids[:3]:
            alert = rows.of_alert(alert_id)
            assert alert is not None
            assert verdicts([alert], asked) == {name: {alert_id: found[alert_id]} for name, found in whole.items()}
        assert rows.of_alert(1) is None


def test_columns_and_fields_that_an_old_file_lacks_read_null(night: Path, tmp_path: Path) -> None:
    place = tmp_path / "warehouse"
    assert run(place, night, flags=("--no_history",)) == 0
    [file] = (place / "ztf_alerts").rglob("*.parquet")
    table = pq.read_table(file, partitioning=None)
    candidate = table.column("candidate").combine_chunks()
    kept = [field for field in candidate.type if field.name != "drb"]
    less = pa.StructArray.from_arrays([candidate.field(field.name) for field in kept], fields=kept)
    pq.write_table(table.set_column(table.schema.get_field_index("candidate"), "candidate", less), file)
    by_hand(place)
    text = "candidate.drb > 0 OR (SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos) > 3"
    asked = {text: parse(f"SELECT alert_id FROM alerts WHERE {text}", row_of(ZTF))}
    with warehouses.open(str(place)) as opened:
        rows = FilterRows(opened, ZTF, asked.values())
        [(day, number)] = rows.nights(ALL).items()
        found = verdicts(rows.of_night(day, number), asked)
    assert set(found[text].values()) == {None}


PEAK = """
import resource, sys
from broker import cli
assert cli.main(["filter", "try", sys.argv[1], "--warehouse", sys.argv[2]]) == 0
print("peak_kb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def filled(place: Path, rows: pa.RecordBatch, times: int) -> str:
    """A warehouse with rows of a night and their features, again and again with other ids, a file each time."""
    made = rows_of(rows, ZTF, "")
    table = features_table_of(ZTF)
    assert made is not None
    assert table is not None
    opened = warehouses.at(str(place))
    for number in range(times):
        ids = pa.array(np.arange(rows.num_rows) + 10**18 + number * rows.num_rows)
        for own, batch in ((ZTF.alerts_table, rows.select(ZTF.alerts_table.arrow_schema.names)), (table, made.rows)):
            column = batch.schema.get_field_index("alert_id")
            opened.add(own, batch.set_column(column, batch.schema.field(column), ids), f"{own.name}_{number}")
    return str(place)


def peak_mb(place: str, wanted: Path, alerts: int) -> float:
    words = [sys.executable, "-c", PEAK, str(wanted), place]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300)
    assert f"{alerts:,}" in done.stdout
    return int(done.stdout.split("peak_kb")[1]) / 1024


@pytest.mark.cost
def test_memory_does_not_grow_with_the_night(tmp_path: Path) -> None:
    night = simulated(tmp_path / "night", "--alerts", "512", "--damaged", "0")
    with next(night.glob("*.tar.gz")).open("rb") as file:
        packets = [item for item in read_input(file, "night", WireSchemas()) if isinstance(item, Packet)]
    rows = decode(packets).rows["ztf"]
    wanted = tmp_path / "wanted.sql"
    history = "(SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos) > 2"
    wanted.write_text(f"-- surveys: ztf\nSELECT alert_id FROM alerts WHERE {history} AND features.n_bands > 0")
    small = peak_mb(filled(tmp_path / "small", rows, 3), wanted, 3 * 512)
    large = peak_mb(filled(tmp_path / "large", rows, 27), wanted, 27 * 512)
    # The history of the alerts that are more takes some 10 kB each, 120 MB.
    assert large <= small + 60, f"peak {small:.0f} MB for {3 * 512:,} alerts, {large:.0f} MB for {27 * 512:,}"
