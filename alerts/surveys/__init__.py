"""The surveys we know, one file of facts each: a new survey is a new file here, and its schemas.

What facts are made of, and what follows from them alone, stands beside them: photometry and magnitudes, orientation, what is
public. ``identify`` finds the survey of a packet from its Avro schema; nothing else in the code may ask which survey it is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Set

from alerts.errors import UnknownSurvey
from alerts.surveys.survey import Survey, fields_of, record_name
from schemas import known_schemas
from schemas.avro_files import AvroSchema

__all__ = ["AUTO", "SURVEYS", "Survey", "by_fields", "identify", "survey"]

AUTO = "auto"
"""In place of a survey's name: each packet tells."""
_ANONYMOUS = ("topLevelRecord", "spark_schema")
"""What Spark's writers call the records of packets that they rewrite."""
_COMMON = "alert"
"""What most surveys call the record of a packet within a namespace of theirs: without that it names nobody."""
_REMEDY = "name the survey with --survey, or add alerts/surveys/NAME.py"
_SHOWN_FIELDS = 8


def _found() -> dict[str, Survey]:
    """The surveys by name, those with most versions first: whatever ``Survey`` a module of this package defines."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    facts = [value for module in modules for value in vars(module).values() if isinstance(value, Survey)]
    return {survey.name: survey for survey in sorted(facts, key=lambda survey: (-len(known_schemas(survey.name)), survey.name))}


SURVEYS: dict[str, Survey] = _found()


def survey(name: str) -> Survey:
    """The survey of that name. Raises ``UnknownSurvey``, which lists the known ones."""
    try:
        return SURVEYS[name]
    except KeyError:
        raise UnknownSurvey(f"survey {name!r} is not known; known are {', '.join(SURVEYS)}") from None


def identify(schema: AvroSchema) -> Survey:
    """The survey that a packet of this schema is of: by the record's name; where that is anonymous, by its fields.

    Raises ``UnknownSurvey``, which says what was seen, for a name that is no survey's and for fields that do not tell.
    """
    if not (isinstance(schema, dict) and schema.get("type") == "record"):
        raise UnknownSurvey("the packet's schema is not an Avro record, so it is no alert of a survey")
    named = [survey for survey in SURVEYS.values() if survey.is_named(schema)]
    if len(named) == 1:
        return named[0]
    name = record_name(schema)
    if named or not is_anonymous(name):
        fit = f"fits {', '.join(survey.name for survey in named)}" if named else f"is of none of {', '.join(SURVEYS)}"
        raise UnknownSurvey(f"schema {name!r} {fit}; {_REMEDY}")
    return by_fields(fields_of(schema), f"schema {name!r}")


def is_anonymous(name: str) -> bool:
    """Whether a record's name says nothing of whose it is: none, that which Spark gives, or ``alert`` without a namespace."""
    return name in ("", _COMMON) or name.split(".", maxsplit=1)[0] in _ANONYMOUS


def by_fields(fields: Set[str], seen: str) -> Survey:
    """The one survey whose packets have such fields (as ``fields_of`` gives them), all by which it is known and none foreign.

    Raises ``UnknownSurvey``; ``seen`` says what has these fields.
    """
    found = [survey for survey in SURVEYS.values() if survey.fingerprint <= fields]
    if len(found) == 1 and not (foreign := contradicting(found[0], fields)):
        return found[0]
    if not found:
        records = sorted(path for path in fields if "." not in path)
        shown = f"{', '.join(records[:_SHOWN_FIELDS])}{', ...' if len(records) > _SHOWN_FIELDS else ''}"
        told = f"is of none of {', '.join(SURVEYS)}: its fields are {shown or 'none'}"
    elif len(found) > 1:
        told = f"fits {', '.join(survey.name for survey in found)}"
    else:
        told = f"is like {found[0].name}'s, but no version of that has {', '.join(foreign[:_SHOWN_FIELDS])}"
    raise UnknownSurvey(f"{seen} {told}; {_REMEDY}")


def contradicting(survey: Survey, fields: Set[str]) -> list[str]:
    """Fields that a packet of this survey cannot have: foreign ones in its records, and records of another survey."""
    others = {path.partition(".")[0] for other in SURVEYS.values() for path in other.fingerprint if "." in path}
    return survey.foreign(fields) + sorted(path for path in others - survey.known_fields if path in fields)
