"""Whatever names an alert works wherever an alert is asked for, and shows the same alert."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from broker import warehouse as warehouses
from broker.orm import Session, ZTFAlert, ZTFAlertRow
from broker.pictures import plot_light_curve, plot_stamps
from broker.pictures.packets import packet_of
from broker.warehouse import QueryError
from tests.nights import run, simulated, truth
from warehouses.alert_key import alert_key
from warehouses.result import Result


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "12", "--seed", "5")


@pytest.fixture(scope="module")
def place(night: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("warehouse")
    assert run(folder, night) == 0
    return str(folder)


@pytest.fixture(scope="module")
def alert_id(night: Path) -> int:
    return int(truth(night)[0]["alert_id"])


def row(place: str, alert_id: int, columns: str = "*") -> dict[str, Any]:
    with warehouses.open(place) as opened:
        [found] = opened.query(f"SELECT {columns} FROM ztf_alerts_unique WHERE alert_id = {alert_id}").to_pylist()
    return dict(found)


def answer(place: str, alert_id: int) -> Result:
    with warehouses.open(place) as opened:
        return opened.query(f"SELECT * FROM ztf_alerts_unique WHERE alert_id = {alert_id}")


WAYS: dict[str, Callable[[str, int], Any]] = {
    "integer": lambda place, alert_id: alert_id,
    "numpy integer": lambda place, alert_id: np.int64(alert_id),
    "text": lambda place, alert_id: str(alert_id),
    "row": row,
    "narrow row": lambda place, alert_id: row(place, alert_id, "alert_id, survey"),
    "answer of one row": answer,
    "row of astropy": lambda place, alert_id: answer(place, alert_id).to_astropy()[0],
    "row of a cone": lambda place, alert_id: row(place, alert_id, "alert_id, object_id, ra_deg"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_alert_by_any_name(way: str, place: str, alert_id: int) -> None:
    named = WAYS[way](place, alert_id)
    with warehouses.open(place) as opened:
        fig = plot_stamps(named, opened)
        assert str(alert_id) in fig.get_suptitle()
        assert len(fig.axes[0].images) == 1
        assert plot_stamps(named, place).get_suptitle() == fig.get_suptitle()
        assert [one["alert"]["alert_id"] for one in opened.info(named)] == [alert_id]
        if "row" in way:
            assert "detection" in plot_light_curve(named, opened).axes[0].get_title()


def test_an_alert_of_the_orm_knows_its_warehouse(place: str, alert_id: int) -> None:
    with Session(place) as session:
        for model in (ZTFAlert, ZTFAlertRow):
            alert = session.scalars(select(model).where(model.alert_id == alert_id)).first()
            assert str(alert_id) in plot_stamps(alert).get_suptitle()
            assert "detection" in plot_light_curve(alert).axes[0].get_title()
            packet, survey = packet_of(alert)
            assert (packet["candid"], survey) == (alert_id, "ztf")


def test_a_row_of_one_of_several_packets_is_that_packet(place: str, night: Path, tmp_path: Path) -> None:
    digest = row(place, int(truth(night)[1]["alert_id"]))["packet_digest"]
    key = alert_key({"alert_id": 5, "survey": "ztf", "packet_digest": digest})
    assert (key.alert_id, key.survey, key.packet_digest) == (5, "ztf", digest)
    with warehouses.open(place) as opened, pytest.raises(QueryError, match="holds no alert"):
        packet_of({"alert_id": int(truth(night)[0]["alert_id"]), "packet_digest": digest}, opened)


@pytest.mark.parametrize("wrong", [1.5, "ZTF18abc", None, {"alert_id": 2.0e18}, {"alert_id": None}])
def test_what_names_no_alert_is_refused(wrong: Any) -> None:
    with pytest.raises(QueryError, match=r"is no integer; give the id, a row with alert_id, or an alert of broker.orm"):
        alert_key(wrong)


def test_an_answer_of_several_rows_names_none(place: str) -> None:
    with warehouses.open(place) as opened, pytest.raises(QueryError, match="an answer of 12 rows names no alert; take one"):
        opened.info(opened.query("SELECT * FROM ztf_alerts"))
