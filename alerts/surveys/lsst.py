"""LSST, the survey of the Vera C. Rubin Observatory on Cerro Pachon (schema versions 7.0 to 11.1 are built in)."""

from typing import Any

from alerts.surveys.photometry import NJY_AB_MAG, Photometry, Series
from alerts.surveys.survey import Survey
from schemas import known_schemas

_SOURCE: dict[str, Any] = {
    "value": ("psfFlux", "psFlux"),
    "error": ("psfFluxErr", "psFluxErr"),
    "time": ("midpointMjdTai", "midPointTai"),
    "band": ("band", "filterName"),
    "exposure": ("visit", "detector"),
    "apparent": ("scienceFlux",),
    "apparent_error": ("scienceFluxErr",),
}
# The fit's own failure, and pixels under the source that cannot be trusted.
_FLAGS = ("psfFlux_flag", "pixelFlags_bad", "pixelFlags_saturated", "pixelFlags_cr")
_PHOTOMETRY = Photometry(
    "flux",
    "nJy",
    "flux of the difference (PSF fit, nJy)",
    (
        Series("diaSource", **_SOURCE, flags=_FLAGS),
        Series("prvDiaSources", **_SOURCE, flags=_FLAGS, alert_id=("diaSourceId",)),
        Series("prvDiaForcedSources", **_SOURCE, kind="forced"),
    ),
    zero_point_mag=NJY_AB_MAG,
    band_texts=("u", "g", "r", "i", "z", "y"),
)

LSST = Survey(
    name="lsst",
    schema_name=r"lsst\.v\d+_\d+\.alert",
    fingerprint=frozenset({"diaSource.diaSourceId", "diaSource.midpointMjdTai", "diaSource.band", "diaSource.psfFlux"}),
    alert_id=("diaSource.diaSourceId",),
    # A solar-system alert has diaObjectId 0, not null.
    object_ids=(("diaSource.diaObjectId", "dia"), ("diaSource.ssObjectId", "solar_system")),
    ra_deg=("diaSource.ra",),
    # Names of schema versions 3 and 4 follow today's.
    dec_deg=("diaSource.dec", "diaSource.decl"),
    time=("diaSource.midpointMjdTai", "diaSource.midPointTai"),
    time_format="mjd",
    time_scale="tai",
    # The project's own samples of versions 3.0 to 7.4 hold 1480360995.0 (November 2016) in place of an MJD.
    time_in_seconds_from=1e8,
    time_note="Midpoint of the exposure, converted from TAI.",
    night_starts_utc_hours=12,
    # Versions 5 and 6.
    former_fields=frozenset({"diaSource.ccdVisitId", "diaSource.flags", "diaSource.programId"}),
    stamps={"science": ("cutoutScience",), "template": ("cutoutTemplate",), "difference": ("cutoutDifference",)},
    # Rubin's registry numbers its schemas 100 x major + minor: 704 is version 7.4.
    wire_schemas={
        100 * int(major) + int(minor): f"{major}.{minor}"
        for major, minor in (version.split(".") for version in known_schemas("lsst"))
    },
    time_reference="midpoint",
    photometry=_PHOTOMETRY,
    public="all",
)
