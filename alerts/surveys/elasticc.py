"""ELAsTiCC, the simulated LSST alert stream of the DESC (schema version 0.9). Its packets carry no cutouts."""

from alerts.surveys.survey import Survey

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
)
