"""The columns that the broker adds to a packet's own: who, when, where, and whence."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from xxhash import xxh3_128_digest

from alerts.avro.layout import PacketLayout
from alerts.avro.packets import Packet
from alerts.avro.record_paths import Path, dotted
from alerts.positions import healpix29, on_the_sky, wrapped
from alerts.surveys import Survey
from alerts.times import night_of, to_utc

_KNOWN_TIMES = 100_000
Values = Callable[[Path], Any]
"""The values at a path, one per packet: an Arrow array, or a list where they may be of any kind."""


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


def envelope(packets: Sequence[Packet], values: Values, layout: PacketLayout, stamp: RunStamp) -> Envelope:
    """The envelope of packets whose fields ``values`` knows."""
    survey, count = layout.survey, len(packets)
    data, starts, stops, _, sources, _, published_at, _ = zip(*packets, strict=True) if packets else [()] * len(Packet._fields)
    sent, times = values(layout.alert_id), values(layout.time)
    observed_at = _to_utc(_floats(times), survey)
    ra, dec = _ra_deg(values(layout.ra_deg)), values(layout.dec_deg)
    object_id, object_kind = _objects(values, layout, count)
    indices, outside = _healpix(_floats(ra), _floats(dec))
    columns = {
        "alert_id": _integers(sent),
        "object_id": object_id,
        "object_kind": object_kind,
        "packet_digest": pa.array(map(_digest, data, starts, stops), pa.binary()),
        "run_id": pa.repeat(stamp.run_id, count),
        "survey": pa.repeat(survey.name, count),
        "schema_version": _versions(values, layout, count),
        "observed_at": observed_at,
        "night": night_of(observed_at, survey.night_starts_utc_hours),
        "ra_deg": ra,
        "dec_deg": dec,
        "healpix29": indices,
        "source": sources,
        "published_at": published_at,
        "ingested_at": pa.repeat(pa.scalar(stamp.ingested_at, pa.timestamp("us", tz="UTC")), count),
    }
    return Envelope(columns, _faults(sent, times, observed_at, layout), outside)


@functools.cache
def _known_times(survey: Survey) -> dict[float, int]:
    """Times met lately, as us from 1970: all alerts of an exposure have the same."""
    return {}


def _to_utc(values: np.ndarray[Any, Any], survey: Survey) -> Any:
    """UTC (``datetime64[us]``) of a survey's times; NaT where there is none. Astropy is asked for each time once."""
    known = _known_times(survey)
    different, places = np.unique(values, return_inverse=True)
    times = {value: known.get(value) for value in different.tolist()}
    new = [value for value, micros in times.items() if micros is None]
    if new:
        utc = to_utc(np.array(new), survey.time_format, survey.time_scale, survey.time_in_seconds_from)
        found = dict(zip(new, utc.astype(np.int64).tolist(), strict=True))
        times.update(found)
        if len(known) > _KNOWN_TIMES:
            known.clear()
        known.update(found)
    return np.array(list(times.values()), np.int64).view("datetime64[us]")[places]


def digest_of(packet: Packet) -> bytes:
    """The packet's ``packet_digest``."""
    return _digest(packet.data, packet.start, packet.stop)


def _digest(data: bytes, start: int, stop: int) -> bytes:
    return xxh3_128_digest(memoryview(data)[start:stop])


def _floats(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Numbers, NULL as NaN."""
    if isinstance(values, pa.Array):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    return np.array(values, np.float64)


def _integers(values: Any) -> Any:
    """Integers, and None for what is none: an id in a float is rounded, no id at all."""
    return values if isinstance(values, pa.Array) else [value if type(value) is int else None for value in values]


def _faults(alert_ids: Any, times: Any, observed_at: Any, layout: PacketLayout) -> dict[int, str]:
    faults = {}
    for number in np.flatnonzero(np.isnat(observed_at)).tolist():
        expected = f"{layout.survey.time_format.upper()} ({layout.survey.time_scale.upper()}) between 1960 and 2100"
        faults[number] = f"the observation time {dotted(layout.time)} is {_plain(times[number])!r}, not a {expected}"
    if isinstance(alert_ids, pa.Array) and not alert_ids.null_count:
        return faults
    for number, alert_id in enumerate(map(_plain, alert_ids)):
        if type(alert_id) is not int:
            shown = "null" if alert_id is None else f"{alert_id!r}, not an integer"
            faults[number] = f"the alert id {dotted(layout.alert_id)} is {shown}"
    return faults


def _plain(value: Any) -> Any:
    return value.as_py() if isinstance(value, pa.Scalar) else value


def _listed(values: Any) -> list[Any]:
    return list(values.to_pylist() if isinstance(values, pa.Array) else values)


def _objects(values: Values, layout: PacketLayout, count: int) -> tuple[list[str | None], list[str | None]]:
    """Id and kind of the object: the first that is neither null, nor 0, nor empty."""
    names: list[str | None] = [None] * count
    kinds: list[str | None] = [None] * count
    for path, kind in reversed(layout.object_ids):
        for number, value in enumerate(_listed(values(path))):
            if value and isinstance(value, (int, str)):
                names[number], kinds[number] = str(value), kind
    return names, kinds


def _versions(values: Values, layout: PacketLayout, count: int) -> list[str | None]:
    if layout.version is None:
        return [layout.schema_version] * count
    return [layout.schema_version if sent is None else str(sent) for sent in _listed(values(layout.version))]


def _ra_deg(sent: Any) -> Any:
    """Right ascensions as they came, but for 360, which is 0. What stands for NULL and NaN stays what it is."""
    floats = _floats(sent)
    if not (floats == 360).any():
        return sent
    return pa.array(wrapped(floats), pa.float64(), mask=np.array([value is None for value in _listed(sent)]))


def _healpix(ra_deg: Any, dec_deg: Any) -> tuple[pa.Array, int]:
    """The indices, NULL for positions that are not on the sky, and how many those are."""
    good = on_the_sky(ra_deg, dec_deg)
    indices = np.zeros(len(good), np.int64)
    indices[good] = healpix29(ra_deg[good], dec_deg[good])
    return pa.array(indices, mask=~good), int((~good).sum())
