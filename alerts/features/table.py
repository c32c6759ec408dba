"""Rows of ``{survey}_features``: the features of alerts, as tables have them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from alerts.features.definitions import POINTS, Definition, columns, of_alerts, of_bands
from alerts.light_curve import NoPhotometry, facts_of
from alerts.surveys import Survey
from schemas import Table
from schemas.tables import ENVELOPE, features_table

_VERSION_DIGITS = 12
_TAKEN_OVER = tuple(column.name for column in features_table("", ()).columns if column in ENVELOPE and column.name != "run_id")
"""Columns of the alerts' rows that rows of features have, too."""


@functools.cache
def features_table_of(survey: Survey) -> Table | None:
    """The table of a survey's features; None where nobody has told where its brightness is."""
    try:
        return features_table(survey.name, columns(survey))
    except NoPhotometry:
        return None


@functools.cache
def version(survey: Survey) -> str:
    """12 hexadecimal digits that stand for the definitions of a survey's features: others where a formula, unit or name is."""
    text = "\n".join([*facts_of(survey).band_names, *map(_told, of_bands(survey)), "", *map(_told, of_alerts(survey))])
    return hashlib.sha256(text.encode()).hexdigest()[:_VERSION_DIGITS]


def _told(definition: Definition) -> str:
    """A definition as far as values depend on it: not what is said of signs and sources."""
    asked = (definition.name, definition.type, definition.unit, definition.formula, definition.null, definition.least)
    return repr((*asked, POINTS[definition.points]))


@dataclass(frozen=True)
class Failure:
    """An alert whose features could not be computed."""

    alert_id: int
    problem: str
    """Class and text of the error."""


@dataclass(frozen=True)
class FeatureRows:
    """Rows of ``{survey}_features``, one for each of the alerts, in their order."""

    rows: pa.RecordBatch
    failures: tuple[Failure, ...]
    """Of alerts whose features are NULL."""


@functools.cache
def histories_of(survey: Survey) -> tuple[str, ...]:
    """The columns of ``{survey}_alerts`` with the history that features are made of. Raises ``NoPhotometry``."""
    found = (survey.by_field.get(series.name) for series in facts_of(survey).series)
    return tuple(dict.fromkeys(column.name for column in found if column is not None and column.mode == "REPEATED"))


@functools.cache
def made_of(survey: Survey) -> tuple[str, ...]:
    """The columns of ``{survey}_alerts`` that ``rows_of`` reads. Raises ``NoPhotometry``."""
    found = (survey.by_field.get(series.name) for series in facts_of(survey).series)
    return tuple(dict.fromkeys((*_TAKEN_OVER, "ra_deg", "dec_deg", *(column.name for column in found if column is not None))))


@functools.cache
def fields_of(survey: Survey, column: str) -> tuple[str, ...]:
    """Of a column with records the fields that features are made of; none of other columns. Raises ``NoPhotometry``."""
    facts = facts_of(survey)
    named = [series for series in facts.series if (told := survey.by_field.get(series.name)) and told.name == column]
    wanted = {facts.first_found, *(name for series in named for name in series.names)}
    return tuple(field.name for field in survey.alerts_table.by_name[column].fields if field.name in wanted)


def rows_of(alerts: pa.RecordBatch, survey: Survey, run_id: str) -> FeatureRows | None:
    """The features of rows of ``{survey}_alerts`` with all columns that these are made of; None where the survey has none.

    What makes one alert's features fail costs no other alert its own.
    """
    table = features_table_of(survey)
    if table is None:
        return None
    parts = [*_computed(alerts, survey)]
    features = pa.concat_arrays([part if isinstance(part, pa.Array) else _nothing(survey) for part in parts])
    count = alerts.num_rows
    told = {
        "features": features,
        "computed_at": pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC")), count),
        "version": pa.repeat(version(survey), count),
        "run_id": pa.repeat(run_id, count),
    }
    arrays = [told[name] if name in told else alerts.column(name) for name in table.arrow_schema.names]
    failures = tuple(part for part in parts if isinstance(part, Failure))
    return FeatureRows(pa.RecordBatch.from_arrays(arrays, schema=table.arrow_schema), failures)


def _computed(alerts: pa.RecordBatch, survey: Survey) -> Iterator[pa.Array | Failure]:
    """The features of all alerts in order, of some at once, and each that has none as what it fails by."""
    from alerts.features.compute import features_of  # noqa: PLC0415 - numpy and more, where a table's columns are asked for

    try:
        yield features_of(alerts, survey).to_struct_array()
    except Exception as error:  # whatever a packet can make of numbers, which must not take its row along
        if alerts.num_rows == 1:
            yield Failure(alerts.column("alert_id")[0].as_py(), f"{type(error).__name__}: {error}")
            return
        half = alerts.num_rows // 2
        yield from _computed(alerts.slice(0, half), survey)
        yield from _computed(alerts.slice(half), survey)


@functools.cache
def _nothing(survey: Survey) -> pa.Array:
    return pa.nulls(1, pa.struct([column.arrow for column in columns(survey)]))
