"""The ORM on a folder: its values against DuckDB's own and against the packets, its objects, and that it only reads."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from alerts.surveys import SURVEYS
from broker import orm
from broker.orm import (
    CrossMatch,
    CrossMatchRow,
    DeadLetter,
    DeadLetterRow,
    LSSTAlert,
    LSSTAlertRow,
    PGIRAlert,
    ReadOnly,
    Run,
    Session,
    WinterAlert,
    ZTFAlert,
    ZTFAlertRow,
    ZTFCutouts,
    ZTFFeatures,
)
from broker.warehouse import QueryError
from schemas import Column
from schemas.tables import CROSSMATCHES
from tests.compare import assert_row_equals_record
from tests.conftest import RealData
from tests.nights import ask, by_hand, run, simulated, truth
from warehouses.folder.views import connect

DOCS = Path(__file__).parents[2] / "docs" / "orm.md"
_OTHERS = ("decam", "winter", "pgir")


def real_packets(real_data: RealData, folder: Path, some: int = 8) -> list[Path]:
    """Real packets of all surveys (inputs of an ingest), of large archives about ``some``.

    There is NaN among them, two are sent under one id with different contents, and one has times deep in its history.
    """
    larger = ("ztf/nightly/ztf_commissioning_20171218", "lsst/nightly/lsst_20260310_v10_0", "elasticc/elasticc_v0_9")
    for name in larger if real_data.larger else ():
        with tarfile.open(real_data / f"{name}.tar.gz") as archive:
            alerts = [member for member in archive.getmembers() if member.name.endswith(".avro")]
            archive.extractall(folder / Path(name).name, members=alerts[:: len(alerts) // some], filter="data")
    found = [real_data / "ztf/nightly/ztf_public_20200202.tar.gz", *(real_data / f"other_surveys/{name}" for name in _OTHERS)]
    if real_data.larger:
        return [folder, *found, real_data / "ztf/by_version", real_data / "lsst/official_samples/fakeAlert_v8_0.avro"]
    # Those that the project keeps, and one of them sent again with other contents.
    [twice] = conflicting(real_data / "ztf/nightly/ztf_commissioning_20171218_nan.tar.gz", folder)
    rubin = real_data.glob("lsst/wire_confluent/*.bin")
    return [*found, real_data / "ztf/nightly/ztf_commissioning_20171218_nan.tar.gz", twice, *rubin]


def conflicting(archive: Path, folder: Path) -> list[Path]:
    """The first packet of an archive with another brightness."""
    with tarfile.open(archive) as opened:
        member = next(iter(opened))
        content = opened.extractfile(member)
        assert content is not None
        reader = fastavro.reader(content)
        record = next(reader)
    record["candidate"]["magpsf"] += 0.5
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "again.avro").open("wb") as file:
        fastavro.writer(file, reader.writer_schema, [record])
    return [folder / "again.avro"]


def answers(alerts: Iterable[Any]) -> pa.Table:
    """Cross-matches of alerts (``survey``, ``alert_id``, ``object_id``, ``night``, ``ra_deg``, ``dec_deg``): all three
    states, one asked again, what JSON holds in its own way.
    """
    columns = '{"Jmag": 12.5, "source_id": "9007199254740993", "parallax": "NaN", "note": null}'
    stars = [
        {"source_id": f"{n}", "ra_deg": 1.0, "dec_deg": 2.0, "separation_arcsec": n + 0.5, "columns": columns} for n in range(3)
    ]
    asked_at = datetime(2026, 9, 17, 12, tzinfo=timezone.utc)
    rows = []
    for number, alert in enumerate(alerts):
        own = {name: getattr(alert, name) for name in ("survey", "alert_id", "object_id", "night", "ra_deg", "dec_deg")}
        own |= {"radius_arcsec": 5.0, "asked_at": asked_at}
        again = asked_at + timedelta(hours=1)
        rows += [
            {**own, "catalog": "simbad", "status": "no_match", "matches": []},
            {**own, "catalog": "vizier:II/246/out", "status": "failed", "error": "503", "matches": []},
            {**own, "catalog": "vizier:II/246/out", "status": "matched", "asked_at": again, "matches": stars[number % 2 :]},
        ]
    return pa.Table.from_pylist(rows, schema=CROSSMATCHES.arrow_schema)


def put(warehouse: Path, found: pa.Table) -> None:
    """Cross-matches into a folder, as the pipeline lays out tables."""
    for night in set(found["night"].to_pylist()):
        folder = warehouse / CROSSMATCHES.name / f"night={night}"
        folder.mkdir(parents=True)
        pq.write_table(found.filter(pa.compute.equal(found["night"], night)).drop_columns("night"), folder / "a.parquet")
    by_hand(warehouse)


def plain(value: Any) -> Any:
    """A value that equals those it should: NaN is NaN, -0.0 is not 0.0, 1 is not 1.0 nor True, fields are in order."""
    if isinstance(value, Mapping):
        return {name: plain(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return repr(value.astimezone(timezone.utc) if isinstance(value, datetime) else value)


def parsed(value: Any, column: Column) -> Any:
    """A value as SQL gives it, with JSON parsed where the schema says that it is JSON."""
    if isinstance(value, list):
        return [parsed(one, column) for one in value]
    if isinstance(value, dict):
        return {name: parsed(one, column.by_name[name]) for name, one in value.items()}
    return json.loads(value) if column.type == "JSON" and value is not None else value


def columns_of(model: type[Any], without: Iterable[str] = ()) -> dict[str, Column]:
    """The columns of a model's table but some; of equal copies of an alert, any may stand in the ``_unique`` view."""
    copies = {"source", "ingested_at"} if model.__table__.name.endswith("_alerts_unique") else set()
    by_name = model.__table__.info["table"].by_name
    return {name: column for name, column in by_name.items() if name not in copies | set(without)}


