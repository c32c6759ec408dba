"""PGIR, the Palomar Gattini-IR survey (schema version 0.1)."""

from typing import Any

from alerts.surveys.photometry import Photometry, Series
from alerts.surveys.survey import Survey

_DIFFERENCE: dict[str, Any] = {"value": ("magpsf",), "error": ("sigmapsf",), "sign": ("isdiffpos",), "time": ("jd",)}
_PHOTOMETRY = Photometry(
    "magnitude",
    "mag",
    "magnitude of the difference (PSF fit)",
    (
        Series("candidate", **_DIFFERENCE),
        Series("prv_candidates", **_DIFFERENCE, alert_id=("candid",), limit=("diffmaglim",)),
    ),
    # Nothing in the packets says AB or Vega.
    system=None,
    only_band="J",
)

PGIR = Survey(
    name="pgir",
    schema_name=r"pgir\.alert",
    fingerprint=frozenset({"objectId", "candid", "candidate.jd", "candidate.stackquadid", "candidate.fluxpsf"}),
    alert_id=("candid",),
    object_ids=(("objectId", None),),
    ra_deg=("candidate.ra",),
    dec_deg=("candidate.dec",),
    time=("candidate.jd",),
    time_format="jd",
    time_scale="utc",
    time_note="Start of the exposure.",
    night_starts_utc_hours=0,
    stamps={"science": ("cutoutScience",), "template": ("cutoutTemplate",), "difference": ("cutoutDifference",)},
    version=("schemavsn",),
    time_reference="start",
    stamp_side=61,
    # From the places of stars in exposures after exposures: x runs north, y east, to within 1.1 degrees.
    sky_of_pixels_arcsec=((0.0, 4.36), (4.36, 0.0)),
    photometry=_PHOTOMETRY,
)
