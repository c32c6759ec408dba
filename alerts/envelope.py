"""The columns that the broker adds to a packet's own: who, when, where, and whence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from alerts.layout import Layout, Path, dotted
from alerts.packets import Packet
from alerts.positions import healpix29, on_the_sky
from alerts.times import night_of, to_utc

Values = Callable[[Path], list[Any]]
"""The values at a path, one per packet."""


@dataclass(frozen=True)
class RunStamp:
    """What all rows of a run have in common."""

    run_id: str
    ingested_at: datetime


@dataclass(frozen=True)
class Envelope:
    """The envelope's columns by name (``extra`` and ``null_arrays`` come from elsewhere) and what is wrong with a packet."""

    columns: dict[str, Any]
    faults: dict[int, str]
    """Packets that lack what every alert must have, by their number, and what it is."""
    off_the_sky: int
    """How many positions are NULL, NaN or out of range."""


def envelope(packets: Sequence[Packet], values: Values, layout: Layout, stamp: RunStamp) -> Envelope:
    """The envelope of packets whose fields ``values`` knows."""
    survey, count = layout.survey, len(packets)
    sent, times = values(layout.alert_id), values(layout.time)
    # An id in a float is rounded: no id at all.
    alert_ids = [alert_id if type(alert_id) is int else None for alert_id in sent]
    observed_at = to_utc(_floats(times), survey.time_format, survey.time_scale, survey.time_in_seconds_from)
    ra, dec = values(layout.ra_deg), values(layout.dec_deg)
    objects = _objects(values, layout, count)
    indices, outside = _healpix(_floats(ra), _floats(dec))
    columns = {
        "alert_id": alert_ids,
        "object_id": [name for name, _ in objects],
        "object_kind": [kind for _, kind in objects],
        "packet_digest": [xxhash.xxh3_128_digest(packet.datum) for packet in packets],
        "run_id": [stamp.run_id] * count,
        "survey": [survey.name] * count,
        "schema_version": _versions(values, layout, count),
        "observed_at": observed_at,
        "night": night_of(observed_at, survey.night_starts_utc_hours),
        "ra_deg": ra,
        "dec_deg": dec,
        "healpix29": indices,
        "source": [packet.source for packet in packets],
        "published_at": [packet.published_at for packet in packets],
        "ingested_at": [stamp.ingested_at] * count,
    }
    return Envelope(columns, _faults(sent, times, observed_at, layout), outside)


def _floats(values: list[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(values, np.float64)


def _faults(alert_ids: list[Any], times: list[Any], observed_at: Any, layout: Layout) -> dict[int, str]:
    faults = {}
    for number in np.flatnonzero(np.isnat(observed_at)).tolist():
        expected = f"{layout.survey.time_format.upper()} ({layout.survey.time_scale.upper()}) between 1960 and 2100"
        faults[number] = f"the observation time {dotted(layout.time)} is {times[number]!r}, not a {expected}"
    for number, alert_id in enumerate(alert_ids):
        if type(alert_id) is not int:
            shown = "null" if alert_id is None else f"{alert_id!r}, not an integer"
            faults[number] = f"the alert id {dotted(layout.alert_id)} is {shown}"
    return faults


def _objects(values: Values, layout: Layout, count: int) -> list[tuple[str | None, str | None]]:
    found: list[tuple[str | None, str | None]] = [(None, None)] * count
    for path, kind in reversed(layout.object_ids):
        named = ((value, kind) if value and isinstance(value, (int, str)) else None for value in values(path))
        found = [(str(one[0]), one[1]) if one else other for one, other in zip(named, found, strict=True)]
    return found


def _versions(values: Values, layout: Layout, count: int) -> list[str | None]:
    if layout.version is None:
        return [layout.schema_version] * count
    return [layout.schema_version if sent is None else str(sent) for sent in values(layout.version)]


def _healpix(ra_deg: Any, dec_deg: Any) -> tuple[pa.Array, int]:
    """The indices, NULL for positions that are not on the sky, and how many those are."""
    good = on_the_sky(ra_deg, dec_deg)
    indices = np.zeros(len(good), np.int64)
    indices[good] = healpix29(ra_deg[good], dec_deg[good])
    return pa.array(indices, mask=~good), int((~good).sum())
