"""Filters of a run that is struck, and filters that strike: what they say of each alert is there, and that of the others too."""

from __future__ import annotations

import os
import shutil
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import warehouses
from tests.faults.nights import Night
from tests.faults.runs import Run, audit
from tests.faults.test_killed import killed, secs_of

pytestmark = pytest.mark.faults

STEADY = {
    "bright.sql": "-- surveys: ztf\nSELECT candidate.magpsf AS mag FROM alerts WHERE candidate.magpsf < 19",
    "spread.sql": "-- surveys: ztf\nSELECT alert_id FROM alerts WHERE MOD(alert_id, 7) < 3",
}
STRIKES = {
    "raises.py": "# surveys: ztf\ndef passes(alerts):\n    raise ValueError('always')\n",
    "waits.py": "# surveys: ztf\nimport time\ndef passes(alerts):\n    time.sleep(3600)\n",
    "computes.py": "# surveys: ztf\ndef passes(alerts):\n    while True:\n        pass\n",
    "wrong.py": "# surveys: ztf\ndef passes(alerts):\n    return [True]\n",
}


def folder(place: Path, texts: dict[str, str]) -> Path:
    place.mkdir(exist_ok=True)
    for name, text in texts.items():
        (place / name).write_text(text + "\n")
    return place


def said(warehouse: Path) -> list[dict]:
    """What the steady filters passed, each packet once."""
    names = ", ".join(f"'{name.partition('.')[0]}'" for name in STEADY)
    sql = f"SELECT filter, alert_id, packet_digest, columns FROM verdicts_unique WHERE filter IN ({names}) ORDER BY 1, 2, 3"
    with warehouses.at(str(warehouse)) as opened:
        return opened.query(sql).to_pylist()


@pytest.fixture(scope="module")
def undisturbed(light: Night, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What they pass of the night."""
    place = tmp_path_factory.mktemp("undisturbed")
    filters = folder(place / "filters", STEADY)
    words = ("ingest", "--input", light.archive, "--warehouse", place / "w", "--filters", filters)
    assert Run(place / "log", *words).end() == 0
    found = said(place / "w")
    assert len({row["filter"] for row in found}) == len(STEADY)
    return found


def test_killed_at_random_moments(light: Night, tmp_path: Path, undisturbed: list[dict], tell: Callable[..., None]) -> None:
    warehouse, filters = tmp_path / "w", folder(tmp_path / "filters", STEADY)

    def ingest() -> Run:
        run = Run(tmp_path / "log", "ingest", "--input", light.archive, "--warehouse", warehouse, "--filters", filters)
        run.wait_for(lambda: any(warehouse.glob("_tmp/*.lock")))
        return run

    struck = sum(1 for _ in killed(ingest, secs_of(ingest), seed=4))
    assert secs_of(ingest) > 0
    verdict = audit("--input", light.archive, "--warehouse", warehouse)
    tell("SIGKILL at random moments of runs with filters, folder", struck, verdict, "verdicts and counts are those of one run")
    verdict.must_be_whole()
    assert said(warehouse) == undisturbed


def test_filters_that_raise_wait_or_compute_for_ever(
    light: Night, tmp_path: Path, undisturbed: list[dict], tell: Callable[..., None]
) -> None:
    warehouse, filters = tmp_path / "w", folder(tmp_path / "filters", {**STEADY, **STRIKES})
    words = ("ingest", "--input", light.archive, "--warehouse", warehouse, "--filters", filters)
    run = Run(tmp_path / "log", *words)
    assert run.end() == 0, run.said
    verdict = audit("--input", light.archive, "--warehouse", warehouse)
    note = "the others' verdicts are the same to the row; those put aside are named by the account and by the audit"
    tell("filters that raise, wait and compute for ever, or give nonsense", len(STRIKES), verdict, note)
    assert said(warehouse) == undisturbed
    assert {*verdict.faults} == {"not_judged"}
    assert verdict.faults["not_judged"] <= 2
    assert (verdict.lost, verdict.doubled) == (0, 0)
    for name in ("waits", "computes"):
        assert f"filter {name} was put aside" in run.said


def test_filters_change_between_rounds(light: Night, tmp_path: Path, undisturbed: list[dict], tell: Callable[..., None]) -> None:
    """One is removed, one is broken, one comes: what stays says the same of every alert."""
    warehouse, filters, watched = tmp_path / "w", folder(tmp_path / "filters", STEADY), tmp_path / "in"
    folder(filters, {"leaves.sql": "-- surveys: ztf\nSELECT alert_id FROM alerts WHERE MOD(alert_id, 2) = 0"})
    watched.mkdir()
    parts = _parts(light.archive, tmp_path / "parts", 4)
    words = ("ingest", "--watch", watched, "--warehouse", warehouse, "--filters", filters, "--once")
    for number, part in enumerate(parts):
        shutil.copy(part, watched)
        os.utime(watched / part.name, (time.time() - 3600,) * 2)
        if number == 1:
            (filters / "leaves.sql").unlink()
        if number == 2:
            folder(filters, {"comes.sql": "-- surveys: ztf\nSELECT alert_id FROM alerts WHERE MOD(alert_id, 2) = 1"})
        assert Run(tmp_path / "log", *words).end() == 0
    verdict = audit(*(word for part in parts for word in ("--input", watched / part.name)), "--warehouse", warehouse)
    tell("filters that come and go between rounds", 2, verdict, "the others' verdicts are the same to the row")
    verdict.must_be_whole()
    assert said(warehouse) == undisturbed
    with warehouses.at(str(warehouse)) as opened:
        sql = "SELECT filter, valid_until IS NULL AS runs FROM filter_history_unique ORDER BY 1"
        found = {row["filter"]: row["runs"] for row in opened.query(sql).to_pylist()}
    assert found == {"bright": True, "comes": True, "leaves": False, "spread": True}


def _parts(archive: Path, place: Path, count: int) -> list[Path]:
    """The members of an archive, dealt to some."""
    place.mkdir()
    paths = [place / f"part{number}.tar" for number in range(count)]
    with tarfile.open(archive) as packed:
        members = [member for member in packed if member.isfile()]
        for number, path in enumerate(paths):
            with tarfile.open(path, "w") as part:
                for member in members[number::count]:
                    part.addfile(member, packed.extractfile(member))
    return paths
