"""What all pictures want to know of a packet: its survey, its object, its time; and packets out of a warehouse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alerts.avro.record_paths import pluck
from alerts.errors import UnknownSurvey
from alerts.surveys import SURVEYS, Survey, by_fields, survey
from alerts.times import to_utc
from broker import warehouse as warehouses
from warehouses.alert_key import alert_key, is_stored
from warehouses.warehouse import Warehouse

Packet = Mapping[str, Any]


class NoPicture(ValueError):
    """There is nothing to draw; the message says why in one sentence."""


def survey_of(packet: Packet, named: str | None = None) -> Survey:
    """The survey of a decoded packet: the one named, else by its fields. Raises ``NoPicture`` when they do not tell.

    Only the packet's schema tells for sure (``alerts.surveys.identify``); a plain dict no longer has it.
    """
    if named is not None:
        try:
            return survey(named)
        except UnknownSurvey as error:
            raise NoPicture(str(error)) from None
    fields = set(packet)
    for name, value in packet.items():
        if isinstance(value, Mapping):
            fields |= {f"{name}.{inner}" for inner in value}
    try:
        return by_fields(fields, "the packet")
    except UnknownSurvey as error:
        # Versions of old, before the names that a survey is known by.
        others = {path for survey in SURVEYS.values() for path in survey.known_fields if "." not in path}
        facts = [survey for survey in SURVEYS.values() if not survey.fingerprint <= fields and _has_facts(packet, survey)]
        found = [fact for fact in facts if not fields & (others - fact.known_fields)]
        if len(found) == 1:
            return found[0]
        raise NoPicture(str(error)) from None


def _has_facts(packet: Packet, survey: Survey) -> bool:
    """Whether a packet has its id, place and time where the survey's have them."""
    return all(
        any(has(packet, path) for path in paths) for paths in (survey.alert_id, survey.ra_deg, survey.dec_deg, survey.time)
    )


def has(packet: Packet, path: str) -> bool:
    """Whether a packet has the field at a dotted path, null or not."""
    *above, name = path.split(".")
    record = pluck(packet, tuple(above))
    return isinstance(record, Mapping) and name in record


def first(packet: Packet, paths: tuple[str, ...]) -> Any:
    """The value at the first of the dotted paths that the packet has; None where it has none of them."""
    return next((pluck(packet, tuple(path.split("."))) for path in paths if has(packet, path)), None)


def object_name(packet: Packet, survey: Survey) -> str:
    """The id of the packet's object, with a word where it is of the solar system."""
    for path, kind in survey.object_ids:
        value = first(packet, (path,))
        if value:
            return f"{value} (solar system)" if kind == "solar_system" else str(value)
    return "no object id"


def observed_at(packet: Packet, survey: Survey) -> str:
    """The observation's time, UTC, to the second."""
    time = first(packet, survey.time)
    if time is None:
        return "time unknown"
    [utc] = to_utc(np.array([time]), survey.time_format, survey.time_scale, survey.time_in_seconds_from)
    return "time unknown" if np.isnat(utc) else f"{str(utc)[:19].replace('T', ' ')} UTC"


def packet_of(
    what: Any, warehouse: Warehouse | str | None = None, survey: str | None = None, stamps: bool = True
) -> tuple[Packet, str | None]:
    """The packet that is meant, and the name of its survey where that is told.

    A packet is itself. An alert of a warehouse (its id, a row, an object of the ORM) is read there: from ``warehouse``, else
    from where the object of the ORM is from, else from ./warehouse. Raises ``QueryError`` when there is no such alert, or it
    is of several surveys.
    """
    if not is_stored(what):
        return what, survey
    key = alert_key(what)
    if isinstance(warehouse, Warehouse):
        return warehouse.packet(what, survey, stamps=stamps)
    with warehouses.open(warehouse or key.warehouse or "./warehouse") as opened:
        return opened.packet(what, survey, stamps=stamps)
