"""The ORM on BigQuery: its values against the client's own, and the same queries against those of a folder."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.cloud import bigquery
from sqlalchemy import func, select
from sqlalchemy.orm import aliased, joinedload, selectinload

from alerts.rows import json_rows
from broker import orm
from broker.orm import CrossMatch, DeadLetter, LSSTAlert, ReadOnly, Run, Session, ZTFAlert, ZTFAlertRow, ZTFCutouts
from broker.warehouse import QueryError
from schemas.tables import CROSSMATCHES
from tests.broker.test_orm import DOCS, answers, columns_of, in_objects, parsed, plain, put, real_packets, snippets
from tests.conftest import RealData
from tests.emulators.cloud import Cloud
from tests.nights import run, simulated
from warehouses.bigquery.tables import prepare

# What differs from run to run; all else must not.
_OF_THE_RUN = {"run_id", "ingested_at", "computed_at", "failed_at", "attributes", "options", "started_at", "ended_at", "counts"}


@dataclass(frozen=True)
class Both:
    """The same alerts in a folder and in a dataset."""

    folder: Path
    project: str
    dataset: str

    @property
    def uri(self) -> str:
        return f"bigquery://{self.project}/{self.dataset}"

    @contextlib.contextmanager
    def sessions(self) -> Iterator[tuple[Session, Session]]:
        with Session(self.folder) as local, Session(self.uri) as remote:
            yield local, remote


def ingested(cloud: Cloud, folder: Path, *inputs: Path) -> Both:
    dataset = cloud.dataset()
    both = Both(folder / "warehouse", cloud.project, dataset)
    flags = ("--write_method", "streaming_inserts", "--temp_location", f"{cloud.bucket}/loads")
    assert run(both.folder, *inputs) == 0
    assert run(both.uri, *inputs, flags=flags) == 0
    with Session(both.folder) as session:
        # The brightest: tests ask for alerts by their magnitude.
        found = answers(session.scalars(select(ZTFAlert).order_by(magnitude, ZTFAlert.alert_id).limit(5)))
    put(both.folder, found)
    (batch,) = found.combine_chunks().to_batches()
    with contextlib.closing(cloud.client()) as client:
        assert client.insert_rows_json(f"{cloud.project}.{dataset}.{CROSSMATCHES.name}", json_rows(batch)) == []
    return both


@pytest.fixture(scope="module")
def made_up(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """A simulated night of ZTF and one of Rubin."""
    folder = tmp_path_factory.mktemp("simulated")
    ztf = simulated(folder / "ztf", "--alerts", "20", "--duplicates", "3", "--damaged", "4", "--seed", "6")
    return ingested(cloud, folder, ztf, simulated(folder / "lsst", "--survey", "lsst", "--alerts", "4"))


@pytest.fixture(scope="module")
def real(cloud: Cloud, real_data: RealData, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Real alerts of all surveys."""
    folder = tmp_path_factory.mktemp("real")
    return ingested(cloud, folder, *real_packets(real_data, folder / "packets", some=2))


def in_bigquery(cloud: Cloud, both: Both, model: type[Any]) -> Counter[str]:
    """How often each row stands in a model's table, by the client alone."""
    columns = columns_of(model)
    rows = cloud.rows(f"SELECT {', '.join(columns)} FROM `{both.project}.{both.dataset}.{model.__table__.name}`")
    return Counter(repr([plain(parsed(row[name], column)) for name, column in columns.items()]) for row in rows)


