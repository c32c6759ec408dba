"""The features of one packet, as fastavro or a warehouse gives it: for a notebook or a picture. Batches are much faster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from alerts.features.compute import features_of
from alerts.light_curve import facts_of, pluck_first
from alerts.surveys import Survey


def features_of_packet(packet: Mapping[str, Any], survey: Survey) -> dict[str, Any]:
    """The struct ``features`` of a packet as a dict. Raises ``NoPhotometry``."""
    return dict(features_of(row_of_packet(packet, survey), survey).to_pylist()[0])


def row_of_packet(packet: Mapping[str, Any], survey: Survey) -> pa.RecordBatch:
    """What features are made of, as a batch of one row of ``{survey}_alerts``. Raises ``NoPhotometry``."""
    row: dict[str, Any] = {"ra_deg": pluck_first(packet, survey.ra_deg), "dec_deg": pluck_first(packet, survey.dec_deg)}
    fields = [pa.field("ra_deg", pa.float64()), pa.field("dec_deg", pa.float64())]
    for series in facts_of(survey).series:
        column = survey.by_field.get(series.name)
        if column is not None and packet.get(series.name) is not None:
            row[column.name] = packet[series.name]
            fields.append(column.arrow)
    return pa.RecordBatch.from_pylist([row], pa.schema(fields))
