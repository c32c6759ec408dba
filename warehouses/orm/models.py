"""Each table of ``schemas.tables`` as a SQLAlchemy model, made of its columns; see ``broker.orm``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event, orm

from alerts.features.table import features_table_of
from alerts.surveys import SURVEYS, Survey
from schemas import Table
from schemas.tables import CROSSMATCHES, DEAD_LETTERS, RUNS
from warehouses.errors import QueryError
from warehouses.orm.types import Json, sql_type
from warehouses.places import at

_PACKET = ("alert_id", "packet_digest", "schema_version", "run_id", "source", "published_at", "ingested_at")
"""Rows that agree in these are one packet, read and written once or by a run that repeated itself: equal in all columns."""
_COMPUTED = ("alert_id", "packet_digest", "computed_at", "run_id")
"""Rows of features that agree in these are of one packet, computed at once: equal in all columns."""

_RELATIONS = ("all_cutouts", "all_features", "cutouts", "crossmatches", "features")
"""Attributes of alerts that are no columns."""
_SHOWN = ("survey", "alert_id", "catalog", "object_id", "run_id", "stage", "source")


class ReadOnly(QueryError):
    """A warehouse is only read; the message says what would have been written."""


class Model(orm.DeclarativeBase):
    """A row. Its columns are attributes; records are dicts, arrays lists, JSON is parsed, times are in UTC."""

    def __repr__(self) -> str:
        state = sa.inspect(self)
        loaded = {name: state.dict.get(name) for name in _SHOWN}
        shown = [f"{name}={value!r}" for name, value in loaded.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown[:3])})"


class Session(orm.Session):
    """A session over the warehouse in a folder, or ``bigquery://PROJECT/DATASET``; ``options`` are those of SQLAlchemy's.

    Raises ``QueryError`` when there is no warehouse, and for a query of a table that it does not hold; ``ReadOnly``, before
    anything is sent, for whatever is not a ``select()``.
    """

    def __init__(self, warehouse: str | os.PathLike[str] = "./warehouse", **options: Any) -> None:
        self.warehouse = os.fspath(warehouse)
        self._engine = at(self.warehouse).engine()
        event.listen(self._engine, "before_cursor_execute", _refuse_writing)
        super().__init__(self._engine, **{"expire_on_commit": False, **options})

    def close(self) -> None:
        """Let go of the objects and of the warehouse."""
        super().close()
        self._engine.dispose()


@event.listens_for(Session, "before_flush")
def _refuse_changes(session: orm.Session, *_: Any) -> None:
    changed = [*session.new, *session.dirty, *session.deleted]
    raise ReadOnly(
        f"a warehouse is only read, and {', '.join(map(repr, changed[:3]))} would be written; rollback() forgets the changes"
    )


def _refuse_writing(_: Any, __: Any, statement: str, ___: Any, context: sa.engine.ExecutionContext, ____: Any) -> None:
    if not isinstance(getattr(context.compiled, "statement", None), (sa.Select, sa.CompoundSelect)):
        raise ReadOnly(f"give a select() of models, not {statement[:60]!r}; SQL text is for broker.warehouse.open(...).query()")


def _model(name: str, relation: str, table: Table, key: Collection[str] = (), others: Collection[str] = ()) -> type[Model]:
    """A model of a table or of a view of its columns; rows with equal values of ``key``, or of all columns, are one object.

    ``others`` are attributes that it has besides.
    """
    key = key or list(table.by_name)
    # What tells objects apart must be hashable, and parsed JSON is not: there its text stands too, under a private name.
    texts = [column.name for column in table.columns if column.type == "JSON" and column.name in key]
    columns = [
        sa.Column(
            column.name,
            sa.String() if column.name in texts else sql_type(column),
            key=_attribute(column.name, others),
            doc=column.description,
        )
        for column in table.columns
    ]
    made = sa.Table(relation, Model.metadata, *columns, info={"table": table})
    members: dict[str, Any] = {f"_{text}": made.c[text] for text in texts}
    members |= {text: orm.column_property(sa.type_coerce(made.c[text], Json())) for text in texts}
    members |= {"__table__": made, "__mapper_args__": {"primary_key": [made.c[name] for name in key]}}
    members |= {"__module__": __name__, "__doc__": _documentation(relation, table)}
    return type(name, (Model,), members)


def _attribute(name: str, others: Collection[str]) -> str:
    """The attribute of a column: a survey's field may be named like what every model has, or SQLAlchemy wants for itself."""
    return f"packet_{name}" if name in others or hasattr(Model, name) else name


