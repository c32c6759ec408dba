"""--no_history and --no_cutouts from the command line to the tables, and batches that nobody pickles on the way."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam import coders
from apache_beam.io.gcp import bigquery_tools

from alerts.avro.decode import decode
from alerts.avro.encode import container_blocks, container_header
from alerts.avro.inputs import read_input
from alerts.avro.layout import EVERYTHING, Projection
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import SURVEYS
from pipelines.job import Job
from pipelines.options import parse
from tests.alerts.making import container, ztf_record
from tests.nights import PROVENANCE, ask, rows, run, simulated
from transforms.coders import BatchCoder
from transforms.elements import AlertBatch, PacketBatch
from transforms.table_rows import alert_rows, tables_of_alerts
from transforms.write_bigquery import WriteBigQuery

HISTORY = ["prv_candidates", "fp_hists"]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = simulated(tmp_path_factory.mktemp("night"), "--alerts", "300", "--damaged", "8", "--seed", "4")
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def whole(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    warehouse = tmp_path_factory.mktemp("whole")
    assert run(warehouse, night) == 0
    return warehouse


def names_in_files(warehouse: Path, table: str) -> list[list[str]]:
    return [pq.read_schema(file).names for file in sorted(warehouse.glob(f"{table}/**/*.parquet"))]


@pytest.mark.parametrize("flags", [("--no_history",), ("--no_history", "--no_cutouts"), ("--no_cutouts",)])
def test_what_is_left_out_has_no_columns_and_all_else_is_the_same(night, whole, tmp_path, flags):
    assert run(tmp_path, night, flags=flags) == 0
    left_out = HISTORY if "--no_history" in flags else []
    files = names_in_files(tmp_path, "ztf_alerts")
    assert files
    assert all(not {*HISTORY} & {*names} if left_out else {*HISTORY} <= {*names} for names in files)
    expected = rows(whole, "ztf_alerts", (*PROVENANCE, *left_out))
    assert rows(tmp_path, "ztf_alerts").select(expected.column_names).sort_by("alert_id") == expected.sort_by("alert_id")
    assert ask(tmp_path, "SELECT count(*) FROM dead_letters") == [(8,)]
    if "--no_cutouts" in flags:
        assert not (tmp_path / "ztf_cutouts").exists()
    else:
        assert rows(tmp_path, "ztf_cutouts") == rows(whole, "ztf_cutouts")


def test_alerts_with_and_without_history_are_one_table_and_the_run_tells_which(night, tmp_path):
    other = tmp_path / "other.avro"
    other.write_bytes(container([ztf_record(5)]))
    warehouse = tmp_path / "warehouse"
    assert run(warehouse, night, flags=("--no_history",)) == 0
    assert run(warehouse, other) == 0
    counted = ask(warehouse, "SELECT prv_candidates IS NULL, count(*) FROM ztf_alerts GROUP BY 1 ORDER BY 1")
    assert counted == [(False, 1), (True, 300)]
    options = [json.loads(text) for (text,) in ask(warehouse, "SELECT options FROM runs ORDER BY started_at")]
    assert [one.get("history") for one in options] == [False, None]
    # Reading the night once more with all it has replaces the rows without history.
    assert run(warehouse, night) == 0
    assert ask(warehouse, "SELECT count(*) FROM ztf_alerts WHERE prv_candidates IS NULL") == [(0,)]


def test_the_job_knows_what_is_wanted(night, tmp_path):
    def want(*flags: str) -> Projection:
        job = Job.from_options(parse(["--input", str(night), "--warehouse", str(tmp_path), *flags]))
        job.clean_up()
        assert job.sink.tables == tables_of_alerts(SURVEYS, job.want, job.features)
        return job.want

    assert want() == Projection()
    assert want("--no_history") == Projection(history=False)
    assert want("--no_cutouts", "--no_history") == Projection(history=False, stamps=False)


def batch(want: Projection = EVERYTHING) -> AlertBatch:
    """Three alerts, the second with everything null."""
    records = [ztf_record(number, null=number == 2) for number in (1, 2, 3)]
    return AlertBatch("unit", "ztf", decode(packets(records), want=want).rows["ztf"])


def packets(records: list[dict[str, Any]]) -> list[Packet]:
    return [one for one in open_packets(container(records), "s", WireSchemas()) if isinstance(one, Packet)]


@pytest.mark.parametrize("stamps", [True, False])
def test_load_files_hold_empty_arrays_for_a_history_that_is_left_out(stamps):
    found = list(alert_rows(batch(want := Projection(history=False, stamps=stamps)), want))
    assert [one.table for one in found] == ["ztf_alerts", *(["ztf_cutouts"] if stamps else [])]
    (alerts,) = loaded(found[0].rows)
    whole = loaded(next(alert_rows(batch(), EVERYTHING)).rows)[0]
    times = dict.fromkeys(["ingested_at"])
    assert [one | times for one in alerts] == [one | {name: [] for name in HISTORY} | times for one in whole]
    # A row of insertAll says nothing of them, which means the same.
    rows = list(
        WriteBigQuery("bigquery://p/d", "run", "streaming_inserts", tables_of_alerts(["ztf"], want, False)).rows_of(found[0])
    )
    assert {row.table for row in rows} == {"p:d.ztf_alerts"}
    assert all(not {*HISTORY} & {*row} for row in rows)


def loaded(*batches: pa.RecordBatch) -> list[list[dict[str, Any]]]:
    """What stands in load files with these batches."""
    table = SURVEYS["ztf"].alerts_table
    schema = bigquery_tools.get_avro_schema_from_table_schema(table.to_bigquery())
    sync = bytes(16)
    files = [b"".join([container_header(schema, sync), *container_blocks(one, table, sync)]) for one in batches]
    return [list(fastavro.reader(io.BytesIO(file))) for file in files]


def test_batches_come_back_from_their_coder_as_they_were():
    for want in (Projection(), Projection(history=False, stamps=False)):
        sent = batch(want)
        back = coders.registry.get_coder(AlertBatch).decode(coders.registry.get_coder(AlertBatch).encode(sent))
        assert (back.unit, back.survey) == (sent.unit, sent.survey)
        assert back.rows.equals(sent.rows, check_metadata=True)
    whole = PacketBatch("unit", packets([ztf_record(1), ztf_record(2)]))
    assert BatchCoder().decode(BatchCoder().encode(whole)) == whole


def test_the_size_of_a_batch_is_nearly_that_of_its_bytes(night):
    with night.open("rb") as file:
        sent = [one for one in read_input(file, "s", WireSchemas()) if isinstance(one, Packet)]
    for want in (Projection(), Projection(history=False, stamps=False)):
        for one in (PacketBatch("unit", sent), AlertBatch("unit", "ztf", decode(sent, want=want).rows["ztf"])):
            assert BatchCoder().estimate_size(one) == pytest.approx(len(BatchCoder().encode(one)), rel=0.35)


def test_a_local_run_pickles_no_batch_only_to_see_how_large_it_is(night, tmp_path, monkeypatch):
    pickled = []
    for kind in (PacketBatch, AlertBatch):
        plain = kind.__reduce_ex__

        def reduce(self: Any, protocol: Any, plain: Any = plain) -> Any:
            pickled.append(type(self).__name__)
            return plain(self, protocol)

        monkeypatch.setattr(kind, "__reduce_ex__", reduce)
    pickle.dumps(batch())
    assert pickled == ["AlertBatch"], "this test would not notice"
    pickled.clear()
    assert run(tmp_path, night, flags=("--crossmatch", f"file:{night.parent / 'catalog.parquet'}")) == 0
    assert pickled == []
