"""CPU per alert of the ways into BigQuery, behind the same decoded batches, with servers that only say yes.

    python -m benchmarks.sinks

A sink's CPU is this process's, all threads: a job of many batches less one of few, and less the same without a sink. The client
alone, by TLS as to Google, is held against Arrow's serialization of the same batches and a plain TLS socket that takes it.
"""

from __future__ import annotations

import functools
import socket
import ssl
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import apache_beam as beam
import grpc
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from alerts.avro.decode import decode
from alerts.avro.inputs import in_batches
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import survey
from benchmarks import held
from benchmarks.apart import apart
from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import LSST_REAL, ZTF_RECENT, Sample, real
from benchmarks.tables import MarkdownTable
from benchmarks.yes_servers import YesServers, running
from tests.emulators import settings
from transforms.elements import TableBatch
from transforms.read import BATCH_BYTES, BATCH_PACKETS
from transforms.table_rows import tables_of_alerts
from transforms.write_tables import SinkSettings, sink_of
from warehouses.bigquery.append import Appender
from warehouses.bigquery.append_requests import joined

PACKETS = 256
ROUNDS = 3
SINKS = {"no sink": (1, 21), "storage_write": (1, 21), "file_loads: its files": (1, 11), "streaming_inserts": (1, 4)}
"""By sink, how often a small and a large job get the batches."""
_PROJECT = "yes-to-all-of-it"
_ARROW, _SOCKET, _BY_TLS = "Arrow's serialization", "a plain TLS socket for these bytes", "AppendRows by TLS"
OF_INSERTS, OF_ARROW = "streaming_inserts / storage_write", "by TLS / serialization and a plain TLS socket"
"""The names of the ratios."""
LEAST_OF_INSERTS, MOST_OF_ARROW = 100.0, 2.0
"""The goals: times of ``streaming_inserts``, and of Arrow's serialization with TLS."""


def sinks() -> Iterator[MarkdownTable]:
    """A table of Beam's jobs, and one of the client alone; a column for each real night that is on this machine."""
    samples = [sample for sample in real() if sample.name in (ZTF_RECENT, LSST_REAL)]
    names = [sample.name for sample in samples]
    in_beam = MarkdownTable("Sinks of BigQuery in Beam, µs of CPU per alert", ["sink", *names])
    alone = MarkdownTable("The Storage Write API without Beam, µs of CPU per alert", ["part", *names])
    if not samples:
        in_beam.notes.append("Not measured: no real packets on this machine.")
        yield in_beam
        return
    with running() as servers:
        of_beam = {sample.name: apart(of_sinks, sample, servers) for sample in samples}
        of_client = {sample.name: apart(of_the_client, sample, servers) for sample in samples}
    for sink in [*SINKS, OF_INSERTS]:
        in_beam.add_row({"sink": sink, **{name: of_beam[name][sink] for name in names}})
    in_beam.notes.append(f"Goal: streaming_inserts takes at least {LEAST_OF_INSERTS:g} times as much as storage_write.")
    for part in next(iter(of_client.values())):
        alone.add_row({"part": part, **{name: of_client[name][part] for name in names}})
    alone.notes.append(f"Goal: by TLS at most {MOST_OF_ARROW:g} times serialization and a plain TLS socket.")
    yield in_beam
    yield alone


def batches_of(sample: Sample, packets: int = PACKETS) -> list[TableBatch]:
    """Decoded batches as the pipeline makes them: rows of both tables."""
    found = []
    for data in sample.packets(packets):
        found += [packet for packet in open_packets(data, "night.tar.gz#1.avro", WireSchemas()) if isinstance(packet, Packet)]
    facts_of = survey(sample.survey)
    return [
        TableBatch(table.name, "u", rows.select(table.arrow_schema.names))
        for some in in_batches(found, BATCH_PACKETS, BATCH_BYTES)
        for rows in [decode(some, survey=None, run_id="bench").rows[sample.survey]]
        for table in (facts_of.alerts_table, facts_of.cutouts_table)
    ]


def _alerts(sample: Sample, batches: Sequence[TableBatch]) -> int:
    alerts = survey(sample.survey).alerts_table.name
    return sum(batch.rows.num_rows for batch in batches if batch.table == alerts)


