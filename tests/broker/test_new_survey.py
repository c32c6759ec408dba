"""A survey made up here: one file of facts and a schema, put into a copy of the project, and everything works with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("alerts", "schemas", "transforms", "pipelines", "broker")
FACTS = """
from alerts.surveys.photometry import NJY_AB_MAG, Photometry, Series
from alerts.surveys.survey import Survey

_SOURCE = dict(value=("flux",), error=("flux_err",), time=("mjd",), band=("filter",))
COMET = Survey(
    name="comet",
    schema_name="comet.alert",
    fingerprint=frozenset({"source.alert", "source.mjd"}),
    alert_id=("source.alert",),
    object_ids=(("survey", None),),
    ra_deg=("source.ra",),
    dec_deg=("source.dec",),
    time=("source.mjd",),
    time_format="mjd",
    time_scale="utc",
    time_note="Start of the exposure.",
    night_starts_utc_hours=0,
    stamps={"science": ("science",), "template": ("template",), "difference": ("difference",)},
    photometry=Photometry(
        "flux", "nJy", "flux", (Series("source", **_SOURCE), Series("history", **_SOURCE, alert_id=("alert",))),
        zero_point_mag=NJY_AB_MAG,
    ),
)
"""
_FIELDS = [{"name": name, "type": "double"} for name in ("ra", "dec", "mjd", "flux", "flux_err")]
_SOURCE = {
    "type": "record",
    "name": "comet.source",
    "fields": [{"name": "alert", "type": "long"}, *_FIELDS, {"name": "filter", "type": "string"}],
}
# Most of these names are ours, too, or SQLAlchemy's; the last two are one name to a database.
SCHEMA = {
    "type": "record",
    "name": "comet.alert",
    "version": "1.0",
    "fields": [
        {"name": "source", "type": _SOURCE},
        {"name": "history", "type": {"type": "array", "items": "comet.source"}},
        {"name": "survey", "type": "string"},
        {"name": "Night", "type": "string"},
        {"name": "metadata", "type": "string"},
        {"name": "cutouts", "type": "int"},
        {"name": "null_arrays", "type": ["null", {"type": "array", "items": "double"}]},
        {"name": "difference", "type": ["null", "bytes"]},
        {"name": "quality", "type": "int"},
        {"name": "Quality", "type": "int"},
    ],
}
PROGRAM = """
import json, sys
from broker import info, orm, plot, query, warehouse
from broker.cli import main
from sqlalchemy import select

folder, packets = sys.argv[1:]
assert main(["ingest", "--input", packets, "--warehouse", folder]) == 0
with warehouse.open(folder) as opened:
    rows = opened.query("SELECT * FROM comet_alerts_unique ORDER BY alert_id").to_pylist()
    found = info.text(opened.info(2**60 + 1)[0])
    near = opened.cone(10.0, 20.0, 5.0).num_rows
with orm.Session(folder) as session:
    alert = session.scalars(select(orm.CometAlert).order_by(orm.CometAlert.alert_id)).first()
    mapped = [alert.source, alert.packet_source["flux"], alert.packet_metadata, alert.packet_cutouts]
    ztf = session.scalars(select(orm.ZTFAlert)).all()
for what in (["stamps", "--alert_id", str(2**60 + 1)], ["light-curve", "--object", "C/1"], ["sky", "--night", "2023-02-25"]):
    assert main(["plot", *what, "--warehouse", folder, "--out", f"{folder}/{what[0]}.png"]) == 0
for what in ("stamps", "light-curve"):
    assert main(["plot", what, "--packet", packets, "--out", f"{folder}/{what}.svg"]) == 0
