"""A warehouse: what can be asked of it and written into it, wherever its tables live."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from alerts import brightness
from alerts.surveys import SURVEYS, Survey
from schemas import Table
from schemas.views import Dialect, objects_sql
from warehouses import counts, letters
from warehouses.alert_key import alert_key
from warehouses.answers import Answer
from warehouses.computed import Computed
from warehouses.errors import QueryError
from warehouses.result import Result
from warehouses.sought import Sought, id_text, in_ranges, of_ids, of_object
from warehouses.units import Unit

if TYPE_CHECKING:
    import sqlalchemy as sa

    from warehouses.cones import Cones
    from warehouses.counts import RunCounts, Wrote
    from warehouses.standing import Standing

SHOWN = (
    *("survey", "alert_id", "object_id", "object_kind", "observed_at", "night", "ra_deg", "dec_deg"),
    *("schema_version", "source", "published_at", "ingested_at"),
)
"""The columns of the envelope that are shown of an alert that was looked for."""
AsAvro = Callable[[Table, pa.RecordBatch], bytes]
"""Makes a load file of rows of a table."""
MAX_RADIUS_ARCSEC = 180 * 3600.0
ROWS_AT_ONCE = 1024
"""Rows of an answer at a time: of the largest alerts, with history and stamps, some hundred megabytes."""


@dataclass(frozen=True)
class Compacted:
    """How many files the tables had before, and have after."""

    before: int
    after: int


class Warehouse(abc.ABC):
    """A warehouse. The tables and views are those of ``docs/tables.md``; all of them are there once anything was written.

    Made by ``warehouses.open``, or ``warehouses.at`` where there may be nothing yet. It connects at the first question, and what
    it then sees stays until ``close``. It can be sent to other processes, which connect anew.
    """

    dialect: ClassVar[Dialect]
    """The SQL it speaks."""
    replaces: ClassVar[bool]
    """Whether what a run writes for an input replaces what an earlier run wrote for it; else it is added."""
    write_methods: ClassVar[tuple[str, ...]]
    """The ways in which a pipeline can write into it, the default for batches first and that for streams last."""
    round_secs: ClassVar[Mapping[str, float]]
    """Of these, those by which a stream in rounds can, the default first, and how many seconds a round takes at least."""
    rows_at_once_asked: ClassVar[int] = 1
    """Of rows with much in them so many should be asked for at once at least: where each question costs what the table holds."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    # ------------------------------------------------------------------------------------------------------------- asking

    @abc.abstractmethod
    def holds_tables(self) -> bool:
        """Whether anything was ever written there. Raises ``QueryError`` where nobody answers."""

    @property
    @abc.abstractmethod
    def tables(self) -> Collection[str]:
        """The names of its tables and views. Raises ``QueryError`` where there is no warehouse."""

    @property
    @abc.abstractmethod
    def surveys(self) -> list[Survey]:
        """The surveys whose alerts it may hold."""

    @abc.abstractmethod
    def columns_of(self, table: str) -> set[str]:
        """The names of a table's columns: one that was made by an earlier version may lack some. Raises ``QueryError``."""

    @abc.abstractmethod
    def read(self, sql: str, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """The answer to somebody's one SELECT, in its own SQL, as it comes. Raises ``QueryError``."""

    @abc.abstractmethod
    def ask(self, sql: str, values: Mapping[str, Any] | None = None, rows_at_once: int = ROWS_AT_ONCE) -> Answer:
        """The answer to SQL of ours, in which ``{name}`` stands for one of ``values``. Raises ``QueryError``."""

    @abc.abstractmethod
    def shown_otherwise(self, survey: str) -> bool:
        """Whether ``{survey}_alerts_unique`` is another query than ours, so that it may show an alert twice or not at all."""

    @abc.abstractmethod
    def engine(self) -> sa.Engine:
        """An engine of SQLAlchemy that reads the tables. Raises ``QueryError``."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of it; the next question connects again."""

    def query(self, sql: str) -> Result:
        """The answer to one SELECT, in the SQL of DuckDB or of BigQuery. Raises ``QueryError``."""
        return Result(self.read(sql).apart().read())

    def cone(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> Result:
        """Alerts within a radius of a position (ICRS), one row per alert id, nearest first.

        Has a column ``separation_arcsec`` before those of the envelope. Raises ``QueryError`` for a position off the sky.
        """
        if not (0 <= ra_deg <= 360 and -90 <= dec_deg <= 90 and 0 < radius_arcsec <= MAX_RADIUS_ARCSEC):
            raise QueryError(
                f"cone {ra_deg:g},{dec_deg:g},{radius_arcsec:g} is not on the sky: 0 <= RA <= 360 deg, -90 <= Dec <= 90 deg, "
                f"0 < radius <= {MAX_RADIUS_ARCSEC:g} arcsec"
            )
        from alerts.positions import cone_ranges, separation_arcsec  # noqa: PLC0415 - only for a question of where something is

        ra_deg %= 360
        found = self.in_ranges(cone_ranges(ra_deg, dec_deg, radius_arcsec))
        ra, dec = (found.column(name).to_numpy(zero_copy_only=False) for name in ("ra_deg", "dec_deg"))
        separations = separation_arcsec(ra, dec, ra_deg, dec_deg)
        order = np.argsort(separations, kind="stable")
        order = order[separations[order] <= radius_arcsec]
        return Result(found.take(order).add_column(0, "separation_arcsec", pa.array(separations[order], pa.float64())))

    def cones(self, asked: Cones) -> Result:
        """Alerts within one cone, as ``cone`` gives them, or within those of a list: a row for each position and alert.

        Those of a list have ``list_row`` (from 0) and ``list_name`` (where the table has a column of names or ids) in front,
        and come position by position, the nearest first. Raises ``QueryError``.
        """
        from warehouses.cones import alerts_within  # noqa: PLC0415 - it asks warehouses

        return alerts_within(self, asked)

    def in_ranges(self, ranges: Sequence[tuple[int, int]]) -> pa.Table:
        """Alerts whose ``healpix29`` is in one of some ranges (first, last), which are in order; one row per alert id."""
        return self._alerts(in_ranges(ranges))

    def alerts_of(self, object_id: str | int) -> Result:
        """Alerts of an object, in order of time, one row per alert id. The id is a text, or the packet's integer."""
        return Result(self._alerts(of_object(object_id)))

    def holding(self, sought: Sought) -> contextlib.AbstractContextManager[Warehouse]:
        """A warehouse that holds all rows of the alerts sought, as long as the body works: this one, or one of fewer files."""
        del sought
        return contextlib.nullcontext(self)

    def _alerts(self, sought: Sought) -> pa.Table:
        with self.holding(sought) as some:
            return some._shown(sought.condition, sought.values)

    def _shown(self, condition: str, values: Mapping[str, Any]) -> pa.Table:
        """Envelope columns and brightness (``alerts.brightness``) of the alerts of all surveys that meet a condition."""
        surveys = self.surveys
        if not surveys:
            raise QueryError("the warehouse holds no alerts")
        held = {survey.name: self.columns_of(f"{survey.name}_alerts") for survey in surveys}
        own = {survey.name: brightness.own_sql(survey, held[survey.name], self.dialect) for survey in surveys}
        shown = self._shown_alerts(list(own), condition, values)
        parts = [f"SELECT {', '.join(SHOWN)}, {columns} FROM {shown[name]}" for name, columns in own.items()]
        found = self.ask(" UNION ALL ".join(parts) + " ORDER BY observed_at, alert_id", values).read()
        return brightness.complete(found, surveys, lambda survey, rows: self._count_points(survey, held[survey.name], rows))

    def _count_points(self, survey: Survey, held: Collection[str], found: brightness.Found) -> dict[int, int]:
        """``n_points`` of alerts that were found, by their ids; ``held`` are the columns of the survey's table."""
        sql = brightness.points_sql(survey, held, self.dialect, found)
        return {row["alert_id"]: row["n_points"] for row in self.ask(sql).read().to_pylist()} if sql else {}

    def _shown_alerts(self, surveys: Sequence[str], condition: str, values: Mapping[str, Any]) -> dict[str, str]:
        """What stands behind FROM, by survey: each alert whose row in ``{survey}_alerts_unique`` meets a condition."""
        # Alerts are picked first: finding the newest of each id over a whole year would read all of it.
        return {
            name: f"{name}_alerts_unique WHERE alert_id IN (SELECT alert_id FROM {name}_alerts WHERE {condition}) "
            f"AND ({condition})"
            for name in surveys
        }

    def rows_of_alert(self, survey: Survey, alert_id: int) -> str:
        """The condition that all rows of an alert meet, in each table that has its night and its object."""
        return f"alert_id = {alert_id}"

    def stamps(
        self, survey: Survey, alert_id: int, night: date, packet_digest: bytes, object_id: str | None = None
    ) -> dict[str, bytes | None]:
        """The stamps of one packet by their role, bytes as sent; None for each that it had not, or that was not kept.

        Where the packet's object is told, BigQuery reads its part of the night, and not all stamps of the night.

        Raises ``QueryError`` where packets of one id have different stamps and were written before rows said whose they are.
        """
        table = survey.cutouts_table.name
        if table not in self.tables:
            return dict.fromkeys(survey.stamps)
        # All columns: an old table has no digests to ask for.
        this = f"night = DATE '{night}' AND alert_id = {int(alert_id)} AND {objects_sql([object_id] if object_id else [])}"
        rows = self.query(f"SELECT * FROM {table} WHERE {this}").to_pylist()
        own = [row for row in rows if row.get("packet_digest") == packet_digest]
        nameless = [row for row in rows if row.get("packet_digest") is None]
        found = {tuple(row[role] for role in survey.stamps) for row in own or nameless}
        if len(found) > 1:
            raise QueryError(
                f"alert {alert_id} was sent with {len(found)} different sets of stamps before {table} said whose they are; "
                "ingest its night again to see them"
            )
        return dict(zip(survey.stamps, next(iter(found), (None,) * len(survey.stamps)), strict=True))

    def light_curve(self, object_id: str | int, survey: str | None = None) -> Result:
        """All that the alerts of an object tell of its brightness, one row per point, in order of time.

        Columns as ``alerts.light_curve.SCHEMA`` describes them. Raises ``QueryError`` when there is no such object, or it is
        of several surveys and none is named.
        """
        from warehouses.history import curve_of_object  # noqa: PLC0415 - it asks warehouses

        return Result(curve_of_object(self, id_text(object_id), survey).table)

    def features(self, object_id: str | int, survey: str | None = None) -> Result:
        """What the alerts of an object looked like, one row per alert id, in order of time: how its features have changed.

        Columns ``alert_id``, ``packet_digest``, ``object_id``, ``object_kind``, ``night``, ``observed_at``, ``features``
        (``alerts.features.definitions.columns``), ``computed_at`` and ``version``; the last three are NULL where no features of
        the alert were computed. Raises ``QueryError`` when there is no such object, it is of several surveys and none is named,
        or its survey has no features.
        """
        from warehouses.object_features import features_of_object  # noqa: PLC0415 - it asks warehouses

        return Result(features_of_object(self, id_text(object_id), survey))

    def info(self, alert: Any) -> list[dict[str, Any]]:
        """What is known of an alert (its id, a row, an object of the ORM), once per survey that has one of this id.

        Keys: ``alert`` (the row of ``{survey}_alerts_unique``), ``brightness`` (as ``alerts.brightness.of_packet`` gives it),
        ``features`` (the packet's row of ``{survey}_features``, None where there is none), ``rows`` (copies and conflicts
        counted), ``crossmatches`` (rows of ``crossmatches_unique``), ``stamps`` (bytes of each
        stamp of this packet, None where there is none) and, where nobody knows which they are, ``stamps_unknown`` (why).

        Raises ``QueryError``.
        """
        from warehouses.known import known_of  # noqa: PLC0415 - it asks warehouses

        key = alert_key(alert)
        with self.holding(of_ids([key.alert_id])) as some:
            return known_of(some, key)

    def packet(self, alert: Any, survey: str | None = None, *, stamps: bool = True) -> tuple[dict[str, Any], str]:
        """The packet of an alert (its id, a row, an object of the ORM) and the name of its survey.

        It is as far there as the warehouse has it: the row's own fields, and its stamps where they were kept. Arrays that were
        null read []. Of several packets of one id it is the row's, else the one that ``{survey}_alerts_unique`` shows.
        Raises ``QueryError`` when there is no such alert, or it is of several surveys and none is named.
        """
        from warehouses.stored_packets import stored_packet  # noqa: PLC0415 - it asks warehouses

        key = alert_key(alert)
        with self.holding(of_ids([key.alert_id])) as some:
            return stored_packet(some, key._replace(survey=survey or key.survey), stamps)

    def open_letters(self, stage: str | None, most: int) -> list[dict[str, Any]]:
        """The oldest open dead letters: stage, source, payload, attributes (JSON text) and ``failed_at``."""
        return letters.open_letters(self, stage, most)

    def letters_of(self, run_id: str, since: datetime) -> set[str]:
        """The ids of the dead letters of a run that began at ``since``."""
        return letters.letters_of(self, run_id, since)

    def standing(self, run_id: str, units: Iterable[Unit]) -> tuple[Standing, ...]:
        """Whose rows stand for those of a run that wrote ``units``: nobody's but its own, where it replaces them."""
        del run_id, units
        return ()

    def counts(self, run_id: str, units: Iterable[Unit], wrote: Wrote | None = None) -> RunCounts:
        """What the tables hold of a run, which wrote ``units``, and, where that is known, in which nights."""
        return counts.count(self, run_id, units, wrote)

    # ------------------------------------------------------------------------------------------------------------ writing

    @abc.abstractmethod
    def check_writable(self) -> None:
        """Refuse a place that cannot be written to. Raises ``OSError`` and what the service's client raises."""

    @abc.abstractmethod
    def prepare(self, surveys: Sequence[str]) -> None:
        """Make what must be there before rows of these surveys are written, and the views."""

    @abc.abstractmethod
    def add(self, table: Table, rows: pa.RecordBatch, run_id: str) -> None:
        """Add a few rows, which replace nothing."""

    @abc.abstractmethod
    def claim(self, run_id: str, inputs: Collection[str]) -> contextlib.AbstractContextManager[None]:
        """Hold the inputs whose rows a run replaces, as long as the body works. Raises ``InputsTaken`` where another run does."""

    @abc.abstractmethod
    def other_runs_of(self, run_id: str, units: Collection[str]) -> list[str]:
        """Ids of other runs whose rows stand for these units (by their keys), where two runs could not be told to wait."""

    @abc.abstractmethod
    def keep_plan(self, stream: str, plan: str) -> None:
        """Keep what a stream's next round reads, instead of what was kept of it before."""

    @abc.abstractmethod
    def kept_plan(self, stream: str) -> str | None:
        """What was kept last, done or not; None where nothing was."""

    @abc.abstractmethod
    def compact(self, nights: tuple[date, date] | None = None, at_least: int = 2) -> Compacted:
        """Make few files of the many of a night, where a table has ``at_least`` so many; of nights from one to another, or all.

        Readers and runs beside it are not disturbed. Raises ``QueryError`` where tables are no files, and ``OSError``.
        """

    @abc.abstractmethod
    def rebuild(self) -> int:
        """Take the files that are there for the tables', however they came there; gives their number.

        Raises ``QueryError`` where tables are no files, and ``OSError``.
        """

    @abc.abstractmethod
    def tidy(self, run_id: str, in_rounds: bool = False) -> Compacted | None:
        """What a run does at its end, so that its nights do not become many small files; None where there is nothing to do.

        ``in_rounds``: it is one of a stream's many, each of which brings few rows.
        """

    @abc.abstractmethod
    def add_features(
        self, survey: Survey, nights: tuple[date, date], run_id: str, as_avro: AsAvro, *, again: bool = False
    ) -> Iterator[Computed]:
        """Compute what alerts from one night to another have no features of the present version of, or, ``again``, of all.

        Gives the numbers of some at a time, whose features are there then. ``as_avro`` makes load files of rows that are too old
        to be sent otherwise. Raises ``QueryError``, ``OSError``, ``RuntimeError`` and what the service's client raises.
        """

    @property
    @abc.abstractmethod
    def when_interrupted(self) -> str:
        """What is there when a run was interrupted, and what to do."""

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def known_surveys(tables: Collection[str]) -> list[Survey]:
    """The surveys that have a table of alerts among these."""
    return [survey for name, survey in SURVEYS.items() if f"{name}_alerts" in tables]
