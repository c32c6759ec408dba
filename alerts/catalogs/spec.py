"""Catalogs as a person names them: ``vizier:II/246/out``, ``simbad?radius_arcsec=2``, ``file:stars.parquet?id=name``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from alerts.catalogs.catalog import MAX_FILE_RADIUS_ARCSEC, MAX_RADIUS_ARCSEC, BadCatalog

VIZIER, SIMBAD, FILE, WATCHLIST = "vizier", "simbad", "file", "watchlist"
"""Kinds of catalogs. A watchlist is a file that is named by itself, and is no catalog that a person names as one."""
PROPER_MOTION_REACH_ARCSEC = 5.0
"""By how much a search at a service widens for sources that move: 187 mas/yr from 2000 to late 2026."""

_EPOCHS_JYEAR = (1800.0, 2200.0)
_COLUMNS = ("ra", "dec", "id", "pmra", "pmdec", "epoch")
PARAMETERS = {
    VIZIER: ("radius_arcsec", *_COLUMNS, "match_epoch", "canary"),
    SIMBAD: ("radius_arcsec",),
    FILE: ("radius_arcsec", "radius", *_COLUMNS),
    WATCHLIST: ("radius_arcsec", "radius", *_COLUMNS),
}
"""What may be said of a catalog of each kind."""


@dataclass(frozen=True)
class CatalogSpec:
    """One catalog to ask, and how."""

    name: str
    """Without its parameters: what ``crossmatches.catalog`` says."""
    kind: str
    target: str
    """The VizieR table, or the file's path; empty for SIMBAD."""
    radius_arcsec: float
    columns: Mapping[str, str] = field(default_factory=dict)
    """What the person said of its columns: ra, dec, id, radius, pmra, pmdec (names), epoch, match_epoch, canary (numbers)."""

    @property
    def remote(self) -> bool:
        """Whether asking it means calling a service."""
        return self.kind in (VIZIER, SIMBAD)

    @property
    def is_list(self) -> bool:
        """Whether it is a watchlist: asked where stars are when an alert is observed, whatever other catalogs are asked."""
        return self.kind == WATCHLIST


def watchlist_name(catalog: str) -> str | None:
    """The name of the list that rows of this catalog are of; None where it is none."""
    kind, _, name = catalog.partition(":")
    return name if kind == WATCHLIST and name else None


def parse_spec(text: str, radius_arcsec: float) -> CatalogSpec:
    """A catalog from its name and parameters, ``radius_arcsec`` where it names none. Raises ``BadCatalog``."""
    name, _, query = text.partition("?")
    kind, _, target = name.partition(":")
    if kind not in (VIZIER, SIMBAD, FILE) or bool(target) != (kind != SIMBAD):
        raise BadCatalog(f"{text!r} names no catalog; write vizier:TABLE (vizier:II/246/out), simbad, or file:PATH")
    if kind == VIZIER and not re.fullmatch(r"[A-Za-z0-9+._-]+(/[A-Za-z0-9+._-]+)+", target):
        raise BadCatalog(f"{name!r} is no VizieR table; they look like vizier:II/246/out")
    parameters = _parameters(text, kind, query)
    radius = finite(text, "radius_arcsec", parameters.pop("radius_arcsec", str(radius_arcsec)))
    check_radius(name, kind, radius)
    return CatalogSpec(name, kind, target, radius, parameters)


def check_radius(name: str, kind: str, radius_arcsec: float) -> None:
    """Refuse what is no radius for a catalog of this kind. Raises ``BadCatalog``."""
    most = MAX_RADIUS_ARCSEC if kind in (VIZIER, SIMBAD) else MAX_FILE_RADIUS_ARCSEC
    if not 0 < radius_arcsec <= most:
        raise BadCatalog(f"{name} has a radius of {radius_arcsec:g} arcsec; it must be above 0 and at most {most:g}")


def _parameters(text: str, kind: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise BadCatalog(f"the parameters of {text!r} are not of the form name=value&name=value") from error
    known = PARAMETERS[kind]
    for key, _ in pairs:
        if key not in known:
            raise BadCatalog(f"{text!r} has the parameter {key!r}; {kind} takes {', '.join(known)}")
    if len(dict(pairs)) != len(pairs):
        raise BadCatalog(f"{text!r} gives a parameter twice")
    return dict(pairs)


def finite(text: str, name: str, value: str) -> float:
    """The value of a parameter of ``text`` that is a finite number. Raises ``BadCatalog``."""
    try:
        number = float(value)
    except ValueError as error:
        raise BadCatalog(f"{name} of {text!r} is {value!r}; give a number") from error
    if not math.isfinite(number):
        raise BadCatalog(f"{name} of {text!r} is {value!r}; give a number")
    return number


def epochs(spec: CatalogSpec) -> tuple[float | None, float | None]:
    """``epoch`` and ``match_epoch``, where they were given, and that columns come in pairs. Raises ``BadCatalog``."""
    check_pairs(spec.name, spec.columns)
    return jyear(spec.name, spec.columns, "epoch"), jyear(spec.name, spec.columns, "match_epoch")


def check_pairs(name: str, columns: Mapping[str, str]) -> None:
    """Refuse one of two columns that only mean something together. Raises ``BadCatalog``."""
    for first, other in (("ra", "dec"), ("pmra", "pmdec")):
        if (first in columns) != (other in columns):
            raise BadCatalog(f"{name} has only one of the parameters {first} and {other}; give both")


def jyear(name: str, columns: Mapping[str, str], key: str) -> float | None:
    """A parameter that is an epoch; None where it was not given. Raises ``BadCatalog``."""
    if key not in columns:
        return None
    try:
        epoch = float(columns[key])
    except ValueError:
        epoch = math.nan
    low, high = _EPOCHS_JYEAR
    if not low <= epoch <= high:
        raise BadCatalog(f"{key} of {name} is {columns[key]!r}; give a Julian year from {low:g} to {high:g}, such as 2016.0")
    return epoch


def canary_position(spec: CatalogSpec) -> tuple[float, float] | None:
    """``canary=RA,DEC``: a source that the catalog has, ICRS degrees, as the service matches it. Raises ``BadCatalog``."""
    value = spec.columns.get("canary")
    if value is None:
        return None
    parts = value.split(",")
    if len(parts) == 2:
        ra, dec = (finite(spec.name, "canary", part) for part in parts)
        if 0 <= ra <= 360 and -90 <= dec <= 90:
            return ra % 360, dec
    raise BadCatalog(f"canary of {spec.name} is {value!r}; give RA,DEC of a source that it has, in degrees")
