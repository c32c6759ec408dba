"""What everybody may know of alerts: those of which all is public, and others without what of their histories is not.

Filters are asked about the latter once more, as if the survey had sent them so: histories cut, and all that is made of them, such
as features, made anew.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.avro.decode import decode
from alerts.avro.layout import Projection
from alerts.features.table import rows_of
from alerts.filters import verdicts
from alerts.filters.filter_set import Compiled
from alerts.filters.running import Running
from alerts.surveys import Survey, survey
from alerts.surveys.public import Mask, PublicPrograms, public_but_for_histories, public_part, public_rows
from schemas import Table
from schemas.filter_tables import PASSED
from schemas.tables import CUTOUTS
from streams.outbox_rows import InPublic, JudgedAlerts
from transforms.elements import AlertBatch
from transforms.notes import note_withheld

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class PublicJudge:
    """Filters of one survey's alerts, asked about what is public of them."""

    compiled: Compiled
    running: Running
    """Its own: what it takes beside is no reason to put a filter aside that does its work."""
    run_id: str

    def ask(
        self, batch: AlertBatch, asked: JudgedAlerts, names: Collection[str], *, every: bool, of_runs: bool = False
    ) -> InPublic:
        """What is public of a batch's alerts; ``asked``: they as a whole, by the filters of these names.

        ``every``: whether each of them is wanted, and not those alone that a filter passes. ``of_runs``: whether features may be
        another run's than the row, which has kept no histories, and shows them as empty. Never raises: of what cannot be
        judged nothing is public.
        """
        whole = np.zeros(asked.alerts.num_rows, np.bool_)
        try:
            facts = survey(batch.survey)
            numbers, rows = _with_histories(batch, asked, facts, every)
            found = public_rows(rows, facts)
            mixed = np.zeros(len(found), np.bool_) if found.all() else public_but_for_histories(rows, facts) & ~found
            if unknown := _without_history(rows, facts):
                # What their features were made of was not kept.
                found[unknown], mixed[unknown] = False, False
            if of_runs:
                # Features of a history that is not here are made anew of what is.
                emptied = _emptied(rows, facts)
                found, mixed = found & ~emptied, mixed | (found & emptied)
            whole[numbers] = found
            if not mixed.any():
                return InPublic(whole)
            part = public_part(rows.filter(pa.array(mixed)), facts)
            # With the columns that the filters have been asked about, and no others.
            alerts = part.rows.select([name for name in part.rows.schema.names if name in asked.alerts.schema.names])
            said = self._said(replace(batch, rows=alerts), names, whole.size)
            packets = numbers[mixed].tolist()
            return InPublic(
                whole, JudgedAlerts(alerts, said, lambda number, form: asked.packet_of(packets[number], form)), part.kept
            )
        except Exception as error:  # it is a second look at what has its verdict
            note_withheld(batch.survey, [f"what is public of them cannot be judged: {type(error).__name__}: {error}"])
            return InPublic(whole)

    def _said(self, batch: AlertBatch, names: Collection[str], among: int) -> pa.RecordBatch:
        """Rows of ``verdicts`` about alerts whose histories were cut, of so many that were asked about."""
        batch, reasons = _with_features(batch, self.run_id)
        found = self.running.judge(row_of(batch), names, among=among)
        if stopped := {name: why for name, why in self.running.put_aside.items() if name in names and name not in found}:
            note_withheld(
                batch.survey, [f"filter {name} is not asked about what is public: {why}" for name, why in stopped.items()]
            )
        found = {name: said.failing(reasons) for name, said in found.items()}
        return verdicts.verdict_rows(batch.rows, found, self.compiled, self.run_id)


