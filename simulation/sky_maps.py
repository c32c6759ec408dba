"""A map of probabilities on the sky, as gravitational waves have them: where something was, as of an event before the night.

HEALPix cells of several orders, finest where it is most probable. Distances on the sky are the only numbers that are rounded:
weights of cells are whole numbers, and so are their sums, so that credible levels are exact and the same on any machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property

import numpy as np

from simulation.objects import Kind, Objects
from simulation.plan import DECIMALS, UNIX_EPOCH_MJD, NightPlan, Stream
from simulation.sky import Floats, Ints, separation_arcsec
from simulation.stamps import FITS_BLOCK, fits_header
from simulation.survey import UNIX_EPOCH

INSIDE = 0.9
"""Places of at most this credible level are inside."""
SHARE_INSIDE = 0.35
"""So much of a night's objects are inside."""
EVENT_BEFORE_SECS = (129_600, 216_000)
"""From one and a half to two and a half days before the night's first exposure."""
_SIGMA_DEG = (0.5, 30.0)
_MOST_PLACES = 10_000
"""Objects that the map's width is chosen by."""
_NEAR, _FAR = 2.5, 5.5
"""In sigma: within the first are the finest cells, beyond the other the weight is 0."""
_HEIGHT = 1_000_000
_CELL_SIDE_DEG = 58.6323
"""Of a square of the area of a cell of order 0."""
_CELL_REACH_DEG = 61.3
"""No point of a cell of order 0 is farther from its center; of order k, than this over 2**k."""
_LAST_ORDER = 29


@dataclass(frozen=True, eq=False)
class MadeSkyMap:
    """Cells that cover the sky, in the order of their places (NESTED), and when the event was."""

    cells: Ints
    orders: Ints
    weights: Ints
    """Of the density of each cell: whole numbers, of which only the ratios mean something."""
    event: datetime
    """UTC, on a whole second."""

    def level(self, ra_deg: float, dec_deg: float) -> float:
        """The credible level of a place: the probability of all cells that are at least as dense as its own."""
        from astropy_healpix import healpy  # noqa: PLC0415 - half a second, and the command's help needs none of it

        place = int(healpy.ang2pix(2**_LAST_ORDER, ra_deg, dec_deg, nest=True, lonlat=True))
        begins = self.cells << 2 * (_LAST_ORDER - self.orders)
        return float(self._levels[np.searchsorted(begins, place, side="right") - 1])

    @cached_property
    def _parts(self) -> Ints:
        """The probability of each cell, in units of one of the finest cells and weight 1."""
        parts: Ints = self.weights * 4 ** (self.orders.max() - self.orders)
        return parts

    @cached_property
    def _levels(self) -> Floats:
        dense, kind = np.unique(-self.weights, return_inverse=True)
        sums = np.zeros(len(dense), np.int64)
        np.add.at(sums, kind, self._parts)
        levels: Floats = np.cumsum(sums) / self._parts.sum()
        return levels[kind]

    def fits(self) -> bytes:
        """The map as a multi-order FITS file: ``UNIQ`` and ``PROBDENSITY`` (1/sr), in ICRS."""
        cells_of_sky = 12 * 4 ** int(self.orders.max())
        rows = np.empty(len(self.cells), [("UNIQ", ">i8"), ("PROBDENSITY", ">f8")])
        rows["UNIQ"] = self.cells + (4 << 2 * self.orders)
        rows["PROBDENSITY"] = self.weights / float(self._parts.sum()) * (cells_of_sky / (4 * math.pi))
        data = np.sort(rows, order="UNIQ").tobytes()
        seconds = (self.event - UNIX_EPOCH) // timedelta(seconds=1)
        table = fits_header(
            *(("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", rows.itemsize), ("NAXIS2", len(rows))),
            *(("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", 2)),
            *(("TTYPE1", "UNIQ"), ("TFORM1", "K"), ("TTYPE2", "PROBDENSITY"), ("TFORM2", "D"), ("TUNIT2", "sr-1")),
            *(("PIXTYPE", "HEALPIX"), ("ORDERING", "NUNIQ"), ("COORDSYS", "C"), ("INDXSCHM", "EXPLICIT")),
            *(("MOCORDER", int(self.orders.max())), ("ORIGIN", "simulated")),
            *(("DATE-OBS", f"{self.event:%Y-%m-%dT%H:%M:%S}"), ("MJD-OBS", UNIX_EPOCH_MJD + seconds / 86_400)),
        )
        primary = fits_header(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True))
        return primary + table + data + b"\x00" * (-len(data) % FITS_BLOCK)


def sky_map_around(ra_deg: float, dec_deg: float, sigma_deg: float, event: datetime) -> MadeSkyMap:
    """A Gaussian on the sphere: of the probability 0.9 is within 2.15 ``sigma_deg`` of a place (ICRS), 0.5 within 1.18."""
    from astropy_healpix import healpy  # noqa: PLC0415 - half a second, and the command's help needs none of it

    finest = math.ceil(math.log2(4 * _CELL_SIDE_DEG / sigma_deg))
    left, kept = np.arange(12), list[tuple[Ints, Ints, Ints]]()
    for order in range(finest + 1):
        lon, lat = healpy.pix2ang(2**order, left, nest=True, lonlat=True)
        away = np.round(separation_arcsec(ra_deg, dec_deg, lon, lat) / 3600, DECIMALS) / sigma_deg
        nearest = away - _CELL_REACH_DEG / 2**order / sigma_deg
        wanted = np.where(nearest <= _NEAR, finest, np.where(nearest <= _FAR, finest - 1, 0))
        whole = wanted <= order
        weights = np.rint(_HEIGHT * np.exp(-0.5 * away[whole] ** 2)).astype(np.int64)
        kept.append((left[whole], np.full(len(weights), order), weights))
        left = (4 * left[~whole][:, None] + np.arange(4)).ravel()
    cells, orders, weights = (np.concatenate(column) for column in zip(*kept, strict=True))
    in_order = np.argsort(cells << 2 * (_LAST_ORDER - orders))
    return MadeSkyMap(cells[in_order], orders[in_order], weights[in_order], event)


def sky_map_of(plan: NightPlan) -> MadeSkyMap:
    """A night's map: near something that is planted in it, and so wide that ``SHARE_INSIDE`` of the objects are inside."""
    rng, objects = plan.rng(Stream.LISTS), plan.objects
    dusk = datetime.combine(plan.night, datetime.min.time(), timezone.utc) + timedelta(hours=plan.instrument.first_exposure_hours)
    event = dusk - timedelta(seconds=int(rng.integers(*EVENT_BEFORE_SECS)))
    ra, dec = _center(rng, objects)
    some = slice(None, None, -(-len(objects.ra_deg) // _MOST_PLACES))
    away_deg = separation_arcsec(ra, dec, objects.ra_deg[some], objects.dec_deg[some]) / 3600
    sigma = float(np.quantile(away_deg, SHARE_INSIDE)) / math.sqrt(-2 * math.log(1 - INSIDE))
    return sky_map_around(ra, dec, round(min(max(sigma, _SIGMA_DEG[0]), _SIGMA_DEG[1]), 3), event.replace(microsecond=0))


def _center(rng: np.random.Generator, objects: Objects) -> tuple[float, float]:
    """A place beside a planted object, or any other where the night has none."""
    chosen = np.flatnonzero(objects.kind >= Kind.FADER)
    index = int(rng.choice(chosen if len(chosen) else np.arange(len(objects.kind))))
    # An event is not found at the very middle of its map.
    return round(float(objects.ra_deg[index]), 1) % 360, round(float(objects.dec_deg[index]), 1)
