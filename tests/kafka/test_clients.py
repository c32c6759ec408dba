"""Clients that nobody has changed read our streams: ``kcat`` with plain fastavro, and Rubin's own for LSST."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fastavro
import pytest

from tests.clients import told_by
from tests.kafka.topics import TestTopics
from tests.nights import ask, run, simulated, truth

ALERTS = 40
SOME = "-- surveys: {0}\nSELECT alert_id AS number, 'a, b=c' AS text FROM alerts WHERE MOD(alert_id, 3) < 2\n"
STAMPS = ("cutoutDifference", "cutoutScience", "cutoutTemplate")
_HEADERS = ("id", "survey", "alert_id", "object_id", "object_kind", "filter", "filter_version", "columns", "healpix9")
_HEADERS += ("observed_at", "published_at", "passed_at", "replay", "columns_truncated")
_HEADER = re.compile(rf"(?:^|,)({'|'.join(_HEADERS)})=")


@dataclass(frozen=True)
class Consumed:
    """A message as ``kcat`` gives it."""

    key: str
    headers: dict[str, str]
    value: bytes


def kcat(servers: str, topic: str) -> list[Consumed]:
    """All messages of a topic; what stands before each value says how many bytes that has."""
    if shutil.which("kcat") is None:
        pytest.skip("no kcat: install it (Debian: kcat)")
    words = ["kcat", "-b", servers, "-t", topic, "-C", "-e", "-q", "-o", "beginning", "-f", r"%k\n%h\n%S\n%s"]
    done = subprocess.run(words, capture_output=True, timeout=60, check=True)
    return list(_parted(io.BytesIO(done.stdout)))


def _parted(output: io.BytesIO) -> Iterator[Consumed]:
    while key := output.readline():
        _, *found = _HEADER.split(output.readline().rstrip(b"\n").decode())
        headers = dict(zip(found[::2], found[1::2], strict=True))
        yield Consumed(key.rstrip(b"\n").decode(), headers, output.read(int(output.readline())))


@dataclass(frozen=True)
class Sent:
    """A night of which a filter's hits were sent."""

    survey: str
    night: Path
    warehouse: Path
    topic: str

    @property
    def hits(self) -> set[int]:
        """The alerts that the filter has passed."""
        return {row[0] for row in ask(self.warehouse, "SELECT alert_id FROM verdicts WHERE status = 'passed'")}


@pytest.fixture(scope="module", params=["ztf", "lsst"])
def sent(request: pytest.FixtureRequest, kafka: TestTopics, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    place, name = tmp_path_factory.mktemp(request.param), kafka.name("clients")
    night = simulated(place / "night", "--survey", request.param, "--alerts", str(ALERTS), "--seed", "4", "--archive", "folder")
    (place / "some.sql").write_text(SOME.format(request.param))
    flags = ("--filters", str(place), "--no_cutouts", "--publish", f"kafka:{kafka.servers}/{name}-{{survey}}")
    assert run(place / "w", night, flags=flags) == 0
    return Sent(request.param, night, place / "w", f"{name}-{request.param}")


def record(data: bytes) -> dict:
    """The one record of a container, by plain fastavro."""
    (found,) = fastavro.reader(io.BytesIO(data))
    return found


def test_kcat_and_fastavro_read_what_the_survey_has_sent(kafka: TestTopics, sent: Sent) -> None:
    packets = {}
    for path in sent.night.rglob("*.avro"):
        packet = record(path.read_bytes())
        packets[packet["candid" if sent.survey == "ztf" else "diaSourceId"]] = packet
    came = kcat(kafka.servers, sent.topic)
    assert {int(message.headers["alert_id"]) for message in came} == sent.hits
    assert len(came) == len(sent.hits) > ALERTS // 3
    for message in came:
        packet = packets[int(message.headers["alert_id"])]
        assert record(message.value) == {**packet, **dict.fromkeys(STAMPS)}
        assert packet["cutoutScience"] is not None


def test_kcat_shows_keys_and_headers_as_promised(kafka: TestTopics, sent: Sent) -> None:
    told = {each["alert_id"]: each for each in truth(sent.night)}
    came = kcat(kafka.servers, sent.topic)
    assert len({message.headers["id"] for message in came}) == len(came)
    for message in came:
        headers = message.headers
        assert {*_HEADERS} - headers.keys() <= {"columns_truncated", "published_at", "object_id", "object_kind", "replay"}
        assert re.fullmatch("[0-9a-f]{32}", headers["id"])
        assert (headers["survey"], headers["filter"]) == (sent.survey, "some")
        assert json.loads(headers["columns"]) == {"number": headers["alert_id"], "text": "a, b=c"}
        known = "object_id" in headers
        kind = headers.get("object_kind", "object")
        assert message.key == (f"{kind}:{headers['object_id']}" if known else f"alert:{headers['alert_id']}")
        assert (
            headers.get("object_id", told[int(headers["alert_id"])]["object_id"]) == told[int(headers["alert_id"])]["object_id"]
        )


@pytest.mark.parametrize("sent", ["lsst"], indirect=True)
def test_rubins_own_client_reads_lite(kafka: TestTopics, sent: Sent, tmp_path: Path) -> None:
    values = {message.headers["alert_id"]: message.value for message in kcat(kafka.servers, sent.topic)}
    for name, value in values.items():
        (tmp_path / f"{name}.avro").write_bytes(value)
    program = str(Path(__file__).with_name("lsst_program.py"))
    came = told_by(program, *map(str, sorted(tmp_path.glob("*.avro"))))
    assert {each["id"] for each in came} == values.keys()
    for each in came:
        assert each["flux"] == record(values[each["id"]])["diaSource"]["psfFlux"]
        assert each["stamps"] == [None, None, None]
        assert each["is_valid"]
        assert each["same_by_published"]
