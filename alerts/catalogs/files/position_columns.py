"""Which columns of a user's table hold its positions (ICRS): by UCD, by the usual names, or as the user says.

What a file tells decides before what a name suggests; where two pairs may be meant, the user is asked. Columns of other
systems (B1950, galactic, ecliptic) are refused by name: read as ICRS they would be up to the whole sky away.
UCDs: IVOA "UCD1+ controlled vocabulary" 1.5, and the older UCD1 of CDS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import astropy.units as u

from alerts.catalogs.catalog import BadCatalog

_MANY_COLUMNS = 60
_DEC = ("dec", "de", "decl", "declination")
_PAIRS: dict[str, tuple[str, ...]] = {
    "ra": _DEC,
    "rightascension": _DEC,
    "radeg": ("decdeg", "dedeg", "declinationdeg"),
    "rad": ("decd", "ded"),
    "raj2000": ("dej2000", "decj2000", "declinationj2000"),
    "ra2000": ("de2000", "dec2000"),
    "raicrs": ("deicrs", "decicrs"),
    "rarad": ("derad", "decrad"),
    "raradians": ("decradians",),
    "ramean": ("decmean", "demean"),
    "meanra": ("meandec", "meande"),
    "rahms": ("decdms", "dechms", "dedms"),
    "alphaj2000": ("deltaj2000",),
    "targetra": ("targetdec",),
}
"""Names without case, prefix and punctuation."""
_IN_RADIANS = {("rarad", "decrad"), ("raradians", "decradians")}
"""By their names, where the file tells no unit. Hipparcos-2's RArad, DErad are degrees."""
_OTHERS = (
    (
        "B1950 (FK4)",
        "fk4",
        r".*?(?:ra|r\.a\.|de|dec|decl|declination|ascension|alpha|delta)[^a-z0-9]*b?[^a-z0-9]*(?:19[05]0|18[57][05])(?:\.0)?[^a-z0-9]*",
    ),
    ("galactic", "galactic", r"_?(?:glon|glat|gal_?lon|gal_?lat|galactic_?(?:lon|lat)(?:gitude|itude)?|gal_?[lb]|[lb]_?ii|l|b)"),
    ("ecliptic", "barycentrictrueecliptic", r"_?(?:elon|elat|ecl_?lon|ecl_?lat|ecliptic_?(?:lon|lat)(?:gitude|itude)?)"),
)
_OTHER_UCDS = {"pos.galactic": "galactic", "pos_gal": "galactic", "pos.ecliptic": "ecliptic", "pos_ec_": "ecliptic"}
_FRAMES = {"fk4": "B1950 (FK4)", "b1950": "B1950 (FK4)", "gal": "galactic", "ecl": "ecliptic"}
_OTHER_EQUINOX = r"fk5\b.*\b[jb]?(?!2000)[0-9]{4}\b"
_UNITS = {
    **dict.fromkeys(("deg", "degs", "degree", "degrees", "decimal degrees", "°", "d:m:s", "dms", "dd:mm:ss"), u.deg),
    **dict.fromkeys(("rad", "rads", "radian", "radians"), u.rad),
    **dict.fromkeys(("h", "hr", "hour", "hours", "hourangle", "h:m:s", "hms", "hh:mm:ss"), u.hourangle),
}


@dataclass(frozen=True)
class ColumnFacts:
    """What a table says of one of its columns; empty where it says nothing."""

    name: str
    unit: str = ""
    ucd: str = ""
    frame: str = ""
    """The coordinate system that the file declares for it, as it spells it, and its equinox: ``eq_FK4 B1950``."""


@dataclass(frozen=True)
class PositionColumns:
    """The columns of right ascension and declination, and their units; None where nothing tells them."""

    ra: str
    dec: str
    ra_unit: u.UnitBase | None = None
    dec_unit: u.UnitBase | None = None


def find_positions(
    what: str, fields: Sequence[ColumnFacts], ra: str | None = None, dec: str | None = None, *, say: str = "ra=..&dec=.."
) -> PositionColumns:
    """The columns that hold the positions of a table called ``what``; those named ``ra`` and ``dec`` where they are given.

    ``say``: how the user names columns. Raises ``BadCatalog`` where there are none, or several, or they are not ICRS.
    """
    named = {field.name: field for field in fields}
    if (ra is None) != (dec is None):
        raise BadCatalog(f"only one of the columns ra and dec of {what} is named; give both")
    if ra is None or dec is None:
        ra, dec = _found(what, fields, say)
    for name in (ra, dec):
        if name not in named:
            raise BadCatalog(f"{what} has no column {name!r}; it has {listed(named)}")
        if other := _other_system(named[name]):
            raise BadCatalog(f"column {name!r} of {what} holds {other[0]} coordinates; {_convert(other[1])}")
    pair = (_split(ra)[1], _split(dec)[1])
    suggested = u.rad if pair in _IN_RADIANS else None
    return PositionColumns(ra, dec, unit_of_angle(what, named[ra]) or suggested, unit_of_angle(what, named[dec]) or suggested)