def of_sinks(
    sample: Sample, servers: YesServers, jobs: Mapping[str, tuple[int, int]] = SINKS, rounds: int = ROUNDS, packets: int = PACKETS
) -> dict[str, float]:
    """µs per alert by sink, without what the job takes that has none; ``jobs`` are as in ``SINKS``."""
    held.BATCHES[:] = batches_of(sample, packets)
    alerts = _alerts(sample, held.BATCHES)
    nobody = "127.0.0.1:1"
    variables = settings.environment(
        project=_PROJECT, storage=nobody, bigquery=servers.http, bigquery_read=nobody, bigquery_write=servers.grpc
    )
    found = {}
    with settings.point_clients(variables):
        for name, (few, many) in jobs.items():
            job = functools.partial(_job, name, sample.survey)
            job(1)
            some = [(job(many) - job(few)) / ((many - few) * alerts) * 1e6 for _ in range(rounds)]
            found[name] = statistics.median(some)
    found = {name: us if name == "no sink" else us - found["no sink"] for name, us in found.items()}
    found[OF_INSERTS] = found["streaming_inserts"] / found["storage_write"]
    return found


def _job(sink: str, name: str, times: int) -> float:
    """CPU seconds of one job that gets the batches so often."""
    begin = time.process_time()
    with beam.Pipeline(runner="FnApiRunner", options=PipelineOptions([])) as pipeline:
        numbers = pipeline | beam.Create(range(times * len(held.BATCHES)), reshuffle=False)
        rows = numbers | "Held" >> beam.ParDo(held.Give()).with_output_types(TableBatch)
        if sink == "no sink":
            _ = rows | "Nothing" >> beam.Map(_nothing)
        elif sink == "file_loads: its files":
            _ = rows | "Files" >> beam.Map(held.as_file)
        else:
            tables = tables_of_alerts([name], held.EVERYTHING, features=False)
            # As a stream writes: at least once.
            to = SinkSettings(f"bigquery://{_PROJECT}/alerts", sink, "bench", tables, (name,), every_secs=60)
            _ = sink_of(to).expand({"AlertRows": rows})
    return time.process_time() - begin


def _nothing(_: TableBatch) -> None:
    return None


def of_the_client(sample: Sample, servers: YesServers, rounds: int = ROUNDS, packets: int = PACKETS) -> dict[str, float]:
    """µs per alert of the client's parts, each whole batches again and again."""
    batches = batches_of(sample, packets)
    alerts, times = _alerts(sample, batches), 10
    work = [(f"projects/{_PROJECT}/datasets/alerts/tables/{batch.table}", batch.rows) for batch in batches] * times
    together = _joined(work)
    sent = [rows.serialize() for _, rows in together]
    options = [("grpc.max_send_message_length", -1)]
    trust = grpc.ssl_channel_credentials(servers.certificate)
    with (
        grpc.insecure_channel(servers.grpc, options) as plain,
        grpc.secure_channel(servers.grpc_tls, trust, options) as secure,
    ):
        parts = {
            _ARROW: functools.partial(_serialize, together),
            _SOCKET: functools.partial(_by_tls, sent, servers),
            "AppendRows": functools.partial(_append, Appender(plain), together),
            _BY_TLS: functools.partial(_append, Appender(secure), together),
        }
        # In turns, so that what else the machine does meets all of them; the first time not everything is there.
        turns = [{name: _us(part, alerts * times) for name, part in parts.items()} for _ in range(rounds + 1)][1:]
    found = {name: statistics.median(turn[name] for turn in turns) for name in parts}
    found[OF_ARROW] = statistics.median(turn[_BY_TLS] / (turn[_ARROW] + turn[_SOCKET]) for turn in turns)
    return found


def _joined(work: Sequence[tuple[str, pa.RecordBatch]]) -> list[tuple[str, pa.RecordBatch]]:
    """Each table's rows together, as the sink gives them to the client."""
    by_table: dict[str, list[pa.RecordBatch]] = {}
    for table, rows in work:
        by_table.setdefault(table, []).append(rows)
    return [(table, rows) for table, some in by_table.items() for rows in joined(some)]


def _us(work: Callable[[], None], alerts: int) -> float:
    begin = time.process_time()
    work()
    return (time.process_time() - begin) / alerts * 1e6


def _serialize(work: Sequence[tuple[str, pa.RecordBatch]]) -> None:
    for _, rows in work:
        rows.serialize()


def _append(appender: Appender, work: Sequence[tuple[str, pa.RecordBatch]]) -> None:
    for begin in range(0, len(work), 4):
        if any(appender.append(work[begin : begin + 4])):
            raise RuntimeError("a server that says yes has refused a row")


def _by_tls(messages: Sequence[pa.Buffer], servers: YesServers) -> None:
    """Send messages through a TLS socket to a process that reads them."""
    context = ssl.create_default_context(cadata=servers.certificate.decode())
    host, _, port = servers.tls.partition(":")
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
        for message in messages:
            tls.sendall(memoryview(message))


def main() -> int:
    """Measure and print; gives the exit status."""
    print(f"{sentence(facts())}\n")
    for table in sinks():
        print(f"{table.to_markdown()}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
