"""Dead letters of a BigQuery warehouse through the pipeline again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker import cli
from pipelines.ingest import run
from schemas import known_schemas
from tests.emulators.cloud import Cloud
from tests.nights import simulated, truth

_NEWEST_ID = 1099


def test_letters_pass_when_their_schema_is_supplied(cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--survey", "lsst", "--framing", "wire", "--alerts", "12", "--damaged", "4", "--archive", "folder")
    night = simulated(tmp_path / "night", *flags)
    good = [one["name"] for one in truth(night) if one["kind"] == "good"]
    for name in good[:5]:
        (message,) = night.rglob(name)
        message.write_bytes(b"\x00" + _NEWEST_ID.to_bytes(4, "big") + message.read_bytes()[5:])
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / f"{_NEWEST_ID}.avsc").write_text(json.dumps(known_schemas("lsst")["10.0"]))

    dataset = cloud.dataset()
    place = ["--warehouse", f"bigquery://{cloud.project}/{dataset}", "--survey", "lsst", "--write_method", "streaming_inserts"]
    assert run(["--input", str(night), *place]) == 0
    table = f"`{cloud.project}.{dataset}.{{}}`"
    open_letters = f"SELECT COUNT(*) AS n FROM {table.format('dead_letters_open')}"
    assert cloud.rows(open_letters) == [{"n": 9}]
    capsys.readouterr()
    assert cli.main(["replay", *place]) == 0
    assert "replayed 9 dead letters: 0 passed, 9 failed again" in capsys.readouterr().out
    assert cloud.rows(open_letters) == [{"n": 9}]
    assert cli.main(["replay", *place, "--schemas", str(schemas)]) == 0
    assert "replayed 9 dead letters: 5 passed, 4 failed again" in capsys.readouterr().out
    assert cloud.rows(open_letters) == [{"n": 4}]
    ids = cloud.rows(f"SELECT alert_id FROM {table.format('lsst_alerts_unique')}")
    assert {row["alert_id"] for row in ids} == {one["alert_id"] for one in truth(night) if one["kind"] == "good"}
    # History: a letter that failed three times has three rows; a mark says of five that they became rows.
    marks = f"SELECT COUNT(*) AS n FROM {table.format('dead_letters')} WHERE stage = 'replayed'"
    assert cloud.rows(marks) == [{"n": 5}]
    assert cloud.rows(f"SELECT COUNT(*) AS n FROM {table.format('dead_letters')}") == [{"n": 9 + 9 + 4 + 5}]
