"""A writer to default streams that can be killed: ``python -m tests.faults.append_child ARCHIVE PROJECT DATASET DONE``.

As a runner does a bundle: batch after batch of the archive, each noted in the file ``DONE`` when BigQuery has acknowledged it.
Those that are noted are left out; a batch that was on its way when the writer died is written again.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pyarrow as pa

from alerts.avro.decode import decode
from alerts.avro.inputs import in_batches, read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.dead_letters import dead_letter_rows
from alerts.errors import DeadLetter
from alerts.surveys import survey
from schemas import Table
from schemas.tables import DEAD_LETTERS
from transforms.load_files import avro_file
from warehouses.bigquery.append import RetryTimes
from warehouses.bigquery.writing import AtOnce, Connected, Rows


def main(archive: Path, project: str, dataset: str, done: Path) -> None:
    importlib.import_module("tests.emulators.worker")
    table, connected = survey("ztf").alerts_table, Connected(project, dataset, patience=RetryTimes(first_delay_secs=0.05))
    with archive.open("rb") as file:
        items = list(read_input(file, str(archive), WireSchemas()))
    packets = [item for item in items if isinstance(item, Packet)]
    letters = [item for item in items if isinstance(item, DeadLetter)]
    written = len(done.read_text().split()) if done.exists() else 0
    with done.open("a") as notes:
        for number, batch in enumerate(in_batches(packets, 50, 16 * 2**20)):
            decoded = decode(batch, run_id="run")
            letters += decoded.failures
            if number >= written:
                write(connected, table, decoded.rows["ztf"].select(table.arrow_schema.names))
                notes.write(f"{number}\n")
                notes.flush()
    write(connected, DEAD_LETTERS, dead_letter_rows(letters, "run"))
    connected.close()


def write(connected: Connected, table: Table, rows: pa.RecordBatch) -> None:
    """Until BigQuery has them."""
    assert AtOnce(connected, avro_file).add([Rows(table.name, "", rows)]) == [[]]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]))