@pytest.mark.parametrize("which", ["made_up", "real"])
def test_every_column_of_every_model_is_what_sql_gives_and_the_same_in_a_folder(
    cloud: Cloud, which: str, request: pytest.FixtureRequest, real_data: RealData
) -> None:
    both = request.getfixturevalue(which)
    full = set()
    with both.sessions() as (local, remote):
        for name, model in orm.MODELS.items():
            found = remote.scalars(select(model)).all()
            assert in_objects(found) == in_bigquery(cloud, both, model), name
            assert in_objects(found, _OF_THE_RUN) == in_objects(local.scalars(select(model)), _OF_THE_RUN), name
            if found:
                full.add(name)
    expected = {
        "ZTFAlert",
        "ZTFAlertRow",
        "ZTFCutouts",
        "ZTFFeatures",
        "LSSTAlert",
        "LSSTAlertRow",
        "LSSTCutouts",
        "LSSTFeatures",
    }
    expected |= {"CrossMatch", "CrossMatchRow", "Run"}
    more = {"PGIRAlert", "ElasticcAlertRow"} if real_data.larger else {"PGIRAlert"}
    assert full >= expected | ({"DeadLetter", "DeadLetterRow"} if which == "made_up" else more)


magnitude, band, older = ZTFAlert.candidate["magpsf"], ZTFAlert.candidate["fid"], ZTFAlert.prv_candidates
nearest = CrossMatch.matches[0]["separation_arcsec"]
other = aliased(ZTFAlert)
survey_and_id = [select(model.survey, model.alert_id) for model in (ZTFAlert, LSSTAlert)]
lengths = select(ZTFAlert.alert_id, func.array_length(older).label("n")).cte()

QUERIES: dict[str, sa.Select[Any] | sa.CompoundSelect[Any]] = {
    "a field": select(ZTFAlert.alert_id).where(magnitude < 19),
    "fields": select(ZTFAlert.alert_id, magnitude).where(magnitude.between(18, 19.5), band == 1),
    "a missing field": select(ZTFAlert.alert_id, older[0]["jd"]).where(older[0]["magpsf"].is_(None)),
    "an item": select(ZTFAlert.alert_id, older[0]["jd"]).where(older[0]["magpsf"].is_not(None)),
    "an item beyond the end": select(ZTFAlert.alert_id, older[1000]["jd"]),
    "a large id in a record": select(LSSTAlert.alert_id, LSSTAlert.diaSource["diaSourceId"]),
    "a true field": select(LSSTAlert.alert_id, LSSTAlert.diaSource["isDipole"]),
    "ids": select(ZTFAlert.object_id).where(ZTFAlert.alert_id.in_(select(CrossMatch.alert_id))),
    "given values": select(ZTFAlert.object_id).where(band.in_([2, 3])),
    "not these": select(ZTFAlert.object_id).where(ZTFAlert.candidate["fid"].not_in([1])),
    "none of none": select(ZTFAlert.object_id).where(ZTFAlert.alert_id.in_([])),
    "text": select(ZTFAlert.alert_id).where(ZTFAlert.object_id.like("ZTF2%") | ZTFAlert.object_id.contains("a")),
    "a prefix": select(ZTFAlert.alert_id).where(ZTFAlert.object_id.startswith("ZTF1"), ~ZTFAlert.object_id.endswith("a")),
    "a night": select(ZTFAlert.alert_id).where(ZTFAlert.night == date(2026, 9, 17)),
    "a time": select(ZTFAlert.alert_id).where(ZTFAlert.observed_at < datetime(2026, 9, 17, 5)),
    "bytes": select(ZTFAlertRow.alert_id).where(ZTFAlertRow.packet_digest > b"\x80"),
    "bands": select(band, func.count(), func.min(magnitude)).group_by(band).having(func.count() > 1),
    "a labelled band": select(band.label("x"), func.count()).group_by(band),
    "faintest first": select(ZTFAlert.alert_id).order_by(magnitude.desc()).limit(7).offset(2),
    "distinct": select(ZTFAlert.object_id).distinct(),
    "pairs": select(ZTFAlert.alert_id, other.alert_id).join(other, other.candidate["magpsf"] > magnitude).where(magnitude < 18),
    "matches": select(ZTFAlert.alert_id, CrossMatch.catalog, nearest).join(ZTFAlert.crossmatches).where(nearest > 1),
    "with a match": select(ZTFAlert.alert_id).where(ZTFAlert.crossmatches.any(CrossMatch.status == "matched")),
    "without matches": select(func.count()).select_from(ZTFAlert).where(~ZTFAlert.crossmatches.any()),
    "stamps": select(ZTFAlert.alert_id, ZTFCutouts.science).join(ZTFAlert.all_cutouts).where(magnitude < 19),
    "a key": select(DeadLetter.source).where(DeadLetter.attributes["letter"].is_not(None)),
    "a key in a record": select(CrossMatch.alert_id, CrossMatch.matches[0]["columns"]["source_id"]),
    "no such key": select(ZTFAlert.alert_id).where(ZTFAlert.extra["candidate.nothing"] == "x"),
    "two surveys": sa.union_all(*survey_and_id),
    "a subquery": select(func.max(lengths.c.n), func.count()).select_from(lengths),
    "whole records": select(LSSTAlert.diaObject, LSSTAlert.prvDiaSources, LSSTAlert.null_arrays),
}


