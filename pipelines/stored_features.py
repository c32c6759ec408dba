"""Features of alerts that are in the warehouse: of nights from before there were any, or before a definition changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pyarrow as pa

from alerts.features.table import features_table_of
from alerts.surveys import Survey
from pipelines import runs_table
from pipelines.summary import Summary
from schemas import Table
from schemas.run_ids import new_run_id
from warehouses.computed import Computed
from warehouses.warehouse import Warehouse


def compute_stored(
    warehouse: Warehouse,
    survey: Survey | None,
    nights: tuple[date, date],
    options: dict[str, object],
    *,
    again: bool = False,
    said: Callable[[Computed], None] = lambda counts: None,
) -> tuple[str, Computed]:
    """Compute the features of alerts that have none of the present version, or, ``again``, of all; gives the run's id and counts.

    Of one survey, or of all that there are. ``said`` hears of the counts so far. ``options`` are those that the ``runs`` table
    has of the run, which has a row there where it has written any. Raises what ``Warehouse.add_features`` does.
    """
    began = datetime.now(UTC)
    run_id = new_run_id(began)
    surveys = [facts for facts in warehouse.surveys if survey in (None, facts) and features_table_of(facts)]
    # What was made by an earlier version has no table of features.
    warehouse.prepare([facts.name for facts in surveys])
    counts, failed = Computed(), {}
    for facts in surveys:
        of_survey = Computed()
        for some in warehouse.add_features(facts, nights, run_id, _as_avro, again=again):
            counts, of_survey = counts + some, of_survey + some
            said(counts)
        if of_survey.failed:
            failed[facts.name] = of_survey.failed
    if counts.computed:
        summary = Summary(run_id, began, datetime.now(UTC), 0, 0, {}, {}, features_failed=failed)
        runs_table.write(warehouse, summary, options, failed=False)
    return run_id, counts


def _as_avro(table: Table, rows: pa.RecordBatch) -> bytes:
    from transforms.load_files import avro_file  # noqa: PLC0415 - Beam, which takes two seconds to load

    return avro_file(table, rows)
