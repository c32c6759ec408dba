"""Regions that tests make: sky maps as gravitational-wave events have them, in each form that maps are written in."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass, field
from typing import Any

import astropy.units as u
import numpy as np
from astropy.io import fits
from astropy_healpix import HEALPix, healpix_to_lonlat, level_ipix_to_uniq

from alerts.lists.regions import Region, RegionSpec, read_region

LOBES = ((197.45, -23.38, 4.0, 0.7), (20.0, 40.0, 9.0, 0.3))
"""Longitude, latitude, width (degrees), and how much of the probability is there."""
DATE = "2017-08-17T12:41:04.429"


@dataclass(frozen=True)
class MadeMap:
    """A map in NESTED pixels of orders that may differ, apart, in order of their places."""

    orders: np.ndarray[Any, Any]
    cells: np.ndarray[Any, Any]
    probability: np.ndarray[Any, Any]

    @functools.cached_property
    def area_sr(self) -> np.ndarray[Any, Any]:
        return np.pi / 3 / 4.0**self.orders

    @functools.cached_property
    def density(self) -> np.ndarray[Any, Any]:
        return self.probability / self.area_sr


def density_at(lon: Any, lat: Any) -> Any:
    """Two lobes, not normalized, and far from both nothing at all."""
    total = np.zeros(np.shape(lon))
    for lon0, lat0, width, part in LOBES:
        cosine = np.sin(np.radians(lat)) * np.sin(np.radians(lat0)) + np.cos(np.radians(lat)) * np.cos(np.radians(lat0)) * np.cos(
            np.radians(lon - lon0)
        )
        total += part / width**2 * np.exp((cosine - 1) / np.radians(width) ** 2)
    return np.where(total < 1e-12, 0.0, total)


def centers(cells: Any, order: int) -> tuple[Any, Any]:
    lon, lat = healpix_to_lonlat(cells, 2**order, order="nested")
    return lon.deg, lat.deg


def flat_map(order: int) -> MadeMap:
    cells = np.arange(12 * 4**order)
    values = density_at(*centers(cells, order))
    return MadeMap(np.full(len(cells), order), cells, values / values.sum())


def multi_order_map(first: int = 2, last: int = 5) -> MadeMap:
    """Pixels are divided where much of the probability is, as BAYESTAR does."""
    kept: list[tuple[int, int, float]] = []
    cells = np.arange(12 * 4**first)
    for order in range(first, last + 1):
        values = density_at(*centers(cells, order)) / 4.0**order
        dense = values > np.quantile(values, 0.75) if order < last else np.zeros(len(cells), np.bool_)
        kept += [(order, int(cell), float(value)) for cell, value in zip(cells[~dense], values[~dense], strict=True)]
        cells = (cells[dense][:, None] * 4 + np.arange(4)).ravel()
    kept.sort(key=lambda pixel: pixel[1] << 2 * (29 - pixel[0]))
    orders, cells, values = (np.array(column) for column in zip(*kept, strict=True))
    return MadeMap(orders, cells, values / values.sum())


@dataclass(frozen=True)
class Form:
    """How a map is written."""

    ordering: str
    column: str = "PROB"
    unit: str | None = "pix-1"
    coordsys: str | None = "C"
    row_length: int = 1
    is_partial: bool = False
    header: tuple[tuple[str, Any], ...] = field(default=(("DATE-OBS", DATE),))
    seed: int | None = None
    """Of a shuffle of a multi-order or a partial map."""


def written(made: MadeMap, form: Form) -> bytes:
    values = made.density if form.column == "PROBDENSITY" or form.unit == "sr-1" else made.probability
    order = int(made.orders[0])
    columns, told = [], {"PIXTYPE": "HEALPIX", "ORDERING": form.ordering, **dict(form.header)}
    if form.coordsys is not None:
        told["COORDSYS"] = form.coordsys
    places = np.arange(len(values))
    if form.seed is not None:
        places = np.random.default_rng(form.seed).permutation(places)
    if form.ordering == "NUNIQ":
        columns.append(fits.Column("UNIQ", "K", array=level_ipix_to_uniq(made.orders, made.cells)[places]))
        told |= {"MOCORDER": int(made.orders.max()), "INDXSCHM": "EXPLICIT"}
    else:
        cells = made.cells if form.ordering != "RING" else HEALPix(2**order, order="nested").nested_to_ring(made.cells)
        told |= {"NSIDE": 2**order, "INDXSCHM": "EXPLICIT" if form.is_partial else "IMPLICIT"}
        if form.is_partial:
            places = places[values[places] > 0]
            columns.append(fits.Column("PIXEL", "J", array=cells[places]))
        else:
            places = np.argsort(cells)
    held = values[places]
    rows = held if form.row_length == 1 else held.reshape(-1, form.row_length)
    columns.append(fits.Column(form.column, f"{form.row_length}D", array=rows, unit=form.unit))
    table = fits.BinTableHDU.from_columns(columns)
    table.header.update(told)
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    return file.getvalue()


def read_map(made: MadeMap, form: Form, **said: Any) -> Region:
    return read_region(RegionSpec("gw", "map.fits", **said), written(made, form))


def around(cells: Any, orders: Any, rim: float) -> tuple[Any, Any, Any]:
    """Places in each pixel: its center, and at corners and sides, within by a part of a side; and whose they are."""
    inside = [(0.5, 0.5), *((x, y) for x in (rim, 0.5, 1 - rim) for y in (rim, 1 - rim)), (rim, 0.5), (1 - rim, 0.5)]
    lons, lats, whose = [], [], []
    for dx, dy in inside:
        for order in np.unique(orders):
            (chosen,) = np.nonzero(orders == order)
            lon, lat = healpix_to_lonlat(
                cells[chosen], 2 ** int(order), np.full(len(chosen), dx), np.full(len(chosen), dy), order="nested"
            )
            lons.append(lon.to_value(u.deg))
            lats.append(lat.to_value(u.deg))
            whose.append(chosen)
    return np.concatenate(lons), np.concatenate(lats), np.concatenate(whose)
