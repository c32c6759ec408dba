"""Verdicts of many filters at once over rows, wherever these are from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.features.table import rows_of
from alerts.filters.judge import judge
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.steps import Steps
from alerts.filters.tree import Query
from alerts.surveys import Survey
from tests.alerts.filters.test_batches import GOOD
from warehouses.filter_rows import FilterRows
from warehouses.warehouse import Warehouse

ALL = (date(1, 1, 1), date(9999, 12, 31))
LSST = [
    "diaSource.psfFlux > 1000 AND diaSource.psfFlux / diaSource.psfFluxErr > 6",
    "ABS(features.glat_deg) > 10 OR features.r.mean_njy IS NULL",
    "(SELECT COUNT(*) FROM UNNEST(prvDiaSources) AS p WHERE p.psfFlux > 0 AND p.band = diaSource.band) >= 2",
    "(SELECT p.psfFlux FROM UNNEST(prvDiaForcedSources) AS p ORDER BY p.midpointMjdTai DESC LIMIT 1) > 100",
    "diaSource.isDipole IS NOT TRUE AND NOT COALESCE(diaSource.extendedness > 0.5, FALSE)",
    "ssSource.eclLambda > 0 OR diaObject.nDiaSources > 3",
]
CONDITIONS: Mapping[str, list[str]] = {"ztf": GOOD, "lsst": LSST}
Verdicts = dict[str, dict[int, Any]]
"""By filter and alert: TRUE with its columns, FALSE, None or what it failed by."""


def queries(survey: Survey) -> dict[str, Query]:
    """A filter of each condition, named by it."""
    row = row_of(survey)
    columns = "alert_id, object_id, night, ra_deg, features.n_bands AS n"
    return {text: parse(f"SELECT {columns} FROM alerts WHERE {text}", row) for text in CONDITIONS[survey.name]}


def verdicts(batches: Iterable[pa.RecordBatch], asked: Mapping[str, Query]) -> Verdicts:
    """What filters say of each alert, none of which may come twice."""
    found: Verdicts = {name: {} for name in asked}
    program = Steps(asked)
    for batch in batches:
        ids = batch.column("alert_id").to_pylist()
        for name, judged in judge(batch, program).items():
            passed = iter(zip(*(column.to_pylist() for column in judged.columns), strict=True))
            for row, alert_id in enumerate(ids):
                assert alert_id not in found[name]
                said = None if judged.by_null[row] else next(passed) if judged.passed[row] else False
                found[name][alert_id] = judged.failures.get(row, said)
    return found


def of_packets(files: Iterable[Path], survey: Survey) -> Verdicts:
    """Those of packets as they are decoded, of several of one id of the last one."""
    newest: dict[int, pa.RecordBatch] = {}
    for file in files:
        with file.open("rb") as opened:
            packets = [item for item in read_input(opened, str(file), WireSchemas()) if isinstance(item, Packet)]
        rows = decode(packets).rows.get(survey.name)
        if rows is not None:
            made = rows_of(rows, survey, "")
            assert made is not None
            whole = rows.append_column("features", made.rows.column("features"))
            newest |= {alert_id: whole.slice(row, 1) for row, alert_id in enumerate(rows.column("alert_id").to_pylist())}
    assert newest
    return verdicts([pa.concat_batches(list(newest.values()))], queries(survey))


def of_warehouse(opened: Warehouse, survey: Survey) -> Verdicts:
    """Those of all nights of a warehouse."""
    asked = queries(survey)
    rows = FilterRows(opened, survey, asked.values())
    nights = rows.nights(ALL)
    return verdicts((batch for night, number in nights.items() for batch in rows.of_night(night, number)), asked)
