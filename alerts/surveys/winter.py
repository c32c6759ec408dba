"""WINTER, the infrared survey at Palomar (schema version 0.1)."""

from alerts.surveys.survey import Survey

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
)
