"""Hits as messages: what their keys and headers say, and what they carry (``docs/streams_out.md``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alerts.json_text import to_json
from alerts.limits import MAX_COLUMNS_BYTES
from streams.messages import Message

HEALPIX9_SHIFT = 2 * (29 - 9)
"""Bits by which ``healpix29`` is shifted for the cell of order 9, some 7 arcmin wide."""
ID_BYTES = 16


def hit_id(survey: str, alert_id: int, name: str, version: str) -> str:
    """The id of a hit, 32 hexadecimal digits: the same whenever the same alert passes the same version of the filter."""
    text = "\n".join((survey, str(alert_id), name, version))
    return hashlib.sha256(text.encode()).hexdigest()[: 2 * ID_BYTES]


@dataclass(frozen=True, slots=True)
class PassedAlert:
    """An alert of which hits are told: what all of its messages have."""

    survey: str
    alert_id: int
    object_id: str | None
    object_kind: str | None
    healpix29: int | None
    observed_at: datetime | None
    published_at: datetime | None
    """When the survey published it."""

    @property
    def key(self) -> str:
        """By which one object's messages stay in order: its kind, where the survey has several, and id; else the alert's id."""
        return f"{self.object_kind or 'object'}:{self.object_id}" if self.object_id else f"alert:{self.alert_id}"


@dataclass(frozen=True, slots=True)
class Hit:
    """An alert that a filter passes."""

    alert: PassedAlert
    filter: str
    filter_version: str
    columns: str
    """The filter's columns, as the table ``verdicts`` has them: JSON."""
    passed_at: datetime
    replay: bool = False
    """Whether it is asked about again: ``broker refilter``."""

    @property
    def id(self) -> str:
        """See ``hit_id``."""
        return hit_id(self.alert.survey, self.alert.alert_id, self.filter, self.filter_version)

    @property
    def headers(self) -> dict[str, str]:
        """What stands beside the message; what is not known is left out."""
        alert = self.alert
        fits = len(self.columns.encode()) <= MAX_COLUMNS_BYTES
        told: dict[str, str | None] = {
            "id": self.id,
            "survey": alert.survey,
            "alert_id": str(alert.alert_id),
            "object_id": alert.object_id,
            "object_kind": alert.object_kind,
            "filter": self.filter,
            "filter_version": self.filter_version,
            "columns": self.columns if fits else None,
            "columns_truncated": None if fits else "true",
            "healpix9": None if alert.healpix29 is None else str(alert.healpix29 >> HEALPIX9_SHIFT),
            "observed_at": _time(alert.observed_at),
            "published_at": _time(alert.published_at),
            "passed_at": _time(self.passed_at),
            "replay": "true" if self.replay else None,
        }
        return {name: value for name, value in told.items() if value}

    def message(self, payload: bytes) -> Message:
        """The hit with what it carries."""
        return as_message(self.alert.key, self.headers, payload)

    def as_json(self, matches: Sequence[Mapping[str, Any]] | None, scores: Mapping[str, Any] | None = None) -> bytes:
        """What the format ``json`` carries: envelope, the filter's columns, matches, scores; ids are texts."""
        told: dict[str, Any] = {
            name: value for name, value in self.headers.items() if name not in ("columns", "columns_truncated")
        }
        told["replay"] = self.replay
        text = to_json({**told, "matches": matches, "scores": scores})
        # The columns are JSON already, in which 64-bit ids are texts.
        return f'{text[:-1]},"columns":{self.columns}}}'.encode()


def as_message(key: str, headers: Mapping[str, str], payload: bytes) -> Message:
    """A message of a key, headers and what it carries; by name, as attributes of Pub/Sub need nothing beside them to say."""
    return Message(payload, key.encode(), tuple([(name, value.encode()) for name, value in sorted(headers.items())]))


def _time(moment: datetime | None) -> str | None:
    """A time as ISO 8601 in UTC, to the microsecond."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
