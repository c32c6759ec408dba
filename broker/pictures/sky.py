"""Where on the sky a night's alerts are."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure

from alerts.positions import HEALPIX_ORDER, healpix
from alerts.surveys import Survey
from broker import warehouse as warehouses
from broker.history import surveys_in, unique_rows
from broker.pictures.curve_points import BAND_COLORS, OTHER_COLOR, band_order
from broker.pictures.figure import canvas
from broker.warehouse import QueryError, Warehouse

MAX_POINTS = 20_000
"""Of more alerts the density is drawn."""
_INCHES = (9.5, 5.4)
_CELL_ORDER = 5
"""HEALPix order of the density's cells: 1.8 deg wide, 3.36 square degrees."""
_CELL_SQUARE_DEG = 4 * np.pi * (180 / np.pi) ** 2 / (12 * 4**_CELL_ORDER)
_GALAXY_COLOR = "#555555"
_NIGHT = "night = DATE '{}'"
_GRID_HOURS = range(0, 24, 2)


def plot_sky(
    warehouse: Warehouse | str,
    night: date | str,
    *,
    survey: str | None = None,
    ax: Axes | None = None,
    fig: Figure | SubFigure | None = None,
) -> Figure:
    """The alerts of a night (a date, as column ``night`` counts them) on the whole sky, one point per alert id.

    Equatorial (ICRS) Mollweide projection, right ascension increasing to the left, with the galactic plane and the center
    of the Galaxy. Up to 20,000 alerts are points, colored by band; of more the number per square degree is shown.
    ``survey`` draws only that one's; ``ax`` must have the projection ``mollweide``.
    Raises ``QueryError`` when there are no alerts of that night.
    """
    day = date.fromisoformat(night) if isinstance(night, str) else night
    if ax is not None and ax.name != "mollweide":
        raise ValueError(f"the axes have the projection {ax.name!r}; plot_sky needs 'mollweide'")
    if isinstance(warehouse, Warehouse):
        return _plot(warehouse, day, survey, ax, fig)
    with warehouses.open(warehouse) as opened:
        return _plot(opened, day, survey, ax, fig)


def _plot(warehouse: Warehouse, night: date, named: str | None, ax: Axes | None, fig: Figure | SubFigure | None) -> Figure:
    surveys = surveys_in(warehouse, named)
    counts = {one.name: _count(warehouse, one, night) for one in surveys}
    counts = {name: found for name, found in counts.items() if found[0]}
    total = sum(found[0] for found in counts.values())
    if not total:
        raise QueryError(f"the warehouse holds no alerts of the night {night}; {_nights(warehouse, surveys)}")
    surveys = [one for one in surveys if one.name in counts]
    figure, ax = canvas(fig, ax, _INCHES, projection="mollweide")
    if total <= MAX_POINTS:
        _points(ax, warehouse, surveys, night)
    else:
        _density(figure, ax, warehouse, surveys, night)
    _frame(ax)
    said = ", ".join(f"{found[0]:,} {name.upper()}" for name, found in counts.items())
    off = sum(found[1] for found in counts.values())
    outside = f" ({off:,} without a position on the sky)" if off else ""
    ax.set_title(f"Night {night}: {said} alert{'s' * (total > 1)}{outside}", fontsize="medium", pad=14)
    return figure


def _of_night(warehouse: Warehouse, survey: Survey, night: date, columns: str) -> str:
    return f"{unique_rows(warehouse, survey, _NIGHT.format(night), columns)} AS a"


def _count(warehouse: Warehouse, survey: Survey, night: date) -> tuple[int, int]:
    """Alerts of the night, and those among them that are nowhere on the sky."""
    sql = f"SELECT COUNT(*) AS n, COUNT(healpix29) AS placed FROM {_of_night(warehouse, survey, night, 'healpix29')}"
    [row] = warehouse.query(sql).to_pylist()
    return row["n"], row["n"] - row["placed"]


def _nights(warehouse: Warehouse, surveys: list[Survey]) -> str:
    # Not MIN and MAX of night: DuckDB 1.5 fails on these for the key of a Hive folder.
    parts = [f"SELECT night, COUNT(*) AS n FROM {one.name}_alerts GROUP BY night" for one in surveys]
    nights = sorted(row["night"] for row in warehouse.query(" UNION ALL ".join(parts)).to_pylist())
    return f"its nights are from {nights[0]} to {nights[-1]}"


