"""Dead letters back through the graph of ``pipelines.ingest``, after a fix.

    broker replay --warehouse ./warehouse --stage decode

A letter that now passes becomes rows, with the source it always had, and is marked; one that fails again gets a newer row
in ``dead_letters``. ``dead_letters_open`` shows the newest row of those that are still dead.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from alerts.dead_letters import REPLAYED
from alerts.json_text import to_json
from alerts.times import now_after
from pipelines import ingest, logs, remote
from pipelines.errors import OptionsError
from pipelines.from_warehouse import check_warehouse, run_planned
from pipelines.help import help_text
from pipelines.job import Job
from pipelines.options import BrokerOptions, ReplayOptions, parse
from pipelines.sending import payload_of, send_refused
from pipelines.status import DONE, FAILED
from schemas.tables import DEAD_LETTERS
from streams.delivering import PUBLISH
from transforms.read_letters import ReadLetters, SavedLetter
from warehouses.units import STREAM, Unit
from warehouses.warehouse import Warehouse

_OWN_ATTRIBUTES = ("run_id", "letter", "records_lost", "offset_bytes")
"""What was noted of the failure, and not of the message: a replay notes it anew."""


def run(argv: Sequence[str]) -> int:
    """Run one replay with these command-line arguments; gives the exit status."""
    if "--help" in argv or "-h" in argv:
        print(help_text("broker replay"))
        return DONE
    with logs.to_stderr(logs.form_of(argv)):
        return _from_argv(argv)


def _from_argv(argv: Sequence[str]) -> int:
    def planned() -> tuple[Job, Callable[[], int]]:
        options = parse(argv, "broker replay")
        letters, job = plan(options)
        return job, lambda: _run(letters, job, options)

    return run_planned("broker replay", planned)


@dataclass(frozen=True)
class _Plan:
    packets: list[SavedLetter]
    hits: list[SavedLetter]
    """Messages that a receiver's side has refused: they are sent, and are no packets to be read."""
    refused: list[str]
    """Sources of rows that BigQuery refused: they are no packets."""
    without_payload: list[str]
    without_packet: list[str]
    """Sources of hits whose packets nobody has."""


def plan(options: PipelineOptions) -> tuple[_Plan, Job]:
    """The letters to replay, and the job that does it. Raises ``OptionsError``."""
    replay = options.view_as(ReplayOptions)
    check_warehouse(options.view_as(BrokerOptions).warehouse, "tables", lambda warehouse: warehouse.holds_tables())
    job = Job.to_replay(options)
    if job.progress_folder is None:
        raise OptionsError("--runner is given, but a replay runs on this machine, which has read the letters; leave it out")
    remote.check(job, options)
    with job.warehouse as warehouse:
        rows = [_with_payload(row, warehouse) for row in warehouse.open_letters(replay.stage, replay.max_letters)]
    saved = [_saved(row) for row in rows if row["payload"] is not None]
    return _Plan(
        packets=[letter for letter in saved if letter.stage not in ("write", PUBLISH)],
        hits=[letter for letter in saved if letter.stage == PUBLISH],
        refused=[letter.source for letter in saved if letter.stage == "write"],
        without_payload=[row["source"] for row in rows if row["payload"] is None and row["stage"] != PUBLISH],
        without_packet=[row["source"] for row in rows if row["payload"] is None and row["stage"] == PUBLISH],
    ), job


def _with_payload(row: dict[str, Any], warehouse: Warehouse) -> dict[str, Any]:
    """A letter with its bytes: of a message that is longer than letters are, with those that the outbox has."""
    if row["payload"] is not None or row["stage"] != PUBLISH:
        return row
    told = json.loads(row["attributes"] or "{}")
    return {**row, "payload": payload_of(warehouse, str(told.get("topic")), str(told.get("outbox_id")))}


def _saved(row: dict[str, Any]) -> SavedLetter:
    attributes = json.loads(row["attributes"] or "{}")
    others = {name: value for name, value in attributes.items() if name not in _OWN_ATTRIBUTES}
    return SavedLetter(
        str(attributes.get("letter", "")), row["stage"], row["source"], bytes(row["payload"]), others, row["failed_at"]
    )


def _run(letters: _Plan, job: Job, options: PipelineOptions) -> int:
    for source in sorted({*letters.without_payload, *letters.refused}):
        logs.warn("broker replay", f"{source} kept no packet; read it again with broker ingest", source=source)
    for source in letters.without_packet:
        told = f"{source} has no packet: keep what its format needs, or send json, and ask broker refilter --publish"
        logs.warn("broker replay", told, source=source)
    packets = letters.packets
    if letters.hits:
        sent = send_refused(job.warehouse.uri, letters.hits, options.view_as(ReplayOptions).publish_config, job.run_id)
        _mark(sent, job, "was sent in")
        print(f"sent {len(sent):,} of {len(letters.hits):,} hits that had been refused")
        if not packets:
            return DONE if len(sent) == len(letters.hits) else FAILED
    schemas, unit = options.view_as(BrokerOptions).schemas, _unit(packets)
    read = ReadLetters(packets, schemas, unit.key if unit else STREAM)
    job = job.reading(read, len(packets), (unit,) if unit else ())
    status, counts = ingest.run_counted(job, options)
    if counts.records_read == counts.alerts + counts.letters:
        with job.warehouse as warehouse:
            failed_again = warehouse.letters_of(job.run_id, job.started_at)
        passed = [packet for packet in packets if packet.letter not in failed_again]
        _mark(passed, job, "became rows in")
        print(f"replayed {len(packets):,} dead letters: {len(passed):,} passed, {len(packets) - len(passed):,} failed again")
    return status


def _mark(letters: Sequence[SavedLetter], job: Job, what: str) -> None:
    """Say of letters that they are none any more."""
    marks = pa.RecordBatch.from_pylist(_marks(letters, job.run_id, what), schema=DEAD_LETTERS.arrow_schema)
    job.warehouse.add(DEAD_LETTERS, marks, job.run_id)


def _unit(packets: Iterable[SavedLetter]) -> Unit | None:
    """What stands for letters that came from files: when one of these is ingested again, the replayed rows must go."""
    from_files = [packet for packet in packets if packet.published_at is None]
    inputs = set()
    for letter in from_files:
        parts = letter.source.split("#")
        # Any of them may be the file: names have this sign too.
        inputs |= {"#".join(parts[: count + 1]) for count in range(len(parts))}
    letters = sorted((from_file.letter, from_file.source) for from_file in from_files)
    return Unit(tuple(sorted(inputs)), *zip(*letters, strict=True)) if letters else None


def _marks(passed: Iterable[SavedLetter], run_id: str, what: str) -> list[dict[str, Any]]:
    """Rows of ``dead_letters`` that say of letters what has become of them."""
    return [
        {
            "stage": REPLAYED,
            "error_type": "",
            "message": f"{what} run {run_id}",
            "survey": None,
            "source": letter.source,
            "payload": None,
            "attributes": to_json({"run_id": run_id, "letter": letter.letter}),
            # The newest row of a letter counts.
            "failed_at": now_after(letter.failed_at),
        }
        for letter in passed
    ]
