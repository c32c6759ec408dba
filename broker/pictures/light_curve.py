"""The brightness of an object over time: from one packet and its history, or from all its alerts in a warehouse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from alerts import light_curve
from alerts.light_curve import NoPhotometry
from alerts.surveys import Survey
from broker import warehouse as warehouses
from broker.pictures.curve_axes import ab_axis, fit_axes, mark_beyond
from broker.pictures.curve_features import draw_features
from broker.pictures.curve_points import Point, draw, legend, points_of
from broker.pictures.figure import canvas
from broker.pictures.packets import NoPicture, Packet, first, object_name, packet_of, survey_of
from warehouses.history import ObjectCurve, curve_of_object
from warehouses.warehouse import Warehouse

Quantity = Literal["difference", "apparent"]
_INCHES = (10.5, 5.0)
_BESIDE_AB = 6.5
"""Heights of a letter between the axes and the legend, where magnitudes stand between them."""
_MANY = 150
"""More points are drawn smaller."""


def plot_light_curve(
    what: Any,
    warehouse: Warehouse | str | None = None,
    *,
    survey: str | None = None,
    quantity: Quantity = "difference",
    features: bool = False,
    ax: Axes | None = None,
    fig: Figure | SubFigure | None = None,
) -> Figure:
    """The light curve of an alert with its history, or of an object (its id) over all its alerts in a warehouse.

    An alert is a packet as fastavro gives it, a row with ``alert_id``, or an object of ``broker.orm``.

    The points are those of the table that ``warehouse.light_curve`` and ``alerts.light_curve`` give: magnitudes (up is
    brighter) or fluxes over time in MJD, in the survey's own scale, UTC or TAI. Circles with errors are detections, squares
    forced photometry, both open where the source is fainter than in the template; triangles are upper limits; diamonds are
    flagged by the survey; the alert itself has a ring. ``quantity="apparent"`` draws the magnitude of the source itself in
    place of that of the difference, where that can be told. Points far from all others do not set the axes: they are counted.
    ``features`` draws what the alert's features say of the difference, of an object those of its newest alert: a line through
    the detections of each band, whose slope the legend tells, and a dotted one from the last limit before the first of them.
    ``survey`` names whose packet or object it is, where that is not plain. Raises ``NoPicture`` for a packet of an unknown
    survey, ``QueryError`` for an object that the warehouse does not hold.
    """
    if features and quantity != "difference":
        raise NoPicture("features are of the difference from the template; leave out --features, or --apparent")
    own: Packet | None = None
    try:
        if isinstance(what, str) or hasattr(what, "__index__"):
            curve, newest = _from_warehouse(str(what), warehouse, survey, features)
        else:
            own, named = packet_of(what, warehouse, survey, stamps=False)
            newest, facts = own, survey_of(own, named)
            curve = ObjectCurve(facts, object_name(own, facts), light_curve.light_curve([own], facts))
        in_magnitudes = quantity == "apparent" or light_curve.facts_of(curve.survey).quantity == "magnitude"
    except NoPhotometry as error:
        raise NoPicture(str(error)) from None
    # Beside the axes there is room only in a figure of our own.
    beside = fig is None and ax is None
    figure, ax = canvas(fig, ax, _INCHES)
    points = points_of(curve.table, quantity, in_magnitudes)
    draw(ax, points, 0.7 if len(points) > _MANY else 1.0)
    ring = None if own is None else _ring(ax, own, curve.survey, points)
    _label(ax, curve, points, quantity)
    if points:
        beyond = fit_axes(ax, points, in_magnitudes)
        mark_beyond(ax, beyond)
        has_ab = not in_magnitudes and ab_axis(ax)
        told = [] if not features or newest is None else draw_features(ax, newest, curve.survey, in_magnitudes)
        _legend(ax, points, ring, told, (_BESIDE_AB if has_ab else 1.0) if beside else None)
    else:
        ax.text(0.5, 0.5, "no photometry", transform=ax.transAxes, ha="center", va="center", color="0.35")
    return figure


def _from_warehouse(
    object_id: str, warehouse: Warehouse | str | None, survey: str | None, with_newest: bool
) -> tuple[ObjectCurve, Packet | None]:
    """The curve of an object, and its newest packet where it is wanted."""
    if warehouse is None:
        raise TypeError(f"object {object_id!r} needs a warehouse to take its alerts from: plot_light_curve(object_id, warehouse)")
    if not isinstance(warehouse, Warehouse):
        with warehouses.open(warehouse) as opened:
            return _from_warehouse(object_id, opened, survey, with_newest)
    curve = curve_of_object(warehouse, object_id, survey)
    if not with_newest:
        return curve, None
    alerts = [alert for alert in warehouse.alerts_of(object_id).to_pylist() if alert["survey"] == curve.survey.name]
    return curve, warehouse.packet(alerts[-1]["alert_id"], curve.survey.name, stamps=False)[0]


def _ring(ax: Axes, packet: Packet, survey: Survey, points: list[Point]) -> Any:
    """A ring about the alert's own point, or a line that says why there is none."""
    alert_id = light_curve.pluck_first(packet, survey.alert_id)
    mine = [point for point in points if point.kind == "detection" and point.alert_id == alert_id]
    if mine:
        return ax.plot(mine[0].mjd, mine[0].value, "o", ms=13, mfc="none", mec="0.3", mew=1, label="this alert", zorder=4)[0]
    series = light_curve.facts_of(survey).series[0]
    record = packet.get(series.name)
    sent = first(record, series.value) if isinstance(record, Mapping) else None
    name = next((field for field in series.value if isinstance(record, Mapping) and field in record), series.value[0])
    words = f"this alert's own point is not drawn: its {series.name}.{name} is {'null' if sent is None else sent}"
    ax.text(0.5, 0.02, words, transform=ax.transAxes, ha="center", va="bottom", fontsize="small", color="#b00020", zorder=6)
    return None


def _label(ax: Axes, curve: ObjectCurve, points: list[Point], quantity: Quantity) -> None:
    counts = Counter(point.kind for point in points)
    names = {"detection": "detection", "limit": "limit", "forced": "forced point"}
    said = ", ".join(f"{n:,} {name}{'s' * (n > 1)}" for kind, name in names.items() if (n := counts[kind]))
    other = sum(value > 0 for value in curve.table.column("n_other_values").to_pylist())
    differing = f"\nof {other:,} of them several values were sent; here is the newest packet's" if other else ""
    title = f"{curve.survey.name.upper()} {curve.name}: {said or 'no photometry'}"
    ax.set_title(f"{title}{_not_drawn(curve.table, points)}{differing}", fontsize="medium")
    ax.set_xlabel(f"MJD ({curve.survey.time_scale.upper()})")
    facts = light_curve.facts_of(curve.survey)
    system = f" ({facts.system})" if facts.system else ""
    ax.set_ylabel(facts.label if quantity == "difference" else f"apparent magnitude{system}")


def _not_drawn(table: pa.Table, points: list[Point]) -> str:
    left_out = table.num_rows - len(points)
    return f" ({left_out:,} without a value)" if left_out else ""


def _legend(ax: Axes, points: list[Point], ring: Any, told: list[Any], beside: float | None) -> None:
    """What stands in the picture, as it is drawn; outside, so many letters beside the axes, or where room is."""
    entries = legend(points) + ([ring] if ring is not None else []) + told
    if beside is None:
        ax.legend(handles=entries, loc="best", fontsize="small")
    else:
        ax.legend(handles=entries, loc="center left", bbox_to_anchor=(1, 0.5), borderaxespad=beside, fontsize="small")
