"""ZTF, the Zwicky Transient Facility at Palomar (schema versions 1.3 to 4.02)."""

from alerts.surveys.survey import Survey

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
    version=("schemavsn",),
)