def _documentation(relation: str, table: Table) -> str:
    lines = [f"Rows of {relation}. {table.description}", ""]
    for column in table.columns:
        fields = f" Fields: {', '.join(column.by_name)}." if column.fields else ""
        mode = "" if column.mode == "NULLABLE" else f" {column.mode}"
        lines.append(f"{column.name} {column.type}{mode}: {column.description}{fields}")
    return "\n".join(lines)


def _cutouts(alert: Any) -> Any:
    """The stamps of the alert, a row of ``{survey}_cutouts``; None where it has none.

    Raises ``QueryError`` where packets of one id have different stamps, and their rows do not say which is whose.
    """
    named = [cutout for cutout in alert.all_cutouts if cutout.packet_digest is not None]
    found = named or list(alert.all_cutouts)
    if len(found) > 1:
        raise QueryError(f"{alert} was sent with {len(found)} different sets of stamps; all_cutouts has them")
    return next(iter(found), None)


def _features(alert: Any) -> Any:
    """The newest features of the alert as a dict, a record of each band among them; None where it has none."""
    newest = max(alert.all_features, key=lambda row: (row.computed_at, row.run_id), default=None)
    return None if newest is None else newest.features


def _models_of(survey: Survey, matches: type[Model]) -> Iterator[type[Model]]:
    name = survey.name.upper() if len(survey.name) <= 4 else survey.name.capitalize()
    cutouts = _model(f"{name}Cutouts", survey.cutouts_table.name, survey.cutouts_table)
    features = features_table_of(survey)
    computed = _model(f"{name}Features", features.name, features, _COMPUTED) if features else None
    for suffix, view, key in (("Alert", "_unique", ("alert_id",)), ("AlertRow", "", _PACKET)):
        alerts = _model(f"{name}{suffix}", f"{survey.alerts_table.name}{view}", survey.alerts_table, key, _RELATIONS)
        own, stamps, found = alerts.__table__.c, cutouts.__table__.c, matches.__table__.c
        # Rows from before there was this column do not say whose they are.
        nameless = orm.foreign(stamps.packet_digest).is_(None)
        of_alert = sa.and_(_in_place(stamps, own), sa.or_(orm.foreign(stamps.packet_digest) == own.packet_digest, nameless))
        at_alert = sa.and_(orm.foreign(found.alert_id) == own.alert_id, orm.foreign(found.survey) == own.survey)
        relations = {
            # A packet that was sent twice has its stamps twice: equal rows are one object, and that stands in a set once.
            "all_cutouts": orm.relationship(cutouts, primaryjoin=of_alert, collection_class=set, viewonly=True),
            "crossmatches": orm.relationship(matches, primaryjoin=at_alert, order_by=found.catalog, viewonly=True),
        }
        if computed is not None:
            looks = computed.__table__.c
            of_packet = sa.and_(_in_place(looks, own), orm.foreign(looks.packet_digest) == own.packet_digest)
            relations["all_features"] = orm.relationship(computed, primaryjoin=of_packet, collection_class=set, viewonly=True)
            alerts.features = property(_features)
        for relation, relationship in relations.items():
            setattr(alerts, relation, relationship)
        alerts.cutouts = property(_cutouts)
        yield alerts
    yield from (model for model in (cutouts, computed) if model is not None)


def _in_place(beside: Any, alerts: Any) -> Any:
    """Rows beside those of alerts have the same id. Night and object say where BigQuery keeps them: it reads no more."""
    same_object = sa.or_(orm.foreign(beside.object_id) == alerts.object_id, alerts.object_id.is_(None))
    return sa.and_(orm.foreign(beside.alert_id) == alerts.alert_id, orm.foreign(beside.night) == alerts.night, same_object)


def _all_models() -> dict[str, type[Model]]:
    # The same question at one instant has one answer; only what is nested is not compared.
    asked = [column.name for column in CROSSMATCHES.columns if not column.fields]
    matches = _model("CrossMatch", "crossmatches_unique", CROSSMATCHES, ("survey", "alert_id", "catalog"))
    models = [
        *(model for survey in SURVEYS.values() for model in _models_of(survey, matches)),
        matches,
        _model("CrossMatchRow", "crossmatches", CROSSMATCHES, asked),
        _model("DeadLetter", "dead_letters_open", DEAD_LETTERS),
        _model("DeadLetterRow", "dead_letters", DEAD_LETTERS),
        _model("Run", "runs", RUNS, ("run_id",)),
    ]
    return {model.__name__: model for model in models}


MODELS = _all_models()
"""The models by their names."""
globals().update(MODELS)

__all__ = ["MODELS", "Model", "ReadOnly", "Session"]
__all__ += list(MODELS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
