"""Where on the sky a night's alerts are."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import numpy as np
from astropy_healpix import healpix_to_lonlat
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure

from alerts.positions import HEALPIX_ORDER, healpix
from alerts.surveys import Survey
from broker import warehouse as warehouses
from broker.pictures.curve_points import BAND_COLORS, OTHER_COLOR, band_order
from broker.pictures.figure import canvas
from broker.pictures.sky_axes import PartOfSky, Piece, WholeSky, piece_of
from warehouses import QueryError
from warehouses.history import surveys_in, unique_rows
from warehouses.warehouse import Warehouse

MAX_POINTS = 20_000
"""Of more alerts the density is drawn."""
_INCHES, _INCHES_OF_A_PART = (9.5, 5.4), (8.4, 7.4)
_CELL_ORDER = 5
"""HEALPix order of the density's cells: 1.8 deg wide, 3.36 square degrees."""
_FINER = 2
"""Orders more where only a part of the sky is shown."""
_NIGHT = "night = DATE '{}'"

Positions = np.ndarray[Any, np.dtype[np.float64]]


def plot_sky(
    warehouse: Warehouse | str,
    night: date | str,
    *,
    survey: str | None = None,
    ax: Axes | None = None,
    fig: Figure | SubFigure | None = None,
) -> Figure:
    """The alerts of a night (a date, as column ``night`` counts them) on the sky, one point per alert id.

    Equatorial (ICRS), right ascension increasing to the left, with the galactic plane and the center of the Galaxy: the part
    of the sky that they take, in a zenithal equal-area projection, where they all lie within 60 degrees of their middle, else
    the whole sky in Mollweide's. Up to 20,000 alerts are points, colored by band; of more the number per square degree is shown.
    ``survey`` draws only that one's; ``ax`` must have the projection ``mollweide``, and shows
    the whole sky.
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
    counts = {survey.name: _count(warehouse, survey, night) for survey in surveys}
    counts = {name: found for name, found in counts.items() if found[0]}
    total = sum(found[0] for found in counts.values())
    if not total:
        raise QueryError(f"the warehouse holds no alerts of the night {night}; {_nights(warehouse, surveys)}")
    surveys = [survey for survey in surveys if survey.name in counts]
    few, whole = total <= MAX_POINTS, ax is not None
    if few:
        points = _points(warehouse, surveys, night)
        ra, dec = np.concatenate(list(points.values()), axis=1) if points else np.empty((2, 0))
    else:
        cells = np.array(list(_cells(warehouse, surveys, night, _CELL_ORDER)), np.int64)
        ra, dec = (angle.deg for angle in healpix_to_lonlat(cells, 2**_CELL_ORDER, order="nested"))
    piece = WholeSky() if whole else piece_of(ra, dec)
    figure, ax = canvas(fig, ax, _INCHES if isinstance(piece, WholeSky) else _INCHES_OF_A_PART, **piece.axes)
    if few:
        _draw_points(ax, piece, points)
    else:
        order = _CELL_ORDER + (_FINER if isinstance(piece, PartOfSky) else 0)
        _draw_density(figure, ax, piece, _cells(warehouse, surveys, night, order), order)
    piece.galaxy(ax)
    piece.frame(ax)
    below = -0.03 if isinstance(piece, WholeSky) else -0.12
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, below), ncols=6, fontsize="small", frameon=False, markerscale=1.5)
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
    parts = [f"SELECT night, COUNT(*) AS n FROM {survey.name}_alerts GROUP BY night" for survey in surveys]
    nights = sorted(row["night"] for row in warehouse.query(" UNION ALL ".join(parts)).to_pylist())
    return f"its nights are from {nights[0]} to {nights[-1]}"


def _points(warehouse: Warehouse, surveys: list[Survey], night: date) -> dict[str, Positions]:
    """Positions (RA, Dec in degrees) by band."""
    by_band: dict[str, list[tuple[float, float]]] = {}
    for survey in surveys:
        band = _band_column(survey)
        rows = _of_night(warehouse, survey, night, f"healpix29, ra_deg, dec_deg, {band} AS own_band")
        sql = f"SELECT ra_deg, dec_deg, own_band FROM {rows} WHERE healpix29 IS NOT NULL"
        for row in warehouse.query(sql).to_pylist():
            name = survey.photometry.band_name(row["own_band"]) if survey.photometry else "unknown"
            by_band.setdefault(name, []).append((row["ra_deg"], row["dec_deg"]))
    return {name: np.array(by_band[name]).T for name in sorted(by_band, key=band_order)}


def _draw_points(ax: Axes, piece: Piece, by_band: dict[str, Positions]) -> None:
    most = max((positions.shape[1] for positions in by_band.values()), default=0)
    for name, (ra, dec) in by_band.items():
        color = BAND_COLORS.get(name, OTHER_COLOR)
        label = f"{name} band ({len(ra):,})"
        ax.scatter(*piece.place(ra, dec), s=10 if most < 1000 else 3, color=color, alpha=0.7, lw=0, label=label, zorder=3)


def _band_column(survey: Survey) -> str:
    """Where the survey's table has the band of an alert; NULL where nobody has told."""
    if survey.photometry is None:
        return "NULL"
    own = survey.photometry.series[0]
    column = survey.by_field[own.name]
    return next((f"{column.name}.{name}" for name in own.band if name in column.by_name), "NULL")


def _cells(warehouse: Warehouse, surveys: list[Survey], night: date, order: int) -> Counter[int]:
    """Alerts in each HEALPix cell of an order, which the warehouse counts."""
    counts: Counter[int] = Counter()
    # What a shift by this many bits leaves of an index is the cell of the lower order.
    cell = f"healpix29 >> {2 * (HEALPIX_ORDER - order)}"
    for survey in surveys:
        placed = f"{_of_night(warehouse, survey, night, 'healpix29')} WHERE healpix29 IS NOT NULL"
        sql = f"SELECT {cell} AS cell, COUNT(*) AS n FROM {placed} GROUP BY cell"
        for row in warehouse.query(sql).to_pylist():
            counts[row["cell"]] += row["n"]
    return counts


def _draw_density(fig: Any, ax: Axes, piece: Piece, counts: Counter[int], order: int) -> None:
    """Alerts per square degree."""
    square_deg = 4 * np.pi * (180 / np.pi) ** 2 / (12 * 4**order)
    x, y, ra, dec = piece.grid()
    on_sky = np.isfinite(ra) & np.isfinite(dec)
    cells = healpix(np.where(on_sky, ra, 0.0), np.where(on_sky, dec, 0.0), order)
    known = np.array(sorted(counts), np.int64)
    place = np.minimum(np.searchsorted(known, cells), len(known) - 1)
    density = np.array([counts[cell] for cell in known.tolist()], np.float64)[place] / square_deg
    density[(known[place] != cells) | ~on_sky] = np.nan
    mesh = ax.pcolormesh(x, y, density, norm=LogNorm(), cmap="viridis", rasterized=True, zorder=1)
    fig.colorbar(mesh, ax=ax, label="alerts per square degree", shrink=0.7, pad=0.03)
