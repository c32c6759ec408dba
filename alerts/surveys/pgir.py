"""PGIR, the Palomar Gattini-IR survey (schema version 0.1)."""

from alerts.surveys.survey import Survey

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
)