def in_sql(warehouse: Path, model: type[Any]) -> Counter[str]:
    """How often each row stands in a model's table, by DuckDB alone."""
    columns = columns_of(model)
    names = ", ".join(f'"{name}"' for name in columns)
    rows = ask(warehouse, f"SELECT {names} FROM {model.__table__.name}")
    return Counter(
        repr([plain(parsed(value, column)) for value, column in zip(row, columns.values(), strict=True)]) for row in rows
    )


def in_objects(objects: Iterable[Any], without: Iterable[str] = ()) -> Counter[str]:
    """How often each row came back as an object."""
    rows = [[getattr(one, name) for name in columns_of(type(one), without)] for one in objects]
    assert all(time.tzinfo is timezone.utc for time in times(rows))
    return Counter(repr([plain(value) for value in row]) for row in rows)


def times(value: Any) -> list[datetime]:
    """All datetimes in a value."""
    if isinstance(value, (list, dict)):
        return [time for one in (value.values() if isinstance(value, dict) else value) for time in times(one)]
    return [value] if isinstance(value, datetime) else []


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("--alerts", "60", "--duplicates", "5", "--damaged", "4", "--seed", "6")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


@pytest.fixture(scope="module")
def warehouse(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated night of ZTF, with cross-matches of five alerts."""
    folder = tmp_path_factory.mktemp("simulated") / "warehouse"
    assert run(folder, night) == 0
    with Session(folder) as session:
        put(folder, answers(session.scalars(select(ZTFAlert).order_by(ZTFAlert.alert_id).limit(5))))
    return folder


@pytest.fixture(scope="module")
def real(real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real alerts of all surveys."""
    folder = tmp_path_factory.mktemp("real")
    assert run(folder / "warehouse", *real_packets(real_data, folder / "packets")) == 0
    return folder / "warehouse"


@pytest.mark.parametrize("which", ["warehouse", "real"])
def test_every_column_of_every_model_is_what_sql_gives(which: str, request: pytest.FixtureRequest, real_data: RealData) -> None:
    """Also for rows that are no entities: copies, conflicts, repeated questions. None is lost, none is another's."""
    folder = request.getfixturevalue(which)
    full = set()
    with Session(folder) as session:
        for name, model in orm.MODELS.items():
            found = in_objects(session.scalars(select(model)))
            if found:
                full.add(name)
                assert found == in_sql(folder, model), name
            session.expunge_all()
    if which == "warehouse":
        assert full == {
            "ZTFAlert",
            "ZTFAlertRow",
            "ZTFCutouts",
            "ZTFFeatures",
            "CrossMatch",
            "CrossMatchRow",
            "DeadLetter",
            "DeadLetterRow",
            "Run",
        }
    else:
        prefixes = ["ZTF", "LSST", "Decam", "Winter", "PGIR"] + ["Elasticc"] * (real_data.larger is not None)
        alerts = {f"{prefix}{suffix}" for prefix in prefixes for suffix in ("Alert", "AlertRow")}
        assert full == alerts | {f"{prefix}{beside}" for prefix in prefixes for beside in ("Cutouts", "Features")} | {"Run"}


KINDS = ("alerts", "alerts_unique", "cutouts", "features")


def test_models_are_those_of_the_schemas() -> None:
    own = {f"{prefix}{suffix}" for prefix in ("ZTF", "LSST", "Elasticc", "Decam", "Winter", "PGIR")
           for suffix in ("Alert", "AlertRow", "Cutouts", "Features")}  # fmt: skip
    others = {"CrossMatch", "CrossMatchRow", "DeadLetter", "DeadLetterRow", "Run"}
    assert set(orm.MODELS) == own | others
    assert set(orm.__all__) == own | others | {"Session", "ReadOnly", "Model", "MODELS"}
    assert set(orm.__all__) <= set(dir(orm))
    relations = {model.__table__.name for model in orm.MODELS.values()}
    assert {f"{survey}_{kind}" for survey in SURVEYS for kind in KINDS} < relations
    for model in orm.MODELS.values():
        for name, column in model.__table__.info["table"].by_name.items():
            assert re.search(rf"^{name} {column.type}.*{re.escape(column.description)}", model.__doc__, re.MULTILINE)


def test_an_alert_is_its_packet(real: Path, all_real_data: RealData) -> None:
    """Field by field against fastavro's own reading of the file."""
    sources = {ZTFAlert: "ztf_public_20200202", LSSTAlert: "lsst_20260310_v10_0", WinterAlert: "winter"}
    with Session(real) as session:
        for model, source in sources.items():
            alerts = session.scalars(select(model).where(model.source.contains(source))).all()
            assert len(alerts) == {"ztf": 12, "lsst": 8, "winter": 3}[alerts[0].survey]
            for alert in alerts:
                row = {name: getattr(alert, name) for name in model.__table__.info["table"].by_name}
                row["extra"] = None if alert.extra is None else json.dumps(alert.extra)
                assert_row_equals_record(row, next(fastavro.reader(packet(alert.source))), alert.survey)
                assert session.get(model, alert.alert_id) is alert


def packet(source: str) -> io.BytesIO:
    file, _, member = source.partition("#")
    if not member:
        return io.BytesIO(Path(file).read_bytes())
    with tarfile.open(file) as archive:
        return io.BytesIO(archive.extractfile(member).read())


def test_ids_are_exact(real: Path, all_real_data: RealData) -> None:
    with Session(real) as session:
        ids = session.scalars(select(LSSTAlert.alert_id).where(LSSTAlert.schema_version == "10.0")).all()
        assert len(set(ids)) == 8
        assert min(ids) > 2**53
        for one in ids:
            near = [one - 1, one, one + 1]
            assert session.scalars(select(LSSTAlert.diaSourceId).where(LSSTAlert.alert_id.in_(near))).all() == [one]
            assert session.scalar(select(LSSTAlert.alert_id).where(LSSTAlert.diaSource["diaSourceId"] == one)) == one


def test_values_keep_what_they_are(real: Path, all_real_data: RealData) -> None:
    """NaN, NULL, -999, empty and false are five different things, and really in the data."""
    with Session(real) as session:
        old = session.scalars(select(ZTFAlert).where(ZTFAlert.schema_version == "1.3")).all()
        scores = [alert.candidate["sgscore"] for alert in old]
        assert any(score is not None and math.isnan(score) for score in scores)
        assert any(alert.candidate["ssdistnr"] == -999 for alert in session.scalars(select(ZTFAlert)))
        rubin = session.scalars(select(LSSTAlert)).all()
        assert {alert.ssSource is None for alert in rubin} == {True, False}
        assert {type(alert.diaSource["is_negative"] or alert.diaSource["isNegative"] or False) for alert in rubin} == {bool}
        assert all(alert.prvDiaForcedSources == [] for alert in rubin if "prvDiaForcedSources" in alert.null_arrays)
        deep = [alert for alert in rubin if times(alert.prvDiaSources)]
        assert len(times(deep[0].prvDiaSources)) == 2
        made = [alert for alert in rubin if alert.mpc_orbits]
        assert made
        for alert in made:
            when = select(LSSTAlert.mpc_orbits["created_at"]).where(LSSTAlert.alert_id == alert.alert_id)
            assert session.scalar(when) == alert.mpc_orbits["created_at"]
            assert session.scalar(when).tzinfo is timezone.utc


def test_filters_find_what_python_finds(warehouse: Path) -> None:
    with Session(warehouse) as session:
        alerts = session.scalars(select(ZTFAlert)).all()

        def ids(*conditions: Any) -> list[int]:
            return session.scalars(select(ZTFAlert.alert_id).where(*conditions).order_by(ZTFAlert.alert_id)).all()

        def of(test: Any) -> list[int]:
            chosen = sorted(alert.alert_id for alert in alerts if test(alert))
            assert 0 < len(chosen) < len(alerts)
            return chosen

        magnitude, band, older = ZTFAlert.candidate["magpsf"], ZTFAlert.candidate["fid"], ZTFAlert.prv_candidates
        assert ids(magnitude < 18) == of(lambda one: one.candidate["magpsf"] < 18)
        assert ids(magnitude.between(18, 19), band == 1) == of(
            lambda one: 18 <= one.candidate["magpsf"] <= 19 and one.candidate["fid"] == 1
        )
        assert ids(older[0]["magpsf"].is_(None)) == of(lambda one: (one.prv_candidates or [{}])[0].get("magpsf") is None)
        assert ids(older[25]["jd"] > 0) == of(lambda one: len(one.prv_candidates) > 25)
        assert ids(func.array_length(older) < 20) == of(lambda one: len(one.prv_candidates) < 20)
        middle = sorted(alert.observed_at for alert in alerts)[30]
        assert ids(ZTFAlert.observed_at < middle) == of(lambda one: one.observed_at < middle)
        assert ids(ZTFAlert.observed_at < middle.replace(tzinfo=None)) == ids(ZTFAlert.observed_at < middle)
        elsewhere = timezone(timedelta(hours=-8))
        assert ids(ZTFAlert.observed_at < middle.astimezone(elsewhere)) == ids(ZTFAlert.observed_at < middle)
        assert len(ids(ZTFAlert.night == date(2026, 9, 17))) + len(ids(ZTFAlert.night != date(2026, 9, 17))) == len(alerts)
        assert ids(ZTFAlert.packet_digest == alerts[7].packet_digest) == [alerts[7].alert_id]
        by_band = session.execute(select(band, func.count()).group_by(band)).all()
        assert dict(map(tuple, by_band)) == Counter(alert.candidate["fid"] for alert in alerts)
        faintest = session.scalars(select(ZTFAlert).order_by(magnitude.desc()).limit(1)).one()
        assert faintest.candidate["magpsf"] == max(alert.candidate["magpsf"] for alert in alerts)
        again = sa.orm.aliased(ZTFAlert)
        pairs = select(ZTFAlert.alert_id, again.alert_id).join(again, again.candidate["magpsf"] > ZTFAlert.candidate["magpsf"])
        assert session.execute(select(func.count()).select_from(pairs.where(magnitude < 18).subquery())).scalar() == sum(
            one.candidate["magpsf"] < other.candidate["magpsf"]
            for one in alerts
            if one.candidate["magpsf"] < 18
            for other in alerts
        )


def test_json_is_parsed_and_can_be_asked(warehouse: Path) -> None:
    with Session(warehouse) as session:
        letters = session.scalars(select(DeadLetter)).all()
        assert len(letters) == 4
        for letter in letters:
            assert set(letter.attributes) >= {"run_id", "letter"}
            name = DeadLetter.attributes["letter"]
            assert session.scalars(select(DeadLetter).where(name == letter.attributes["letter"])).one() is letter
        assert session.scalars(select(DeadLetter).where(DeadLetter.attributes["no such key"].is_not(None))).all() == []
        done = session.scalars(select(Run)).one()
        assert (done.records_read, done.counts["dead_letters"]["read"]) == (69, 4)
        match = session.scalars(select(CrossMatch).where(CrossMatch.status == "matched")).first()
        columns = {"Jmag": 12.5, "source_id": "9007199254740993", "parallax": "NaN", "note": None}
        assert match.matches[0]["columns"] == columns
        assert session.scalar(select(CrossMatch.matches[0]["columns"]["source_id"]).limit(1)) in (None, "9007199254740993")
        nearest = CrossMatch.matches[0]["separation_arcsec"]
        assert session.scalar(select(func.count()).where(nearest < 1)) == 3


def test_copies_and_conflicts(warehouse: Path, night: Path, real: Path) -> None:
    kinds = Counter(one["kind"] for one in truth(night))
    with Session(warehouse) as session:
        assert len(session.scalars(select(ZTFAlert)).all()) == kinds["good"] == 60
        rows = session.scalars(select(ZTFAlertRow)).all()
        assert len(rows) == 65
        assert len({row.alert_id for row in rows}) == 60
        # A copy has its stamps again; they are the same stamps.
        assert len(session.scalars(select(ZTFCutouts)).all()) == 65
        assert {len(row.all_cutouts) for row in rows} == {1}
        assert len(session.scalars(select(CrossMatchRow)).all()) == 15
        assert len(session.scalars(select(CrossMatch)).all()) == 10
        assert len(session.scalars(select(DeadLetterRow)).all()) == len(session.scalars(select(DeadLetter)).all()) == 4
    with Session(real) as session:
        sent = select(ZTFAlertRow.alert_id).group_by(ZTFAlertRow.alert_id)
        twice = session.scalars(sent.having(func.count(ZTFAlertRow.packet_digest.distinct()) > 1)).all()
        assert twice
        for alert_id in twice:
            rows = session.scalars(select(ZTFAlertRow).where(ZTFAlertRow.alert_id == alert_id)).all()
            assert len(set(rows)) == len({row.packet_digest for row in rows}) == len(rows)
            shown = session.get(ZTFAlert, alert_id)
            assert shown.packet_digest in {row.packet_digest for row in rows}
            # Other contents, but the same stamps.
            assert len(session.scalars(select(ZTFCutouts).where(ZTFCutouts.alert_id == alert_id)).all()) == len(rows)
            assert shown.cutouts.science == rows[0].cutouts.science


def test_an_alert_of_no_object_has_stamps_too(night: Path, tmp_path: Path) -> None:
    with tarfile.open(next(night.glob("*.tar.gz"))) as archive:
        sent = next(archive.extractfile(member).read() for member in archive if member.name.endswith("5000.avro"))
    reader = fastavro.reader(io.BytesIO(sent))
    record = {**next(reader), "objectId": ""}
    with (tmp_path / "one.avro").open("wb") as file:
        fastavro.writer(file, reader.writer_schema, [record])
    assert run(tmp_path / "warehouse", tmp_path / "one.avro", flags=("--no_cutouts",)) == 0
    with Session(tmp_path / "warehouse") as session:
        assert session.scalars(select(ZTFAlert)).one().cutouts is None
    assert run(tmp_path / "again", tmp_path / "one.avro") == 0
    with Session(tmp_path / "again") as session:
        alert = session.scalars(select(ZTFAlert)).one()
        assert alert.object_id is None
        assert alert.cutouts.science == record["cutoutScience"]["stampData"]
        eager = select(ZTFAlert).options(selectinload(ZTFAlert.all_cutouts)).execution_options(populate_existing=True)
        assert len(session.scalars(eager).one().all_cutouts) == 1


def test_an_alert_knows_its_stamps_and_matches(warehouse: Path) -> None:
    stamps = {row[0]: row[1:] for row in ask(warehouse, "SELECT alert_id, science, template, difference FROM ztf_cutouts")}
    lazy, eager, joined = {}, {}, {}
    with Session(warehouse) as session:
        for alert in session.scalars(select(ZTFAlert)):
            assert (alert.cutouts.science, alert.cutouts.template, alert.cutouts.difference) == stamps[alert.alert_id]
            lazy[alert.alert_id] = [(match.catalog, match.status) for match in alert.crossmatches]
    both = ZTFAlert.all_cutouts, ZTFAlert.crossmatches
    for kind, found in ((selectinload, eager), (joinedload, joined)):
        with Session(warehouse) as session:
            queries: list[str] = []
            sa.event.listen(session.get_bind(), "before_cursor_execute", lambda *a, q=queries: q.append(a[2]))
            for alert in session.scalars(select(ZTFAlert).options(*map(kind, both))).unique():
                assert alert.cutouts.science == stamps[alert.alert_id][0]
                found[alert.alert_id] = [(match.catalog, match.status) for match in alert.crossmatches]
            assert len(queries) <= 3
    assert lazy == eager == joined
    assert sorted(map(tuple, lazy.values()))[-5:] == [(("simbad", "no_match"), ("vizier:II/246/out", "matched"))] * 5
    assert sum(map(len, lazy.values())) == 10


def test_an_alert_knows_its_features(warehouse: Path) -> None:
    slopes = dict(ask(warehouse, "SELECT alert_id, features.r.slope_mag_per_day FROM ztf_features_unique"))
    assert any(slopes.values())
    with Session(warehouse) as session:
        for model in (ZTFAlert, ZTFAlertRow):
            found = session.scalars(select(model).options(joinedload(model.all_features))).unique().all()
            assert {alert.alert_id: alert.features["r"]["slope_mag_per_day"] for alert in found} == slopes
        rising = select(ZTFAlert.alert_id).join(ZTFAlert.all_features).where(ZTFFeatures.features["r"]["slope_mag_per_day"] < 0)
        assert sorted({*session.scalars(rising)}) == sorted(
            key for key, slope in slopes.items() if slope is not None and slope < 0
        )


def test_results_that_are_read_side_by_side_stay_apart(real: Path) -> None:
    """DuckDB's own connection has one open result; the dialect keeps the rows that are left of another."""
    with Session(real) as session:
        names = select(LSSTAlertRow.alert_id, LSSTAlertRow.object_id).order_by(LSSTAlertRow.alert_id, LSSTAlertRow.source)
        alone = session.execute(names).all()
        assert len(alone) > 6
        first, second = session.execute(names), session.execute(select(ZTFAlert.object_id))
        assert second.all()
        assert first.all() == alone
        read = []
        ordered = select(LSSTAlertRow).order_by(LSSTAlertRow.alert_id, LSSTAlertRow.source)
        for alert in session.scalars(ordered.execution_options(yield_per=2)):
            assert alert.crossmatches == []
            read.append((alert.alert_id, alert.object_id))
        assert read == [tuple(row) for row in alone]


def test_times_are_utc_wherever_the_computer_is(warehouse: Path) -> None:
    """Also those that the engine works with: elsewhere a day begins at another instant."""
    program = (
        "import sys; from sqlalchemy import *; from broker.orm import *\n"
        "with Session(sys.argv[1]) as s:\n"
        "    day = cast(func.date_trunc('day', ZTFAlert.observed_at), String)\n"
        "    print(*s.execute(select(ZTFAlert.observed_at, day)).all(), sep='\\n')"
    )
    command = [sys.executable, "-c", program, str(warehouse)]
    zone = {**os.environ, "TZ": "America/New_York"}
    printed = subprocess.run(command, env=zone, capture_output=True, text=True, check=True).stdout
    with Session(warehouse) as session:
        instants = session.scalars(select(ZTFAlert.observed_at)).all()
    assert sorted(printed.splitlines()) == sorted(str((one, f"{one:%Y-%m-%d} 00:00:00+00")) for one in instants)


def _change(session: Session) -> None:
    session.scalars(select(ZTFAlert)).first().ra_deg = 1.0


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda session: session.add(ZTFAlert(alert_id=1)), r"ZTFAlert\(alert_id=1\) would be written"),
        (lambda session: session.delete(session.scalars(select(DeadLetter)).first()), "DeadLetter.* would be written"),
        (_change, "ZTFAlert.* would be written"),
        (lambda session: session.bulk_save_objects([Run(run_id="x")]), "INSERT INTO"),
        (lambda session: session.execute(sa.insert(Run).values(run_id="x")), "INSERT INTO"),
        (lambda session: session.execute(sa.update(ZTFAlert).values(ra_deg=1.0)), "UPDATE"),
        (lambda session: session.execute(sa.delete(ZTFAlertRow)), "DELETE"),
        (lambda session: session.execute(sa.text("COPY (SELECT 1) TO 'here.csv'")), "COPY"),
        (lambda session: session.connection().exec_driver_sql("DROP VIEW runs"), "DROP"),
        (
            lambda session: sa.Table("new", sa.MetaData(), sa.Column("a", sa.Integer)).create(
                session.connection(), checkfirst=False
            ),
            "CREATE",
        ),
    ],
)
def test_nothing_is_written(warehouse: Path, write: Any, says: str) -> None:
    before = {file: file.stat().st_mtime_ns for file in warehouse.rglob("*")}
    with Session(warehouse) as session:
        count = session.scalar(select(func.count()).select_from(ZTFAlertRow))
        with pytest.raises(ReadOnly, match=says):  # noqa: PT012 - the one or the other
            write(session)
            session.commit()
        session.rollback()
        assert session.scalar(select(func.count()).select_from(ZTFAlertRow)) == count == 65
        assert session.scalars(select(ZTFAlert).where(ZTFAlert.ra_deg == 1.0)).all() == []
    assert {file: file.stat().st_mtime_ns for file in warehouse.rglob("*")} == before


