"""The audit of filters: a run that asked them about every alert passes; what was not asked, or not written down, is named."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from broker import audit as command
from tests.nights import by_hand, run, simulated

ALERTS = 40
Change = Callable[[pa.Table], pa.Table]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--duplicates", "4", "--seed", "3")


@pytest.fixture(scope="module")
def whole(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    (place / "filters").mkdir()
    (place / "filters" / "some.sql").write_text("-- surveys: ztf\nSELECT ra_deg FROM alerts WHERE MOD(alert_id, 10) < 5\n")
    assert run(place / "w", night, flags=("--filters", str(place / "filters"), "--no_cutouts")) == 0
    return place / "w"


def audited(capsys: pytest.CaptureFixture[str], night: Path, warehouse: Path) -> tuple[int, dict]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    capsys.readouterr()
    words = ["--input", str(night), "--warehouse", str(warehouse), "--no_cutouts", "--format", "json"]
    return command.main(parser.parse_args(words)), json.loads(capsys.readouterr().out)


def rewritten(whole: Path, place: Path, table: str, change: Change) -> Path:
    shutil.copytree(whole, place)
    (file,) = (place / table).rglob("*.parquet")
    rows = change(pq.ParquetFile(file).read())
    pq.write_table(rows, file)
    by_hand(place)
    return place


def fewer(column: str) -> Change:
    """One less of what was counted."""
    return lambda rows: rows.set_column(rows.schema.names.index(column), column, pc.subtract(rows[column], 1))


def test_filters_that_were_asked_about_everything_are_accounted_for(whole: Path, night: Path, capsys):
    status, report = audited(capsys, night, whole)
    assert (status, report["accounted_for"]) == (0, True)
    assert report["counts"]["faults"]["not_judged"] == report["counts"]["faults"]["wrong_verdicts"] == 0


@pytest.mark.parametrize(
    ("table", "change", "kinds"),
    [
        ("verdicts", lambda rows: rows.slice(1), {"wrong_verdicts"}),
        ("verdicts", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]), {"wrong_verdicts"}),
        ("verdicts", lambda rows: rows.slice(0, 0), {"wrong_verdicts"}),
        ("filter_counts", fewer("passed"), {"wrong_verdicts"}),
        ("filter_counts", fewer("rejected"), {"wrong_verdicts"}),
        ("filter_counts", fewer("seen"), {"wrong_verdicts", "not_judged"}),
        ("filter_counts", lambda rows: rows.slice(0, 0), {"wrong_verdicts"}),
    ],
    ids=["a verdict gone", "a verdict twice", "no verdicts", "passed", "rejected", "seen", "no counts"],
)
def test_what_was_not_asked_or_not_written_is_named(
    whole: Path, night: Path, tmp_path: Path, capsys, table: str, change: Change, kinds: set[str]
):
    status, report = audited(capsys, night, rewritten(whole, tmp_path / "w", table, change))
    assert status == 1
    assert {kind for kind, faults in report["faults"].items() if faults} == kinds
    for kind in kinds:
        (fault,) = report["faults"][kind]
        assert (fault["survey"], fault["filter"], fault["night"]) == ("ztf", "some", "2026-09-17")
        assert "broker" in fault["remedy"]
