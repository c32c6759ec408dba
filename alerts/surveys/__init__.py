"""The surveys we know, one file of facts each. A new survey is a new file here, its name in the list below, and its schemas.

``identify`` finds the survey of a packet from its Avro schema; nothing else in the code may ask which survey it is.
"""

from __future__ import annotations

from alerts.errors import UnknownSurvey
from alerts.surveys.decam import DECAM
from alerts.surveys.elasticc import ELASTICC
from alerts.surveys.lsst import LSST
from alerts.surveys.pgir import PGIR
from alerts.surveys.survey import Survey, record_name
from alerts.surveys.winter import WINTER
from alerts.surveys.ztf import ZTF
from schemas.avro_files import AvroSchema

SURVEYS: dict[str, Survey] = {one.name: one for one in (ZTF, LSST, ELASTICC, DECAM, WINTER, PGIR)}

__all__ = ["SURVEYS", "Survey", "identify", "survey"]


def survey(name: str) -> Survey:
    """The survey of that name. Raises ``UnknownSurvey``, which lists the known ones."""
    try:
        return SURVEYS[name]
    except KeyError:
        raise UnknownSurvey(f"survey {name!r} is not known; known are {', '.join(SURVEYS)}") from None


def identify(schema: AvroSchema) -> Survey:
    """The survey that a packet of this schema is of: by the record's name, else by its fields.

    Raises ``UnknownSurvey`` when neither tells, or the fields fit several surveys.
    """
    if not (isinstance(schema, dict) and schema.get("type") == "record"):
        raise UnknownSurvey("the packet's schema is not an Avro record, so it is no alert of a survey")
    named = [one for one in SURVEYS.values() if one.is_named(schema)]
    found = named or [one for one in SURVEYS.values() if one.fits(schema)]
    if len(found) == 1:
        return found[0]
    fit = f"fits {', '.join(one.name for one in found)}" if found else f"is of none of {', '.join(SURVEYS)}"
    raise UnknownSurvey(f"schema {record_name(schema)!r} {fit}; name the survey with --survey, or add alerts/surveys/NAME.py")