def test_no_other_file_can_be_read(warehouse: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    reading = func.read_csv(str(tmp_path / "secret.csv")).table_valued("a")
    with Session(warehouse) as session, pytest.raises(sa.exc.DBAPIError, match="Permission Error"):
        session.execute(select(reading.c.a)).all()


def test_what_nothing_was_written_to_is_empty(warehouse: Path) -> None:
    with Session(warehouse) as session:
        assert session.scalars(select(PGIRAlert).where(PGIRAlert.candidate["magpsf"] < 18)).all() == []
        assert session.scalar(select(func.count()).select_from(LSSTAlert)) == 0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda: ZTFAlert.candidate["magpfs"], "candidate has no field 'magpfs'; it has jd, fid"),
        (lambda: ZTFAlert.prv_candidates["jd"], r"prv_candidates\['jd'\]: this is an array, take an item: \[0\]"),
        (lambda: ZTFAlert.prv_candidates[-1], r"prv_candidates\[-1\]: this is an array"),
        (lambda: ZTFAlert.extra[0], r"extra\[0\]: this is JSON, give the name of a key"),
        (lambda: Session("no such folder"), "broker ingest --input"),
        (lambda: Session("bigquery://only-a-project"), "not of the form bigquery://PROJECT/DATASET"),
    ],
)
def test_what_cannot_be_asked_is_said(asked: Any, says: str) -> None:
    with pytest.raises(QueryError, match=says):
        asked()


def test_a_closed_session_can_be_used_again(warehouse: Path) -> None:
    session = Session(warehouse)
    first = session.scalars(select(ZTFAlert).order_by(ZTFAlert.alert_id)).first()
    session.close()
    again = session.scalars(select(ZTFAlert).order_by(ZTFAlert.alert_id)).first()
    assert again is not first
    assert again.candidate == first.candidate
    session.close()


def snippets(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_lines_of_the_docs_run(warehouse: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(warehouse.parent)
    program = snippets(DOCS.read_text(encoding="utf-8"))
    assert len(program) >= 5
    names: dict[str, Any] = {}
    try:
        exec("\n".join(program), names)
        printed = capsys.readouterr().out
        for alert in names["session"].scalars(names["bright"].limit(3)):
            assert str(alert.alert_id) in printed
    finally:
        names["session"].close()


def test_the_connection_is_the_locked_one(warehouse: Path) -> None:
    """What guards a folder is DuckDB itself, not only the session."""
    with connect(str(warehouse)) as connection, pytest.raises(duckdb.InvalidInputException, match="locked"):
        connection.execute("SET enable_external_access = true")
