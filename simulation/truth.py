"""The truth about the packets of a made-up night: the rows of ``truth.parquet``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

TRUTH_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("kind", pa.string()),
        ("damage", pa.string()),
        ("damage_note", pa.string()),
        ("alert_id", pa.int64()),
        ("object_id", pa.string()),
        ("survey", pa.string()),
        ("ra_deg", pa.float64()),
        ("dec_deg", pa.float64()),
        ("observed_at", pa.timestamp("us", tz="UTC")),
        ("night", pa.date32()),
        ("is_solar_system", pa.bool_()),
        ("has_catalog_star", pa.bool_()),
        ("separation_arcsec", pa.float64()),
        ("region_level", pa.float64()),
        ("in_region", pa.bool_()),
        ("is_watched", pa.bool_()),
        ("family", pa.string()),
        ("planted", pa.int64()),
        ("slope_mag_per_day", pa.float64()),
        ("slope_njy_per_day", pa.float64()),
        ("amplitude_mag", pa.float64()),
        ("amplitude_njy", pa.float64()),
        ("period_days", pa.float64()),
        ("tau_days", pa.float64()),
        ("began_at", pa.timestamp("us", tz="UTC")),
        ("reference_arcsec", pa.float64()),
        ("motion_arcsec_per_hour", pa.float64()),
        ("motion_angle_deg", pa.float64()),
    ]
)


@dataclass(frozen=True)
class PacketTruth:
    """What is true of one packet; a row of ``truth.parquet``. Of a damaged packet: of the alert it was made from."""

    name: str
    kind: str
    """``good``, ``duplicate`` or ``damaged``."""
    damage: str | None
    """The kind of damage: a name in ``damage.DAMAGES``."""
    damage_note: str | None
    alert_id: int
    object_id: str
    survey: str
    ra_deg: float
    """ICRS, as the packet states it."""
    dec_deg: float
    observed_at: datetime
    night: date
    is_solar_system: bool
    """Whether the packet itself names a known object of the solar system: of a ``mover`` it does not."""
    has_catalog_star: bool
    """Whether a star of the catalog lies within 5 arcsec."""
    separation_arcsec: float | None
    """To that star, from this alert's own position."""
    region_level: float
    """The credible level of that position in the night's ``skymap.fits``."""
    in_region: bool
    """Whether it is 0.9 at most."""
    is_watched: bool
    """Whether the position is within its radius of a place of the night's ``watchlist.csv``."""
    family: str
    """``fader``, ``riser``, ``flare``, ``variable``, ``hostless`` and ``mover`` are planted, by the numbers that follow.

    ``transient``, ``variable_star``, ``active_nucleus`` and ``solar_system`` are what else a sky has.
    """
    planted: int | None
    """Counts what is planted in the night: all alerts of a mover have one, though each is an object of its own."""
    slope_mag_per_day: float | None
    """Of faders and risers, where the survey's packets have magnitudes; positive: fading. Such numbers hold in every band."""
    slope_njy_per_day: float | None
    """Of faders and risers, where they have fluxes; positive: brightening."""
    amplitude_mag: float | None
    """From a flare's star to its peak."""
    amplitude_njy: float | None
    """Half of the range of a variable's difference flux, about 0."""
    period_days: float | None
    """Of a variable."""
    tau_days: float | None
    """In which a flare's flux sinks to 1/e."""
    began_at: datetime | None
    """When a fader, flare or hostless transient flared up; of a riser in flux, when that was 0."""
    reference_arcsec: float | None
    """From a hostless transient to the nearest source of the template."""
    motion_arcsec_per_hour: float | None
    """Of a mover."""
    motion_angle_deg: float | None
    """Its position angle, from north through east."""
