"""ZTF, the Zwicky Transient Facility at Palomar (schema versions 1.3 to 4.02)."""

from typing import Any

from alerts.surveys.photometry import Photometry, Series
from alerts.surveys.public import PublicPrograms
from alerts.surveys.survey import Survey
from alerts.surveys.ztf_row import PIXEL_ARCSEC, ROW_FACTS

_DIFFERENCE: dict[str, Any] = {
    "value": ("magpsf",),
    "error": ("sigmapsf",),
    "sign": ("isdiffpos",),
    "time": ("jd",),
    "band": ("fid",),
    "program": ("programid",),
}
_REFERENCE: dict[str, Any] = {
    "reference_mag": ("magnr",),
    "reference_error_mag": ("sigmagnr",),
    "reference_distance": ("distnr",),
}
_FORCED = Series(
    "fp_hists",
    value=("forcediffimflux",),
    error=("forcediffimfluxunc",),
    time=("jd",),
    band=("fid",),
    kind="forced",
    zero_point=("magzpsci",),
    status=("procstatus",),
    program=("programid",),
    **_REFERENCE,
    # Here in arcsec; in candidate and prv_candidates the same name is in pixels.
    arcsec_per_distance=1.0,
)
_PHOTOMETRY = Photometry(
    "magnitude",
    "mag",
    "magnitude of the difference (PSF fit, AB)",
    (
        Series("candidate", **_DIFFERENCE, **_REFERENCE, arcsec_per_distance=PIXEL_ARCSEC),
        Series(
            "prv_candidates",
            **_DIFFERENCE,
            **_REFERENCE,
            arcsec_per_distance=PIXEL_ARCSEC,
            alert_id=("candid",),
            limit=("diffmaglim",),
        ),
        _FORCED,
    ),
    bands={1: "g", 2: "r", 3: "i"},
    limit_n_sigma=5.0,
    first_found="jdstarthist",
)
_FIELDS_OF_2016 = "a b2arat btc dec_lu dm dmkin luid m21 name objtype pa ra_lu source strcat".split(" ")  # noqa: SIM905

ZTF = Survey(
    name="ztf",
    schema_name=r"ztf\.alert",
    fingerprint=frozenset({"candid", "candidate.jd", "candidate.fid", "candidate.pid", "candidate.rcid", "candidate.magpsf"}),
    alert_id=("candid",),
    # A place on the sky, also for asteroids: the packet does not say which.
    object_ids=(("objectId", None),),
    ra_deg=("candidate.ra",),
    dec_deg=("candidate.dec",),
    time=("candidate.jd",),
    time_format="jd",
    time_scale="utc",
    time_note="Start of the exposure; the packet's float64 Julian Date resolves 40 us.",
    night_starts_utc_hours=0,
    stamps={
        "science": ("cutoutScience.stampData",),
        "template": ("cutoutTemplate.stampData",),
        "difference": ("cutoutDifference.stampData",),
    },
    former_fields=frozenset(f"candidate.{name}" for name in _FIELDS_OF_2016),
    version=("schemavsn",),
    time_reference="start",
    stamp_side=63,
    # From alerts of one exposure: in every quadrant row 0 is north of row 1, and x runs west, to within 1.1 degrees.
    sky_of_pixels_arcsec=((-PIXEL_ARCSEC, 0.0), (0.0, -PIXEL_ARCSEC)),
    photometry=_PHOTOMETRY,
    row_facts=ROW_FACTS,
    # 2 is the partnership's, 3 Caltech's: of one object there are exposures of all three.
    public=PublicPrograms("candidate", "programid", frozenset({1})),
)
