"""Rows of ``crossmatches``: one per alert and catalog asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.catalogs.catalog import Floats
from alerts.catalogs.matching import Matches
from alerts.errors import shortened
from alerts.json_text import to_json
from alerts.secrets import redact
from schemas.tables import CROSSMATCHES, FAILED, MATCHED, NO_MATCH

POSITION_COLUMNS = ("survey", "alert_id", "object_id", "night", "ra_deg", "dec_deg")
"""What a row of ``crossmatches`` takes over from the alert."""
_J2000 = np.datetime64("2000-01-01T12:00:00", "us")
_JYEAR_US = 365.25 * 86400e6


def positions_of(alerts: pa.RecordBatch) -> pa.RecordBatch:
    """Who and where, of those alerts (rows of ``{survey}_alerts``) whose position is a place on the sky."""
    chosen = alerts.select([*POSITION_COLUMNS, "observed_at", "healpix29"])
    return chosen.filter(pc.is_valid(chosen.column("healpix29")))


def epochs_jyear(positions: pa.RecordBatch) -> Floats:
    """When alerts were observed, as Julian years (the minute between UTC and TDB moves no star)."""
    times = positions.column("observed_at").to_numpy(zero_copy_only=False).astype("datetime64[us]")
    return np.asarray(2000.0 + (times - _J2000).astype(np.int64) / _JYEAR_US, dtype=np.float64)


@dataclass(frozen=True)
class CatalogQuery:
    """What was asked of a catalog, and when (UTC)."""

    catalog: str
    radius_arcsec: float
    asked_at: datetime


def answered(positions: pa.RecordBatch, question: CatalogQuery, answer: Matches) -> pa.RecordBatch:
    """The rows for an answer whose ``position`` counts the alerts of ``positions``."""
    counts = np.bincount(answer.position, minlength=positions.num_rows)
    status = pa.array(np.where(counts > 0, MATCHED, NO_MATCH).tolist(), pa.string())
    kind = CROSSMATCHES.arrow_schema.field("matches").type
    matches = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32()), _matches(answer, kind.value_type), type=kind
    )
    return _rows(positions, question, status, pa.nulls(positions.num_rows, pa.string()), matches)


def failed(positions: pa.RecordBatch, question: CatalogQuery, error: str) -> pa.RecordBatch:
    """The rows of alerts of which the catalog has told nothing; ``error`` says why, without credentials."""
    count = positions.num_rows
    matches = pa.array([[]] * count, CROSSMATCHES.arrow_schema.field("matches").type)
    status, why = (pa.array([text] * count, pa.string()) for text in (FAILED, shortened(redact(error))))
    return _rows(positions, question, status, why, matches)


def _matches(answer: Matches, kind: pa.StructType) -> pa.StructArray:
    columns = pa.array([to_json(source) for source in answer.sources.to_pylist()], pa.string())
    values = {
        "source_id": answer.source_id,
        "ra_deg": _nullable(answer.ra_deg),
        "dec_deg": _nullable(answer.dec_deg),
        "separation_arcsec": pa.array(answer.separation_arcsec, pa.float64()),
        "position_epoch_jyear": _nullable(answer.epoch_jyear),
        "columns": columns,
    }
    fields = [kind.field(number) for number in range(kind.num_fields)]
    return pa.StructArray.from_arrays([values[field.name] for field in fields], fields=fields)


def _nullable(values: Floats) -> pa.Array:
    """NaN as NULL: here it stands for what the catalog does not say."""
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def _rows(
    positions: pa.RecordBatch, question: CatalogQuery, status: pa.Array, error: pa.Array, matches: pa.Array
) -> pa.RecordBatch:
    count = positions.num_rows
    values = {
        **{name: positions.column(name) for name in POSITION_COLUMNS},
        "catalog": pa.array([question.catalog] * count, pa.string()),
        "radius_arcsec": pa.array(np.full(count, question.radius_arcsec)),
        "status": status,
        "error": error,
        "asked_at": pa.array([question.asked_at] * count, pa.timestamp("us", tz="UTC")),
        "matches": matches,
    }
    schema = CROSSMATCHES.arrow_schema
    return pa.RecordBatch.from_arrays([values[name] for name in schema.names], schema=schema)
