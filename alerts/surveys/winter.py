"""WINTER, the infrared survey at Palomar (schema version 0.1)."""

from typing import Any

from alerts.surveys.photometry import Photometry, Series
from alerts.surveys.survey import Survey

_DIFFERENCE: dict[str, Any] = {
    "value": ("magpsf",),
    "error": ("sigmapsf",),
    "sign": ("isdiffpos",),
    "time": ("jd",),
    "band": ("fid",),
}
_PHOTOMETRY = Photometry(
    "magnitude",
    "mag",
    "magnitude of the difference (PSF fit)",
    (Series("candidate", **_DIFFERENCE), Series("prv_candidates", **_DIFFERENCE, alert_id=("candid",))),
    # Nothing in the packets says AB or Vega.
    system=None,
    bands={0: "Y", 1: "J", 2: "H", 3: "K"},
)

WINTER = Survey(
    name="winter",
    schema_name=r"winter\.alert",
    fingerprint=frozenset({"objectid", "candid", "candidate.jd", "candidate.progname", "candidate.tmobjectid1"}),
    alert_id=("candid",),
    object_ids=(("objectid", None),),
    ra_deg=("candidate.ra",),
    dec_deg=("candidate.dec",),
    time=("candidate.jd",),
    time_format="jd",
    time_scale="utc",
    time_note="Start of the exposure.",
    night_starts_utc_hours=0,
    stamps={"science": ("cutout_science",), "template": ("cutout_template",), "difference": ("cutout_difference",)},
    version=("schemavsn",),
    time_reference="start",
    stamp_side=81,
    # From three alerts of one exposure, and from the 2MASS stars that they name.
    sky_of_pixels_arcsec=((-1.11, 0.0), (0.0, 1.11)),
    photometry=_PHOTOMETRY,
)