@pytest.mark.parametrize("name", QUERIES)
def test_the_same_query_gives_the_same_rows(made_up: Both, name: str) -> None:
    query = QUERIES[name]
    with made_up.sessions() as (local, remote):
        here, there = ([repr([plain(one) for one in row]) for row in session.execute(query)] for session in (local, remote))
    assert (here == there) if "LIMIT" in str(query) else (sorted(here) == sorted(there))
    assert here or name in ("none of none", "no such key")


def test_ids_are_exact(made_up: Both) -> None:
    with Session(made_up.uri) as session:
        ids = session.scalars(select(ZTFAlert.alert_id)).all()
        assert min(ids) > 2**53
        for one in ids[:5]:
            near = ZTFAlert.candidate["candid"].in_([one - 1, one, one + 1])
            assert set(session.scalars(select(ZTFAlert.candid).where(near))) == {one - 1, one, one + 1} & set(ids)
            assert session.get(ZTFAlert, one).candidate["candid"] == one


def test_each_engine_is_asked_in_its_own_words(made_up: Both) -> None:
    query = select(LSSTAlert.alert_id).where(LSSTAlert.prvDiaSources[2]["psfFlux"] > 0, LSSTAlert.extra["a.b"] == "x")
    with made_up.sessions() as (local, remote):
        here, there = (" ".join(str(query.compile(session.get_bind())).split()) for session in (local, remote))
    assert "struct_extract(list_extract(lsst_alerts_unique.\"prvDiaSources\", 3), 'psfFlux') > " in here
    assert "json_extract_string(lsst_alerts_unique.extra, '$.\"a.b\"') = " in here
    assert "`lsst_alerts_unique`.`prvDiaSources`[SAFE_OFFSET(2)].`psfFlux` > " in there
    assert "JSON_VALUE(`lsst_alerts_unique`.`extra`, '$.\"a.b\"') = " in there


def test_an_alert_knows_its_stamps_and_matches(made_up: Both) -> None:
    def known(session: Session, query: sa.Select[Any]) -> list[Any]:
        return sorted(
            (
                alert.alert_id,
                alert.cutouts.science,
                [(match.catalog, match.status, match.asked_at) for match in alert.crossmatches],
            )
            for alert in session.scalars(query).unique()
        )

    alerts, rows = select(ZTFAlert).where(magnitude < 19), select(ZTFAlertRow).where(ZTFAlertRow.candidate["magpsf"] < 19)
    both = ZTFAlert.all_cutouts, ZTFAlert.crossmatches
    of_rows = joinedload(ZTFAlertRow.all_cutouts), joinedload(ZTFAlertRow.crossmatches)
    with made_up.sessions() as (local, remote):
        expected = known(local, alerts)
        assert any(matches for *_, matches in expected)
        assert known(remote, alerts) == expected
        assert {row[0] for row in known(remote, rows)} == {row[0] for row in expected}
    for options in (map(selectinload, both), map(joinedload, both)):
        with Session(made_up.uri) as remote:
            assert known(remote, alerts.options(*options)) == expected
    with made_up.sessions() as (local, remote):
        assert known(remote, rows.options(*of_rows)) == known(local, rows.options(*of_rows)) == known(local, rows)