def listed(names: Iterable[str]) -> str:
    """The names of columns, the first 60 of them."""
    every = list(names)
    more = f" and {len(every) - _MANY_COLUMNS} more" if len(every) > _MANY_COLUMNS else ""
    return ", ".join(every[:_MANY_COLUMNS]) + more


def _found(what: str, fields: Sequence[ColumnFacts], say: str) -> tuple[str, str]:
    good = [field for field in fields if not _other_system(field)]
    main = _by_ucd(good, main=True)
    found = main if len(main) == 1 else _by_name(good) or _by_ucd(good, main=False)
    if len(found) == 1:
        return found[0]
    if found:
        pairs = ", ".join("/".join(pair) for pair in found)
        raise BadCatalog(f"several columns of {what} may hold the positions ({pairs}); say which with {say}; {_has(fields)}")
    for field in fields:
        # One letter is too little to tell a person what their column is.
        if field.name.lower() not in ("l", "b") and (other := _other_system(field)):
            raise BadCatalog(f"{what} has no ICRS positions, but column {field.name!r} in {other[0]} ones; {_convert(other[1])}")
    raise BadCatalog(f"no columns of {what} are known to hold positions; say which with {say}; {_has(fields)}")


def _has(fields: Sequence[ColumnFacts]) -> str:
    return f"it has {listed(field.name for field in fields)}"


def _convert(frame: str) -> str:
    return f"convert them to ICRS first, with astropy: SkyCoord(.., frame={frame!r}).icrs"


def _by_name(fields: Sequence[ColumnFacts]) -> list[tuple[str, str]]:
    split = [(field.name, *_split(field.name)) for field in fields]
    return [
        (ra, dec)
        for stem, partners in _PAIRS.items()
        for ra, prefix, ra_stem in split
        if ra_stem == stem
        for partner in partners
        for dec, dec_prefix, dec_stem in split
        if (dec_prefix, dec_stem) == (prefix, partner)
    ]


def _by_ucd(fields: Sequence[ColumnFacts], *, main: bool) -> list[tuple[str, str]]:
    def told(new: str, old: str) -> list[str]:
        words = [(field.name, field.ucd.lower().split(";")) for field in fields]
        return [
            name
            for name, (first, *more) in words
            if (first == new and "meta.main" in more) or first == f"{old}_main" or (not main and first in (new, old))
        ]

    return [(ra, dec) for ra in told("pos.eq.ra", "pos_eq_ra") for dec in told("pos.eq.dec", "pos_eq_dec")]


def _split(name: str) -> tuple[str, str]:
    """Prefix and stem of a column's name: ``i:ra``, ``candidate.ra``, ``_RAJ2000``, ``R.A. (J2000)``, ``ra [deg]``."""
    low = re.sub(
        r"[(\[]\s*(deg|degrees?|decimal degrees|°|icrs|rad|radians?|hms|dms|h:m:s|d:m:s|hours?)\s*[)\]]\s*$", "", name.lower()
    )
    prefix, stem = re.fullmatch(r"(\s*(?:(?:_+|[a-z0-9_]+:|[a-z0-9_]{2,}\.)(?=.*[a-z0-9]))?)(.*)", low, re.DOTALL).groups()  # type: ignore[union-attr]
    return prefix.strip(), re.sub(r"[^a-z0-9]", "", stem)


def _other_system(field: ColumnFacts) -> tuple[str, str] | None:
    """What a column that is not equatorial of J2000 or ICRS is, and astropy's name for that."""
    frames = {system: frame for system, frame, _ in _OTHERS}
    declared = field.frame.lower().removeprefix("eq_")
    if re.match(_OTHER_EQUINOX, declared):
        return f"{field.frame} (of another equinox than J2000)", "fk5"
    system = next((system for begin, system in _FRAMES.items() if declared.startswith(begin)), None)
    system = system or next((system for begin, system in _OTHER_UCDS.items() if field.ucd.lower().startswith(begin)), None)
    system = system or next((system for system, _, names in _OTHERS if re.fullmatch(names, field.name.strip().lower())), None)
    return None if system is None else (system, frames[system])


def unit_of_angle(what: str, field: ColumnFacts) -> u.UnitBase | None:
    """The unit of a column of angles: what the file says, else what stands in brackets in its name; None where neither does.

    Raises ``BadCatalog`` where the file says another.
    """
    in_name = re.search(r"[(\[]([^)\]]+)[)\]]\s*$", field.name)
    for text, told in ((field.unit, True), (in_name.group(1) if in_name else "", False)):
        word = text.strip().strip("\"'").lower()
        if not word:
            continue
        unit = _UNITS.get(word) or u.Unit(text, parse_strict="silent")
        if not isinstance(unit, u.UnrecognizedUnit) and unit.is_equivalent(u.deg):
            return unit
        if told:
            raise BadCatalog(f"column {field.name!r} of {what} is in {text}, which is no unit of an angle; write it in degrees")
    return None