def _points(ax: Axes, warehouse: Warehouse, surveys: list[Survey], night: date) -> None:
    by_band: dict[str, list[tuple[float, float]]] = {}
    for survey in surveys:
        band = _band_column(survey)
        rows = _of_night(warehouse, survey, night, f"healpix29, ra_deg, dec_deg, {band} AS own_band")
        sql = f"SELECT ra_deg, dec_deg, own_band FROM {rows} WHERE healpix29 IS NOT NULL"
        for row in warehouse.query(sql).to_pylist():
            name = survey.photometry.band_name(row["own_band"]) if survey.photometry else "unknown"
            by_band.setdefault(name, []).append((row["ra_deg"], row["dec_deg"]))
    most = max(map(len, by_band.values()), default=0)
    for name in sorted(by_band, key=band_order):
        ra, dec = np.array(by_band[name]).T
        color = BAND_COLORS.get(name, OTHER_COLOR)
        label = f"{name} band ({len(ra):,})"
        ax.scatter(*_place(ra, dec), s=10 if most < 1000 else 3, color=color, alpha=0.7, lw=0, label=label, zorder=3)


def _band_column(survey: Survey) -> str:
    """Where the survey's table has the band of an alert; NULL where nobody has told."""
    if survey.photometry is None:
        return "NULL"
    own = survey.photometry.series[0]
    column = survey.by_field[own.name]
    return next((f"{column.name}.{name}" for name in own.band if name in column.by_name), "NULL")


def _density(fig: Any, ax: Axes, warehouse: Warehouse, surveys: list[Survey], night: date) -> None:
    """Alerts per square degree in HEALPix cells, which the warehouse counts."""
    counts: Counter[int] = Counter()
    # What a shift by this many bits leaves of an index is the cell of the lower order.
    cell = f"healpix29 >> {2 * (HEALPIX_ORDER - _CELL_ORDER)}"
    for survey in surveys:
        placed = f"{_of_night(warehouse, survey, night, 'healpix29')} WHERE healpix29 IS NOT NULL"
        sql = f"SELECT {cell} AS cell, COUNT(*) AS n FROM {placed} GROUP BY cell"
        for row in warehouse.query(sql).to_pylist():
            counts[row["cell"]] += row["n"]
    per_cell = np.full(12 * 4**_CELL_ORDER, np.nan)
    per_cell[list(counts)] = np.array(list(counts.values())) / _CELL_SQUARE_DEG
    x, y = np.radians(np.linspace(-180, 180, 1441)), np.radians(np.linspace(-90, 90, 721))
    middle_x, middle_y = np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2)
    cells = healpix(np.degrees(-middle_x) % 360, np.degrees(middle_y), _CELL_ORDER)
    mesh = ax.pcolormesh(x, y, per_cell[cells], norm=LogNorm(), cmap="viridis", rasterized=True, zorder=1)
    fig.colorbar(mesh, ax=ax, label="alerts per square degree", shrink=0.7, pad=0.03)


def _place(ra_deg: Any, dec_deg: Any) -> tuple[Any, Any]:
    """Coordinates of the projection, radians: right ascension 0 in the middle, increasing to the left."""
    return -np.radians((np.asarray(ra_deg) + 180) % 360 - 180), np.radians(np.asarray(dec_deg))


def _frame(ax: Axes) -> None:
    plane = SkyCoord(np.linspace(0, 360, 721), 0, unit="deg", frame="galactic").icrs
    x, y = _place(plane.ra.deg, plane.dec.deg)
    order = np.argsort(x)
    ax.plot(x[order], y[order], color=_GALAXY_COLOR, lw=1.2, label="galactic plane", zorder=2)
    center = SkyCoord(0, 0, unit="deg", frame="galactic").icrs
    ax.plot(*_place(center.ra.deg, center.dec.deg), "x", color=_GALAXY_COLOR, ms=7, label="galactic center", zorder=2)
    hours = [hour for hour in _GRID_HOURS if hour != 12]
    ax.set_xticks(_place(np.array(hours) * 15.0, 0)[0], [f"{hour}h" for hour in hours])
    ax.tick_params(axis="x", labelsize="small", labelcolor="0.35")
    ax.tick_params(axis="y", labelsize="small")
    ax.grid(alpha=0.3)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.03), ncols=6, fontsize="small", frameon=False, markerscale=1.5)