print("ANSWER", json.dumps({"rows": rows, "info": found, "near": near, "mapped": mapped, "ztf": len(ztf)}, default=str))
"""


def packet(number: int) -> dict[str, Any]:
    source = {"alert": 2**60 + number, "ra": 10.0, "dec": 20.0, "mjd": 60000.0 + number / 100, "flux": 500.0, "flux_err": 20.0}
    source["filter"] = "w"
    own = {"survey": "C/1", "Night": "stormy", "metadata": "made up", "cutouts": 7, "null_arrays": None, "difference": b"no"}
    earlier = {**source, "alert": 2**60 - 9, "mjd": 59990.0}
    return {"source": source, "history": [earlier], **own, "quality": 3, "Quality": 4}


def project(folder: Path, facts: str, schema: Any = SCHEMA) -> dict[str, str]:
    """A copy of the project that knows the survey, as an environment for Python."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "alerts/surveys/comet.py").write_text(f'"""A survey made up."""\n{facts}', encoding="utf-8")
    if schema:
        (folder / "schemas/avro/comet").mkdir()
        (folder / "schemas/avro/comet/1.0.avsc").write_text(json.dumps(schema), encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(folder)}


def ask(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], check=False, env=environment, cwd=environment["PYTHONPATH"], capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("comet")
    with (folder / "packets.avro").open("wb") as file:
        fastavro.writer(file, SCHEMA, [packet(1), packet(2)])
    done = ask(project(folder / "project", FACTS), "-c", PROGRAM, str(folder / "warehouse"), str(folder / "packets.avro"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert all((folder / f"warehouse/{name}").stat().st_size > 5000 for name in ("light-curve.png", "sky.png", "stamps.svg"))
    return dict(json.loads(done.stdout.rpartition("ANSWER ")[2]))


def test_every_field_of_the_packet_has_a_place_and_ours_keep_theirs(answer: dict[str, Any]) -> None:
    first, sent = answer["rows"][0], packet(1)
    assert first["alert_id"] == 2**60 + 1
    assert first["survey"] == "comet"
    assert first["object_id"] == "C/1"
    assert first["night"] == "2023-02-25"
    assert first["source"].endswith("packets.avro")
    assert first["packet_source"] == sent["source"]
    assert first["history"] == sent["history"]
    assert (first["packet_survey"], first["packet_Night"], first["metadata"]) == ("C/1", "stormy", "made up")
    assert (first["packet_null_arrays"], first["null_arrays"]) == ([], ["null_arrays"])
    assert (first["quality"], json.loads(first["extra"])) == (3, {"Quality": 4})


def test_it_can_be_asked_and_mapped(answer: dict[str, Any]) -> None:
    assert len(answer["rows"]) == answer["near"] == 2
    assert answer["mapped"] == [answer["rows"][0]["source"], 500.0, "made up", 7]
    assert answer["ztf"] == 0
    assert "comet alert 1152921504606846977" in answer["info"]
    assert "history" in answer["info"]


def test_without_photometry_there_are_tables_and_a_sentence_in_place_of_a_light_curve(tmp_path: Path) -> None:
    with (tmp_path / "packets.avro").open("wb") as file:
        fastavro.writer(file, SCHEMA, [packet(1)])
    facts = FACTS[: FACTS.index("    photometry=")] + ")\n"
    environment = project(tmp_path / "project", facts)
    stamps = [
        *("-c", "import sys; from broker.cli import main; sys.exit(main(sys.argv[1:]))", "plot"),
        "stamps",
        "--packet",
        str(tmp_path / "packets.avro"),
        "--out",
        str(tmp_path / "a.png"),
    ]
    assert ask(environment, *stamps).returncode == 0
    done = ask(environment, *[word.replace("stamps", "light-curve") for word in stamps])
    assert (done.returncode, done.stderr) == (
        2,
        "broker plot: nobody has told where comet packets keep their brightness: alerts/surveys/comet.py needs "
        "photometry=Photometry(...), as ztf.py has it\n",
    )


def test_facts_without_a_schema_say_where_it_belongs(tmp_path: Path) -> None:
    done = ask(project(tmp_path / "project", FACTS, schema=None), "-c", "import alerts.surveys")
    assert "survey 'comet' has no schema: put one per version at schemas/avro/comet/VERSION.avsc" in done.stderr
