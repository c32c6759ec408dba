"""What a night consists of: fields with their exposures, and the objects in them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from simulation.sky import Floats, Ints


class Kind(IntEnum):
    """What an object is, and so how its brightness changes."""

    TRANSIENT = 0
    VARIABLE_STAR = 1
    ACTIVE_NUCLEUS = 2
    SOLAR_SYSTEM = 3
    # Planted, by known numbers (``simulation.families``): those above are what else a sky has.
    FADER = 4
    RISER = 5
    FLARE = 6
    VARIABLE = 7
    HOSTLESS = 8
    MOVER = 9


@dataclass(frozen=True)
class Exposures:
    """The exposures of one field in order of time: those of earlier nights, then this night's passes."""

    mjd_utc: Floats
    """Start of the exposure."""
    slot: Ints
    """Number of the exposure in its night."""
    band: Ints
    depth_mag: Floats
    """5-sigma limiting AB magnitude at the middle of the field."""
    seeing_arcsec: Floats
    draws: Floats
    """Uniform random numbers, one row per exposure, for whatever else belongs to the exposure."""
    earlier: int
    """How many of them are of earlier nights."""


@dataclass(frozen=True)
class Field:
    """A pointing of the telescope. ``number`` is its place in the survey's grid."""

    number: int
    ra_deg: float
    dec_deg: float
    chip_depth_mag: Floats
    """What to add to an exposure's depth for each chip."""
    exposures: Exposures


@dataclass(frozen=True)
class SkyObject:
    """An object, its place on the sky and on its chip, and the catalog star beside it."""

    index: int
    field: Field
    chip: int
    number: int
    """Counts the objects of one chip and field: with exposure and chip it makes an id that nothing else has."""
    x: float
    y: float
    ra_deg: float
    dec_deg: float
    kind: Kind
    planted: int | None
    """Counts what is planted in the night, None for all else. The places of a mover, objects of their own, have one number."""
    passes: int
    """Bit ``n`` is set where the object alerts at the night's pass ``n`` over its field."""
    star_id: int | None
    star_ra_deg: float
    star_dec_deg: float
    star_mag: float


@dataclass(frozen=True)
class Objects:
    """All objects of a night by column; the meanings are those of ``SkyObject``. Without a star its columns are NaN."""

    field: Ints
    chip: Ints
    number: Ints
    x: Floats
    y: Floats
    ra_deg: Floats
    dec_deg: Floats
    kind: Ints
    planted: Ints
    """-1 for None."""
    passes: Ints
    star_ra_deg: Floats
    star_dec_deg: Floats
    star_mag: Floats


def star_id(index: Ints | int) -> Ints | int:
    """A catalog id of 18 digits, as Pan-STARRS has them: too large for a float."""
    return 170_000_000_000_000_003 + index * 1_000_003
