"""``pittgoogle-client``, as it is published, pulls hits from Pub/Sub and reads them by its own maps of ZTF's fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import told_by
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud
from tests.kafka.test_clients import SOME, record
from tests.nights import ask, run, simulated

PROGRAM = str(Path(__file__).with_name("pittgoogle_program.py"))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "40", "--seed", "4", "--archive", "folder")


def test_it_reads_lite_of_ztf(pubsub: Cloud, night: Path, tmp_path: Path) -> None:
    topic = Topic(pubsub.project)
    (tmp_path / "some.sql").write_text(SOME.format("ztf"))
    flags = ("--filters", str(tmp_path), "--no_cutouts", "--publish", f"pubsub:{topic.name}")
    assert run(tmp_path / "w", night, flags=flags) == 0
    packets = {}
    for path in night.rglob("*.avro"):
        packet = record(path.read_bytes())
        packets[packet["candid"]] = packet
    cells = dict(ask(tmp_path / "w", "SELECT alert_id, healpix29 >> 40 FROM ztf_alerts"))
    hits = {row[0] for row in ask(tmp_path / "w", "SELECT alert_id FROM verdicts WHERE status = 'passed'")}
    name = topic.subscriptions[0].rpartition("/")[2]
    came = told_by(PROGRAM, pubsub.project, name, "ztf", str(len(hits)), environment=pubsub.variables)
    assert {each["sourceid"] for each in came} == hits
    for each in came:
        packet = packets[each["sourceid"]]
        own, attributes = packet["candidate"], each["attributes"]
        assert each["objectid"] == packet["objectId"]
        assert (each["mag"], each["rows"], each["stamp"]) == (own["magpsf"], 1 + len(packet["prv_candidates"] or ()), None)
        assert (attributes["alert_id"], attributes["filter"]) == (str(each["sourceid"]), "some")
        assert int(attributes["healpix9"]) == cells[each["sourceid"]]