def test_results_that_are_read_side_by_side_stay_apart(made_up: Both) -> None:
    with Session(made_up.uri) as session:
        names = select(ZTFAlert.alert_id, ZTFAlert.object_id).order_by(ZTFAlert.alert_id)
        first, second = session.execute(names), session.execute(select(LSSTAlert.alert_id))
        assert len(second.all()) == 4
        alone = [tuple(row) for row in first]
        read = []
        for alert in session.scalars(select(ZTFAlert).order_by(ZTFAlert.alert_id).execution_options(yield_per=7)):
            assert alert.cutouts
            read.append((alert.alert_id, alert.object_id))
        assert read == alone
        assert len(read) == 20


@pytest.mark.parametrize(
    "write",
    [
        lambda session: session.add(Run(run_id="x")),
        lambda session: session.delete(session.scalars(select(DeadLetter)).first()),
        lambda session: session.execute(sa.insert(Run).values(run_id="x")),
        lambda session: session.execute(sa.delete(ZTFAlertRow).where(sa.true())),
        lambda session: session.execute(sa.text("SELECT 1; DROP TABLE runs")),
    ],
)
def test_nothing_is_written(cloud: Cloud, made_up: Both, write: Callable[[Session], Any]) -> None:
    with Session(made_up.uri) as session:
        with pytest.raises(ReadOnly):  # noqa: PT012 - the one or the other
            write(session)
            session.commit()
        session.rollback()
        for name in ("runs", "ztf_alerts", "dead_letters"):
            (row,) = cloud.rows(f"SELECT COUNT(*) AS n FROM `{made_up.project}.{made_up.dataset}.{name}`")
            assert row["n"] == {"runs": 1, "ztf_alerts": 23, "dead_letters": 4}[name]
        assert len(session.scalars(select(Run)).all()) == 1


def test_what_is_not_there_is_said(cloud: Cloud) -> None:
    with pytest.raises(QueryError, match=r"no_such_dataset cannot be opened: .*Not found"):
        Session(f"bigquery://{cloud.project}/no_such_dataset")
    dataset = cloud.dataset()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
    with Session(f"bigquery://{cloud.project}/{dataset}") as session:
        assert session.scalars(select(ZTFAlert)).all() == []
        assert session.scalars(select(CrossMatch)).all() == []
        with pytest.raises(QueryError, match=f"{dataset} lacks a table, .*lsst_alerts_unique"):
            session.scalars(select(LSSTAlert)).all()
        with pytest.raises(sa.exc.DBAPIError, match="no_such_function"):
            session.execute(select(func.no_such_function(ZTFAlert.alert_id))).all()


def test_a_closed_session_can_be_used_again(made_up: Both) -> None:
    session = Session(made_up.uri)
    first = session.scalars(select(ZTFAlert).order_by(ZTFAlert.alert_id)).first()
    session.close()
    again = session.scalars(select(ZTFAlert).order_by(ZTFAlert.alert_id)).first()
    assert again is not first
    assert again.candidate == first.candidate
    session.close()


def test_the_lines_of_the_docs_run(made_up: Both, capsys: pytest.CaptureFixture[str]) -> None:
    program = "\n".join(snippets(DOCS.read_text(encoding="utf-8")))
    assert program.count('"./warehouse"') == 1
    names: dict[str, Any] = {}
    exec(program.replace("./warehouse", made_up.uri), names)
    printed = capsys.readouterr().out
    for alert in names["session"].scalars(names["bright"].limit(3)):
        assert str(alert.alert_id) in printed
    names["session"].close()
    assert isinstance(names["session"].get_bind().dialect.dbapi, type(bigquery.dbapi))
