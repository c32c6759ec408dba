"""ELAsTiCC, the simulated LSST alert stream of the DESC (schema version 0.9). Its packets carry no cutouts."""

from typing import Any

from alerts.surveys.photometry import Photometry, Series
from alerts.surveys.survey import Survey

# Not nJy: the errors are those of the survey's depth only if a flux of 1 is a magnitude of 27.5, SNANA's custom.
_SOURCE: dict[str, Any] = {
    "value": ("psfFlux", "psFlux"),
    "error": ("psfFluxErr", "psFluxErr"),
    "time": ("midpointMjdTai", "midPointTai"),
    "band": ("band", "filterName"),
    "exposure": ("visit", "detector"),
}
_PHOTOMETRY = Photometry(
    "flux",
    "FLUXCAL",
    "flux of the difference (nJy; 1 FLUXCAL is 36.3 nJy)",
    (
        Series("diaSource", **_SOURCE),
        Series("prvDiaSources", **_SOURCE, alert_id=("diaSourceId",)),
        Series("prvDiaForcedSources", **_SOURCE, kind="forced"),
    ),
    zero_point_mag=27.5,
    band_texts=("u", "g", "r", "i", "z", "Y"),
)

ELASTICC = Survey(
    name="elasticc",
    schema_name=r"elasticc\.v\d+_\d+\.alert",
    fingerprint=frozenset({"diaSource.diaSourceId", "diaSource.midPointTai", "diaSource.filterName", "diaSource.nobs"}),
    # alertId is the same in every packet.
    alert_id=("diaSource.diaSourceId",),
    object_ids=(("diaSource.diaObjectId", "dia"),),
    ra_deg=("diaSource.ra",),
    dec_deg=("diaSource.decl",),
    time=("diaSource.midPointTai",),
    time_format="mjd",
    time_scale="tai",
    time_note="Midpoint of the exposure, converted from TAI.",
    night_starts_utc_hours=12,
    stamps={"science": ("cutoutScience",), "template": ("cutoutTemplate",), "difference": ("cutoutDifference",)},
    time_reference="midpoint",
    photometry=_PHOTOMETRY,
)
