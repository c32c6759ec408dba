"""A list of places to watch: some of a night's variables, one that is missed, and others where nothing is observed."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from simulation.objects import Kind, Objects
from simulation.plan import DECIMALS, NightPlan, Stream
from simulation.sky import Floats, Ints, offset, separation_arcsec

MOST_WATCHED = 50
"""Variables on a list, however long the night is."""
DECOYS = 10
DECOY_DEG = 20.0
"""Decoys are farther from the middle of every field."""
RADIUS_ARCSEC = (2.0, 6.0)
TOO_SMALL_ARCSEC = 0.3
"""The radius of the place that is missed, which is ``MISSED_ARCSEC`` from its object."""
MISSED_ARCSEC = 2.0


@dataclass(frozen=True, eq=False)
class WatchedPlaces:
    """Places (ICRS, degrees) with names and radii of their own."""

    names: list[str]
    ra_deg: Floats
    dec_deg: Floats
    radius_arcsec: Floats

    def holds(self, ra_deg: float, dec_deg: float) -> bool:
        """Whether a position is within its radius of any of the places."""
        return bool((separation_arcsec(ra_deg, dec_deg, self.ra_deg, self.dec_deg) <= self.radius_arcsec).any())

    def csv(self) -> bytes:
        """The list as a table, as ``--watchlist`` reads it."""
        told = io.StringIO()
        print("name,ra_deg,dec_deg,radius_arcsec", file=told)
        columns = (column.tolist() for column in (self.ra_deg, self.dec_deg, self.radius_arcsec))
        for name, ra, dec, radius in zip(self.names, *columns, strict=True):
            print(f"{name},{ra:.{DECIMALS}f},{dec:.{DECIMALS}f},{radius:g}", file=told)
        return told.getvalue().encode()


def watched_of(plan: NightPlan) -> WatchedPlaces:
    """A night's list. A night without planted variables has another of its objects on it that stays where it is."""
    rng, objects = plan.rng(Stream.LISTS, 1), plan.objects
    variables = rng.permutation(np.flatnonzero(objects.kind == Kind.VARIABLE))
    # Not all of them: a filter that passes every variable is told from one that asks the list.
    count = min(max(3 * len(variables) // 5, 1), MOST_WATCHED)
    chosen = np.concatenate([variables, _others(objects)])[: count + 1]
    is_missed = np.arange(len(chosen)) == count
    away = np.where(is_missed, MISSED_ARCSEC, rng.uniform(0.2, 1.0, len(chosen)))
    radius = np.where(is_missed, TOO_SMALL_ARCSEC, np.round(rng.uniform(*RADIUS_ARCSEC, len(chosen)), 1))
    ra, dec = offset(objects.ra_deg[chosen], objects.dec_deg[chosen], away, rng.uniform(0, 360, len(chosen)))
    far_ra, far_dec = _decoys(plan, rng)
    order = rng.permutation(len(chosen) + DECOYS)
    return WatchedPlaces(
        [f"place{number + 1}" for number in range(len(order))],
        np.round(np.concatenate([ra, far_ra]), DECIMALS)[order],
        np.round(np.concatenate([dec, far_dec]), DECIMALS)[order],
        np.concatenate([radius, np.round(rng.uniform(2, 60, DECOYS), 1)])[order],
    )


def _others(objects: Objects) -> Ints:
    """Two objects that stay where they are, for nights with less than two variables."""
    stays = ~np.isin(objects.kind, (Kind.VARIABLE, Kind.SOLAR_SYSTEM, Kind.MOVER))
    return np.flatnonzero(stays)[:2]


def _decoys(plan: NightPlan, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Places far from all that is observed."""
    field_ra, field_dec = np.array([(field.ra_deg, field.dec_deg) for field in plan.fields]).T
    kept: list[tuple[float, float]] = []
    while len(kept) < DECOYS:
        ra, dec = 360 * rng.random(), float(np.degrees(np.arcsin(2 * rng.random() - 1)))
        if separation_arcsec(ra, dec, field_ra, field_dec).min() > 3600 * DECOY_DEG:
            kept.append((ra, dec))
    ras, decs = np.array(kept).T
    return ras, decs