def _with_histories(batch: AlertBatch, asked: JudgedAlerts, facts: Survey, every: bool) -> tuple[Numbers, pa.RecordBatch]:
    """Rows that tell what of their histories is public, and which of the batch's they are; without stamps.

    A run that writes no histories has none in its rows: of the alerts that are wanted the packets are asked. A warehouse without
    histories has no packets with them either.
    """
    rows = without_stamps(asked.alerts)
    lacks = [column.name for column in facts.histories if column.name not in rows.schema.names]
    if not (lacks and batch.packets and isinstance(facts.public, PublicPrograms)):
        return np.arange(rows.num_rows), rows
    passed = {bytes(row["packet_digest"]) for row in asked.said.to_pylist() if row["status"] == PASSED}
    digests = [bytes(digest) for digest in rows.column("packet_digest").to_pylist()]
    wanted = [number for number, digest in enumerate(digests) if every or digest in passed]
    if not wanted:
        return np.zeros(0, np.int64), rows.slice(0, 0)
    packets = [asked.packet_of(number, "packet") for number in wanted]
    read = decode(packets, survey=facts, want=Projection(stamps=False)).rows[facts.name]
    places = {bytes(digest): place for place, digest in enumerate(read.column("packet_digest").to_pylist())}
    found = read.take(pa.array([places[digests[number]] for number in wanted]))
    own = rows.take(pa.array(wanted))
    for name in lacks:
        own = own.append_column(found.schema.field(name), found.column(name))
    return np.array(wanted), own


def _without_history(rows: pa.RecordBatch, facts: Survey) -> list[int]:
    """Rows of a warehouse with features, and without all of the history that says whether they are public."""
    if "features" not in rows.schema.names or not isinstance(facts.public, PublicPrograms):
        return []
    held = [rows.column(column.name) for column in facts.histories if column.name in rows.schema.names]
    if len(held) < len(facts.histories):
        return list(range(rows.num_rows))
    return sorted({int(number) for column in held for number in np.flatnonzero(np.asarray(column.is_null()))})


def _emptied(rows: pa.RecordBatch, facts: Survey) -> Mask:
    """Rows with features, of a survey that tells by its histories what is public, whose histories are all empty."""
    if "features" not in rows.schema.names or not isinstance(facts.public, PublicPrograms):
        return np.zeros(rows.num_rows, np.bool_)
    items = [pc.list_value_length(rows.column(column.name)).fill_null(0) for column in facts.histories]
    return np.asarray(sum(np.asarray(each) for each in items) == 0)


def _with_features(batch: AlertBatch, run_id: str) -> tuple[AlertBatch, dict[int, str]]:
    """The batch with features of its own rows where it had any, and why there are none of some of them."""
    is_column = "features" in batch.rows.schema.names
    if batch.features is None and not is_column:
        return batch, {}
    facts = survey(batch.survey)
    made = rows_of(_as_table(batch.rows, facts.alerts_table), facts, run_id)
    if made is None:
        return replace(batch, features=None), {}
    ids = batch.rows.column("alert_id").to_pylist()
    failed = {failure.alert_id: failure.problem for failure in made.failures}
    reasons = {number: f"it has no features: {failed[alert_id]}" for number, alert_id in enumerate(ids) if alert_id in failed}
    rows = batch.rows.drop_columns(["features"]) if is_column else batch.rows
    return replace(batch, rows=rows, features=made.rows), reasons


def _as_table(rows: pa.RecordBatch, table: Table) -> pa.RecordBatch:
    """The columns of a table as it declares them: engines give times, and parts of records, in types of their own."""
    for number, name in enumerate(rows.schema.names):
        column = table.by_name.get(name)
        if column is not None and not rows.column(number).type.equals(column.arrow.type):
            rows = rows.set_column(number, column.arrow, rows.column(number).cast(column.arrow.type))
    return rows


def without_stamps(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The alerts' rows as tables have them."""
    stamps = [role for role in CUTOUTS if role in rows.schema.names]
    return rows.drop_columns(stamps) if stamps else rows


def row_of(batch: AlertBatch) -> pa.RecordBatch:
    """The row that filters ask about: the alert's own columns, without its stamps, and its features."""
    rows = without_stamps(batch.rows)
    return rows if batch.features is None else rows.append_column("features", batch.features.column("features"))
