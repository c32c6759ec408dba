"""What the broker has to know of a survey: where its packets keep the facts that every survey has."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from alerts.surveys.photometry import Photometry
from alerts.surveys.public import Public
from alerts.surveys.row_facts import RowFacts
from schemas import Column, Table, known_schemas
from schemas.avro_files import AvroSchema, named_types, resolve, without_null
from schemas.tables import ENVELOPE, alerts_table, cutouts_table

ObjectKind = Literal["dia", "solar_system"]


@dataclass(frozen=True, eq=False)
class Survey:
    """Facts of one survey. Paths are dotted names of packet fields; of several, the first that a packet's schema has."""

    name: str
    schema_name: str
    """Regular expression for the full name of the packets' Avro record."""
    fingerprint: frozenset[str]
    """Paths that only this survey's packets have together: tells the survey of rewritten packets, whose name is lost."""
    alert_id: tuple[str, ...]
    object_ids: tuple[tuple[str, ObjectKind | None], ...]
    """Paths of the object's id and the kind of object it names; the first that is neither null nor 0 counts."""
    ra_deg: tuple[str, ...]
    dec_deg: tuple[str, ...]
    time: tuple[str, ...]
    time_format: Literal["jd", "mjd"]
    time_scale: Literal["utc", "tai"]
    time_note: str
    """Which moment of the exposure the time is, for the column's description."""
    night_starts_utc_hours: int
    """Hours of UTC at which a new night begins: a night is the date of ``observed_at`` minus this."""
    stamps: Mapping[str, tuple[str, ...]]
    """Role of a cutout (science, template, difference) to the path of its bytes."""
    time_in_seconds_from: float = math.inf
    """Times of this value and more are not dates but seconds since 1970-01-01."""
    time_reference: Literal["start", "midpoint"] | None = None
    """Which moment of the exposure the time is; None where the survey does not say."""
    stamp_side: int | None = None
    """Pixels along the side of a whole stamp, where its header does not say where the source is."""
    sky_of_pixels_arcsec: tuple[tuple[float, float], tuple[float, float]] | None = None
    """How a stamp without coordinates of its own lies on the sky: ``((east of x, east of y), (north of x, north of y))``, arcsec
    per pixel, y from row 0 to row 1. None where nobody knows."""
    photometry: Photometry | None = None
    """Where the brightness is and what it is; without it there are tables and stamps, but no light curves."""
    row_facts: RowFacts = field(default_factory=RowFacts)
    """What numbers and texts of a row stand for."""
    public: Public | None = None
    """Which alerts are for everybody (``alerts.surveys.public``). None: the survey does not say, and none is known to be."""
    former_fields: frozenset[str] = frozenset()
    """Fields that only versions before the built-in ones had, in the records that ``fingerprint`` names."""
    version: tuple[str, ...] = ()
    """Path of the schema version in the packet; without one the schema's own version counts."""
    wire_schemas: Mapping[int, str] = field(default_factory=dict)
    """Schema id of wire messages to the version it stands for, where the survey's ids are fixed."""

    @functools.cached_property
    def alerts_table(self) -> Table:
        """``{survey}_alerts`` over all built-in schema versions."""
        stamps = {path for paths in self.stamps.values() for path in paths}
        night = f"UTC date of observed_at minus {self.night_starts_utc_hours} h."
        return alerts_table(self.name, known_schemas(self.name).values(), stamps, self.time_note, night)

    @functools.cached_property
    def packet_columns(self) -> tuple[Column, ...]:
        """The columns of ``{survey}_alerts`` that are the packet's own."""
        return self.alerts_table.columns[len(ENVELOPE) :]

    @functools.cached_property
    def by_field(self) -> dict[str, Column]:
        """The packet's columns by what the packet calls them."""
        return {column.field_name: column for column in self.packet_columns}

    @functools.cached_property
    def histories(self) -> tuple[Column, ...]:
        """The packet's columns that are arrays of records."""
        return tuple(filter(is_history, self.packet_columns))

    @functools.cached_property
    def cutouts_table(self) -> Table:
        """``{survey}_cutouts``."""
        return cutouts_table(self.name)

    def is_named(self, schema: AvroSchema) -> bool:
        """Whether the schema bears this survey's name."""
        return re.fullmatch(self.schema_name, record_name(schema)) is not None

    def fits(self, schema: AvroSchema) -> bool:
        """Whether the schema has the fields by which this survey's packets are known."""
        return self.fingerprint <= fields_of(schema)

    @functools.cached_property
    def known_fields(self) -> frozenset[str]:
        """``fields_of`` all its versions together."""
        return self.former_fields.union(*map(fields_of, known_schemas(self.name).values()))

    def foreign(self, fields: Collection[str]) -> list[str]:
        """Those of ``fields`` that no version of this survey has, in the records that tell its packets.

        Whoever rewrites packets adds fields of his own beside these records; in them stands what the survey has measured.
        """
        records = {path.partition(".")[0] for path in self.fingerprint if "." in path}
        return sorted(path for path in fields if path.partition(".")[0] in records and path not in self.known_fields)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        # Workers know the surveys by name; their tables are not worth sending.
        from alerts.surveys import survey  # noqa: PLC0415, PLW0406 - the package is made of these modules

        return survey, (self.name,)


def is_history(column: Column) -> bool:
    """Whether a column of a packet is an array of records: earlier detections, forced photometry, limits."""
    return column.mode == "REPEATED" and column.type == "RECORD"


def record_name(schema: AvroSchema) -> str:
    """Full name of an Avro record: ``lsst.v10_0.alert``."""
    name = str(schema.get("name", ""))
    namespace = schema.get("namespace")
    return f"{namespace}.{name}" if namespace and "." not in name else name


def fields_of(schema: AvroSchema) -> frozenset[str]:
    """Dotted paths of a record's fields and of the fields of the records among them."""
    names = named_types(schema)
    found = set()
    for member in resolve(schema, names)["fields"]:
        found.add(member["name"])
        kind, _ = without_null(member["type"], names)
        if isinstance(kind, dict) and kind["type"] == "record":
            found |= {f"{member['name']}.{inner['name']}" for inner in kind["fields"]}
    return frozenset(found)


def has_path(schema: AvroSchema, path: str) -> bool:
    """Whether an Avro record has the field at the dotted ``path``; arrays and maps are not entered."""
    return type_at(schema, path) is not None


def type_at(schema: AvroSchema, path: str) -> AvroSchema | None:
    """The type of the field at the dotted ``path`` of an Avro record, without its null; None where there is no such field."""
    names = named_types(schema)
    node = resolve(schema, names)
    for part in path.split("."):
        if not (isinstance(node, dict) and node["type"] == "record"):
            return None
        found = None
        for member in node["fields"]:
            kind, _ = without_null(member["type"], names)
            if member["name"] == part:
                found = kind
        if found is None:
            return None
        node = found
    return node
