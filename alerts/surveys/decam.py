"""DECam transients of the DESIRT survey, from Cerro Tololo (schema version 0.1.0)."""

from alerts.surveys.photometry import NJY_AB_MAG, Photometry, Series
from alerts.surveys.survey import Survey

_PHOTOMETRY = Photometry(
    "flux",
    "nJy",
    "flux of the difference (PSF fit, nJy)",
    (
        Series("candidate", ("psfFlux",), ("psfFluxErr",), ("mjd",), ("band",)),
        Series("fp_hists", ("psfFlux",), ("psfFluxErr",), ("mjd",), ("band",), kind="forced"),
    ),
    zero_point_mag=NJY_AB_MAG,
    band_texts=("u", "g", "r", "i", "z", "Y"),
)

DECAM = Survey(
    name="decam",
    schema_name=r"desirt\.alert",
    fingerprint=frozenset({"candid", "objectId", "candidate.mjd", "candidate.forcediffimflux", "candidate.band"}),
    # A small running number, unique within the survey only.
    alert_id=("candid",),
    object_ids=(("objectId", None),),
    ra_deg=("candidate.ra",),
    dec_deg=("candidate.dec",),
    time=("candidate.mjd",),
    time_format="mjd",
    time_scale="utc",
    time_note="Start of the exposure.",
    night_starts_utc_hours=12,
    stamps={"science": ("cutoutScience",), "template": ("cutoutTemplate",), "difference": ("cutoutDifference",)},
    time_reference="start",
    stamp_side=63,
    photometry=_PHOTOMETRY,
)
