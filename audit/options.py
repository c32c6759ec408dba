"""What the words of an audit name: the truth, one of three, and what is to be there. All is refused before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from alerts import surveys
from alerts.avro.wire_schemas import check_registry
from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.spec import parse_spec, watchlist_name
from alerts.errors import UnknownSurvey
from alerts.surveys import AUTO, Survey
from audit.audit import Settings
from audit.messages import MessagesTruth
from audit.truth import AuditError, FilesTruth, IdsTruth, Truth
from warehouses.audited import Nights, surveys_with_rows
from warehouses.warehouse import Warehouse


def settings_of(
    *,
    between: tuple[date, date] | None,
    survey: str = AUTO,
    schemas: str | None = None,
    crossmatch: Sequence[str] | None = None,
    cutouts: bool = True,
    stamps: bool = False,
) -> Settings:
    """How to audit, by the names of things as ``broker audit`` takes them. Raises ``AuditError`` for what is none."""
    if schemas:
        try:
            check_registry(schemas)
        except ValueError as error:
            raise AuditError(f"--schemas: {error}") from error
    return Settings(
        between=between,
        survey=_survey(survey),
        schemas=schemas,
        catalogs=_catalogs(crossmatch),
        cutouts=cutouts,
        look_into_cutouts=stamps,
    )


def _survey(name: str) -> Survey | None:
    try:
        return None if name == AUTO else surveys.survey(name)
    except UnknownSurvey as error:
        raise AuditError(f"--{error}") from error


def _catalogs(named: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names as the rows have them: without the radius and what else may stand behind a question mark."""
    try:
        names = [name if watchlist_name(name) else parse_spec(name, radius_arcsec=1.0).name for name in named or ()]
    except BadCatalog as error:
        raise AuditError(f"--crossmatch: {error}") from error
    return tuple(dict.fromkeys(names)) or None


def truth_of(
    settings: Settings,
    warehouse: Warehouse,
    *,
    inputs: Sequence[str] | None = None,
    ids: str | None = None,
    subscription: str | None = None,
    silence_secs: float = 10.0,
) -> Truth:
    """The truth, of files, of a list of ids or of a subscription: exactly one. Raises ``AuditError``.

    A subscription has been read when nothing has come for ``silence_secs``.
    """
    given = sum(map(bool, (inputs, ids, subscription)))
    if given != 1:
        raise AuditError("give the truth by one of --input, --ids and --subscription" + (f", not {given}" if given else ""))
    if inputs:
        return FilesTruth(inputs, settings.schemas, settings.survey)
    if subscription:
        return MessagesTruth(subscription, silence_secs, settings.schemas, settings.survey)
    return IdsTruth(str(ids), settings.survey or _only_survey(warehouse, settings))


def _only_survey(warehouse: Warehouse, settings: Settings) -> Survey:
    """The survey whose ids these must be. Raises ``AuditError`` when that is not clear."""
    found = surveys_with_rows(warehouse, Nights(*settings.between) if settings.between else Nights())
    if len(found) != 1:
        has = f"alerts of {' and '.join(found)}" if found else "no alerts"
        raise AuditError(f"the warehouse has {has} there, and ids do not tell their survey; give --survey")
    return surveys.survey(found[0])
