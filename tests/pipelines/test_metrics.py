"""What a run tells of itself while it works: every metric, held to the tables and to what was read."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
import pytest
from apache_beam.coders import PickleCoder
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.testing import test_stream

from alerts.avro.packets import wrap_in_container
from alerts.avro.wire_schemas import writer_schema
from pipelines import ingest
from pipelines.job import Job
from pipelines.options import parse
from simulation.catalog_server.server import CatalogServer
from tests.alerts.making import ZTF_SCHEMA, as_text, container, datum, lsst_record, tar_of, wire_message, ztf_packet, ztf_record
from tests.crossmatching import ALLWISE, as_allwise
from tests.nights import ask, run, simulated, truth
from transforms import metrics
from transforms.metrics import METRICS, OTHERS, Counter, Distribution, Totals, totals
from transforms.read_pubsub import _Open

OWN = tuple(f"{survey}_{what}" for survey in ("lsst", "ztf") for what in ("alerts", "cutouts", "features"))
NEWER = copy.deepcopy(ZTF_SCHEMA)
NEWER["fields"].append({"name": "of_tomorrow", "type": "int"})


def special() -> dict[str, bytes]:
    """Packets of all that a metric may have to tell: 8 records, of which 2 are dead letters, and a side file."""
    left_over = datum(ztf_record(60), ZTF_SCHEMA) + b"left"
    return {
        "1.avro": ztf_packet(10),
        "2.avro": ztf_packet(20, ra=float("nan")),
        "3.avro": ztf_packet(30, dec=-91.0),
        "4.avro": container([ztf_record(40) | {"of_tomorrow": 1}], NEWER),
        "5.avro": container([ztf_record(50) | {"of_tomorrow": 2}], NEWER),
        "6.avro": wrap_in_container(writer_schema(as_text(ZTF_SCHEMA)), left_over),
        "7.avro": b"<html>try again later</html>",
        "8.avro": wire_message(lsst_record(80), 1000),
        ".hidden": b"",
    }


DATUMS = [
    *(len(datum(ztf_record(number), ZTF_SCHEMA)) for number in (10, 20, 30, 60)),
    4,
    *(len(datum(ztf_record(number) | {"of_tomorrow": 1}, NEWER)) for number in (40, 50)),
    len(wire_message(lsst_record(80), 1000)) - 5,
]
"""Avro bytes of the packets of ``special``; four are left over behind one of them."""


def told_by(*argv: str) -> Totals:
    options = parse(argv)
    job = Job.from_options(options)
    try:
        return totals(ingest.run_to_its_end(job, options))
    finally:
        job.clean_up()


def test_names_are_told_apart_and_all_are_in_the_list() -> None:
    names = [one.name for one in METRICS]
    assert len({*names}) == len(names)
    assert all(one.unit and one.meaning for one in METRICS)
    assert {id(one) for one in METRICS} == {id(one) for one in vars(metrics).values() if isinstance(one, (Counter, Distribution))}


def test_a_night_with_a_service_tells_every_metric_as_the_tables_have_it(tmp_path: Path) -> None:
    night = simulated(tmp_path / "night", "--alerts", "300", "--duplicates", "7", "--damaged", "9", "--seed", "8")
    made = tmp_path / "special.tar"
    made.write_bytes(tar_of(special()))
    w = tmp_path / "w"
    with CatalogServer({"II/328/allwise": as_allwise(pq.read_table(night / "catalog.parquet"))}) as server:
        place = ["--warehouse", str(w), "--crossmatch", ALLWISE, "--crossmatch", f"file:{night / 'catalog.parquet'}"]
        told = told_by("--input", str(night), "--input", str(made), *place, "--crossmatch_url", server.url)
        calls, positions = len(server.calls), server.positions_asked
    records = len(truth(night)) + 8
    assert told.total(metrics.RECORDS_READ) == records == 324
    assert told.total(metrics.INPUTS_SKIPPED) == 1
    letters = dict(ask(w, "SELECT stage, count(*) FROM dead_letters GROUP BY 1"))
    assert told.by_label(metrics.LETTERS) == letters
    assert sum(letters.values()) == 9 + 2
    batches = told.spreads(metrics.BATCH_PACKETS)[""]
    # What could be read went on to be decoded.
    assert batches.sum == records - letters["read"]
    assert 1 <= batches.min <= batches.max <= 256
    assert batches.count >= 3
    assert told.by_label(metrics.ALERTS_DECODED) == {
        survey: ask(w, f"SELECT count(*) FROM {survey}_alerts")[0][0] for survey in ("lsst", "ztf")
    }
    assert told.by_label(metrics.UNKNOWN_FIELD) == {"ztf: of_tomorrow": 2}
    assert told.by_label(metrics.OFF_THE_SKY) == {"ztf": 2}
    # Those with a field that we do not know, and the one with bytes left over; an alert without a time is read at once.
    assert told.by_label(metrics.ONE_BY_ONE) == {"ztf": 3}
    assert letters["decode"] == 2
    assert told.by_label(metrics.ROWS_WRITTEN) == {
        table: ask(w, f"SELECT count(*) FROM {table}")[0][0] for table in ("crossmatches", "dead_letters", *OWN)
    }
    for survey, age in told.spreads(metrics.OBSERVED_AGE_SECS).items():
        [(oldest,)] = ask(w, f"SELECT max(epoch(ingested_at) - epoch(observed_at)) FROM {survey}_alerts")
        assert age.max == pytest.approx(oldest, abs=1.0), survey
    assert told.spreads(metrics.OBSERVED_AGE_SECS).keys() == {"ztf", "lsst"}
    assert told.spreads(metrics.PUBLISHED_AGE_SECS) == {}, "files are not published"
    for metric, status in ((metrics.MATCHED, "matched"), (metrics.NO_MATCH, "no_match")):
        by_catalog = f"SELECT catalog, count(*) FROM crossmatches WHERE status = '{status}' GROUP BY 1"
        assert told.by_label(metric) == dict(ask(w, by_catalog)), status
        assert ALLWISE in told.by_label(metric)
    assert told.by_label(metrics.FAILED) == {}
    asked = told.spreads(metrics.CALL_MS)[ALLWISE]
    assert asked.count == calls
    assert 0 <= asked.min <= asked.max <= asked.sum <= 60_000 * calls
    # The service is asked about a source that it must have, besides.
    sent = told.spreads(metrics.CALL_POSITIONS)[ALLWISE]
    assert sent.sum <= positions <= sent.sum + calls
    [(alerts,)] = ask(w, f"SELECT count(*) FROM crossmatches WHERE catalog = '{ALLWISE}'")
    assert sent.sum + told.by_label(metrics.CACHE_HITS)[ALLWISE] == alerts


def test_bytes_are_those_of_the_datums(tmp_path: Path) -> None:
    made = tmp_path / "special.tar"
    made.write_bytes(tar_of(special()))
    told = told_by("--input", str(made), "--warehouse", str(tmp_path / "w"))
    assert told.total(metrics.BYTES_READ) == sum(DATUMS)


def test_a_catalog_that_is_away_is_told_of(tmp_path: Path) -> None:
    place = ["--warehouse", str(tmp_path), "--crossmatch", "vizier:X/1/sim", "--crossmatch_url", "http://127.0.0.1:9/sync"]
    made = tmp_path / "one.avro"
    made.write_bytes(ztf_packet(1))
    told = told_by("--input", str(made), *place)
    assert told.by_label(metrics.FAILED) == {"vizier:X/1/sim": 1}
    assert told.spreads(metrics.CALL_MS)["vizier:X/1/sim"].count >= 1


@dataclass
class Messages(beam.PTransform):
    """Messages into the very step that opens those of Pub/Sub; ``TestStream`` lets a minute pass behind them."""

    messages: list[PubsubMessage]
    as_stream: bool

    def expand(self, begin):
        stream = test_stream.TestStream(coder=PickleCoder(), output_tags={None}).add_elements(self.messages)
        source = stream.advance_processing_time(60).advance_watermark_to_infinity()
        messages = begin | "Messages" >> (source if self.as_stream else beam.Create(self.messages))
        return messages | "Open" >> beam.ParDo(_Open(None)).with_outputs("dead_letters", main="packets")


@pytest.mark.parametrize("as_stream", [True, False])
def test_a_stream_tells_when_its_alerts_were_published(tmp_path: Path, as_stream: bool) -> None:
    """Under ``TestStream`` (panes in place of one commit), and by the portable runner, whose metrics are those of Dataflow.

    All in one bundle: of a step's further bundles Beam's runner for streams on one machine forgets the metrics.
    """
    published = datetime.now(timezone.utc) - timedelta(seconds=500)
    data = [one for name, one in special().items() if name != ".hidden"]
    messages = [
        PubsubMessage(one, {"candid": str(number)}, str(number), publish_time=published - timedelta(seconds=number))
        for number, one in enumerate(data)
    ]
    stream = ["--subscription", "projects/testproj/subscriptions/alerts"] if as_stream else []
    options = parse([*stream, "--warehouse", str(tmp_path)])
    job = Job.from_options(options) if as_stream else Job.to_replay(options)
    job = replace(job, read=Messages(messages, as_stream))
    told = totals(ingest.run_to_its_end(job, options))
    job.clean_up()
    assert told.total(metrics.RECORDS_READ) == 8
    assert told.total(metrics.BYTES_READ) == sum(DATUMS)
    assert told.by_label(metrics.INPUTS_SKIPPED) == {}
    batches = told.spreads(metrics.BATCH_PACKETS)[""]
    assert (batches.sum, batches.count, batches.max) == (7, 1, 7)
    assert told.by_label(metrics.ALERTS_DECODED) == {"lsst": 1, "ztf": 5}
    assert told.by_label(metrics.LETTERS) == {"decode": 1, "read": 1}
    assert told.by_label(metrics.ONE_BY_ONE) == {"ztf": 3}
    assert told.by_label(metrics.ROWS_WRITTEN) == {
        table: ask(tmp_path, f"SELECT count(*) FROM {table}")[0][0] for table in ("dead_letters", *OWN)
    }
    # The oldest of the batch: message 4 is the last of ZTF that is an alert, message 7 that of LSST.
    ages = told.spreads(metrics.PUBLISHED_AGE_SECS)
    assert {survey: age.count for survey, age in ages.items()} == {"ztf": 1, "lsst": 1}
    assert 504 <= ages["ztf"].max <= 504 + 120
    assert ages["lsst"].max == ages["ztf"].max + 3
    assert told.spreads(metrics.OBSERVED_AGE_SECS).keys() == {"ztf", "lsst"}


def test_a_packet_cannot_make_as_many_metrics_as_it_likes() -> None:
    metric = Counter("made_for_a_test", "packets", "none", "field", most_labels=3)
    names = [metric.full_name(f"field {number}") for number in (1, 2, 3, 4, 5, 1)]
    assert names[3:5] == [f"made_for_a_test {OTHERS}"] * 2
    assert names[5] == names[0] == "made_for_a_test field 1"
    assert len(Counter("other", "packets", "none", "field").full_name("x" * 5000)) < 300


def test_the_account_has_what_the_metrics_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "special.tar"
    made.write_bytes(tar_of(special()))
    assert run(tmp_path / "w", made) == 0
    out = capsys.readouterr().out
    assert "2 ztf alerts have a position that is no place on the sky" in out
    assert "went into extra: ztf: of_tomorrow (2)" in out
    assert "1 inputs that are no alerts skipped" in out
