"""The plan of a night: which fields are exposed when, which objects lie where, and which of them alert at which exposure.

All of it are arrays of a few dozen bytes per alert; packets are made from it one by one and thrown away.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import date
from enum import IntEnum
from typing import Any

import numpy as np

from simulation.families import WITHOUT_STAR, deal, motion
from simulation.instrument import Instrument
from simulation.objects import Exposures, Field, Kind, Objects, SkyObject, star_id
from simulation.sky import Floats, Ints, field_grid, from_tangent_plane, offset, separation_arcsec, sidereal_time_deg

UNIX_EPOCH_MJD = 40587
STAR_SHARE = 0.3
STAR_SEPARATION_ARCSEC = (0.1, 4.5)
DECIMALS = 10
"""Of a degree, to which positions are rounded: machines differ in the last bit of a sine."""
ISOLATED_STARS = 200
ISOLATION_ARCSEC = 65.0


class Stream(IntEnum):
    """What random numbers are for. Each use has its own, so that one does not disturb another."""

    FIELDS = 0
    OBJECTS = 1
    STARS = 2
    LIGHT_CURVE = 3
    TRAITS = 4
    STAMPS = 5
    COPIES = 6
    DAMAGE = 7
    FAMILIES = 8
    LISTS = 9


class NightPlan:
    """``alerts`` alerts in one night. The same arguments give the same plan."""

    def __init__(self, instrument: Instrument, stream_key: int, night: date, seed: int, alerts: int) -> None:
        self.instrument = instrument
        self.night = night
        self.alerts = alerts
        self._entropy = (seed, night.toordinal(), stream_key)
        count = min(instrument.max_fields, -(-alerts // instrument.alerts_per_field))
        self.fields = list(self._fields(max(count, 1)))
        self.objects = self._objects()

    def rng(self, stream: Stream, *numbers: int) -> np.random.Generator:
        """Random numbers for one purpose and one thing, the same whenever it is asked for."""
        return np.random.default_rng((*self._entropy, stream, *numbers))

    @property
    def night_mjd(self) -> int:
        """0h UTC of the night's date as a Modified Julian Date."""
        return self.night.toordinal() - date(1970, 1, 1).toordinal() + UNIX_EPOCH_MJD

    def alert(self, position: int) -> tuple[SkyObject, int]:
        """The object of the night's alert at ``position`` in order of time, and the pass at which it was seen."""
        coded = int(self._order[position])
        return self.sky_object(coded // self.instrument.passes), coded % self.instrument.passes

    def sky_object(self, index: int) -> SkyObject:
        """One object as scalars."""
        o = self.objects
        has_star = not np.isnan(o.star_mag[index])
        return SkyObject(
            index=index,
            field=self.fields[int(o.field[index])],
            chip=int(o.chip[index]),
            number=int(o.number[index]),
            x=float(o.x[index]),
            y=float(o.y[index]),
            ra_deg=float(o.ra_deg[index]),
            dec_deg=float(o.dec_deg[index]),
            kind=Kind(int(o.kind[index])),
            planted=int(o.planted[index]) if o.planted[index] >= 0 else None,
            passes=int(o.passes[index]),
            star_id=int(star_id(index)) if has_star else None,
            star_ra_deg=float(o.star_ra_deg[index]),
            star_dec_deg=float(o.star_dec_deg[index]),
            star_mag=float(o.star_mag[index]),
        )

    def _fields(self, count: int) -> Iterator[Field]:
        """Fields near the meridian when they are observed, none twice."""
        instrument = self.instrument
        rng = self.rng(Stream.FIELDS)
        grid_ra, grid_dec = field_grid(*instrument.field_rows_deg, instrument.field_spacing_deg)
        free = np.ones(len(grid_ra), dtype=bool)
        for number in range(count):
            middle = self._start_mjd(instrument.slot(number, instrument.passes // 2))
            hour_angle = np.abs((sidereal_time_deg(middle, instrument.longitude_deg) - grid_ra + 180) % 360 - 180)
            high = free & (hour_angle < 37.5)
            choice = int(rng.choice(np.flatnonzero(high))) if high.any() else int(np.argmin(np.where(free, hour_angle, 999)))
            free[choice] = False
            chip_depth = rng.normal(0, 0.08, len(instrument.chips))
            exposures = self._exposures(number, rng)
            yield Field(200 + choice, float(grid_ra[choice]), float(grid_dec[choice]), chip_depth, exposures)

    def _start_mjd(self, slot: Any) -> Any:
        """Start of this night's exposure number ``slot``, UTC."""
        return self.night_mjd + self.instrument.first_exposure_hours / 24 + slot * self.instrument.cadence_secs / 86400

    def _exposures(self, field: int, rng: np.random.Generator) -> Exposures:
        instrument = self.instrument
        fewest, most = instrument.past_nights
        nights = np.sort(rng.choice(instrument.past_days, rng.integers(fewest, most + 1), replace=False))[::-1] + 1
        ago = np.repeat(np.append(nights, 0), instrument.passes)
        passing = np.tile(np.arange(instrument.passes), len(nights) + 1)
        done = (rng.random(len(ago)) < instrument.past_pass_chance) | (ago == 0)
        ago, passing = ago[done], passing[done]
        count = len(ago)
        # Every night has the same slots at the same time of day, so that two exposures of a night never share a slot.
        slot = np.array([instrument.slot(field, int(number)) for number in passing])
        band = np.array([rng.choice(instrument.bands_of_pass[number]) for number in passing])
        jitter_days = np.round(rng.uniform(0, 2, count), 2) / 86400
        seeing = instrument.seeing_arcsec * np.clip(np.exp(rng.normal(0, 0.15, count)), 0.7, 1.8)
        depth = (
            np.array(instrument.depth_mag)[band] + rng.normal(0, 0.25, count) - 2.5 * np.log10(seeing / instrument.seeing_arcsec)
        )
        start = self._start_mjd(slot) - ago + jitter_days
        return Exposures(start, slot, band, depth, seeing, rng.random((count, 8)), count - instrument.passes)

    def _objects(self) -> Objects:
        instrument, rng = self.instrument, self.rng(Stream.OBJECTS)
        kind, planted, passes = self._kinds_and_passes(rng)
        count = len(kind)
        # The places of a mover lie in one cell of one field, that of the first of them.
        movers, first = np.flatnonzero(kind == Kind.MOVER), np.arange(count)
        first[movers] = np.searchsorted(planted[: int((planted >= 0).sum())], planted[movers])
        field = first % len(self.fields)
        chip, x, y = self._places(field, first, movers, rng)
        for index in movers.tolist():
            moved_x, moved_y = self._motion_pixels(int(planted[index]), self.fields[field[index]], int(passes[index]))
            x[index] += moved_x
            y[index] += moved_y
        east, north = instrument.chip_corner_deg()
        scale = instrument.pixel_arcsec / 3600
        center = np.array([(f.ra_deg, f.dec_deg) for f in self.fields])[field]
        up = instrument.chip_pixels[1] - y if instrument.rows_run_south else y
        ra, dec = from_tangent_plane(center[:, 0], center[:, 1], east[chip] - x * scale, north[chip] + up * scale)
        ra, dec = np.round(ra, DECIMALS), np.round(dec, DECIMALS)
        star = self.rng(Stream.STARS).random((count, 4))
        near, far = STAR_SEPARATION_ARCSEC
        star_ra, star_dec = offset(ra, dec, near + (far - near) * star[:, 1], 360 * star[:, 2])
        star_ra, star_dec = np.round(star_ra, DECIMALS), np.round(star_dec, DECIMALS)
        star_mag = np.where(star[:, 0] < STAR_SHARE, np.round(14 + 7 * np.sqrt(star[:, 3]), 3), np.nan)
        star_mag[np.isin(kind, WITHOUT_STAR)] = np.nan
        number = _count_within_groups(field * len(instrument.chips) + chip)
        return Objects(field, chip, number, x, y, ra, dec, kind, planted, passes, star_ra, star_dec, star_mag)

    def _motion_pixels(self, planted: int, field: Field, passes: int) -> tuple[float, float]:
        """By how much in x and y a mover at its one pass is away from the middle of its way through the night."""
        arcsec_per_hour, angle_deg = motion(self.rng(Stream.FAMILIES, planted))
        times = field.exposures.mjd_utc[field.exposures.earlier :]
        hours = 24 * float(times[passes.bit_length() - 1] - (times[0] + times[-1]) / 2)
        pixels, angle = arcsec_per_hour * hours / self.instrument.pixel_arcsec, np.radians(angle_deg)
        north = -np.cos(angle) if self.instrument.rows_run_south else np.cos(angle)
        return round(float(-pixels * np.sin(angle)), 4), round(float(pixels * north), 4)

    def _kinds_and_passes(self, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """What each object is, its number if it is planted, and when it alerts: objects for the wanted number of alerts."""
        instrument = self.instrument
        kind_planted, planted, passes_planted = deal(self.alerts, instrument.passes)
        wanted = self.alerts - int(_bits(passes_planted, instrument.passes).sum())
        moving = rng.random(wanted) < instrument.solar_system_share
        kind = np.where(moving, Kind.SOLAR_SYSTEM, rng.choice(3, wanted, p=(0.35, 0.45, 0.2))).astype(np.int64)
        chances = np.array(list(instrument.alerts_in_night.values()))
        times = rng.choice(list(instrument.alerts_in_night), wanted, p=chances)
        # A moving object is elsewhere at the next pass: there it would be another object, so here it alerts once.
        times = np.where(moving, 1, times)
        total = np.cumsum(times)
        count = int(np.searchsorted(total, wanted)) + 1
        kind, times = kind[:count], times[:count]
        times[-1] -= total[count - 1] - wanted
        # A random subset of the passes: those with the smallest of random numbers.
        rank = np.argsort(np.argsort(rng.random((count, instrument.passes)), axis=1), axis=1)
        passes = ((rank < times[:, None]) << np.arange(instrument.passes)).sum(axis=1)
        return (
            np.concatenate([kind_planted, kind]),
            np.concatenate([planted, np.full(count, -1)]),
            np.concatenate([passes_planted, passes]),
        )

    def _places(self, field: Ints, first: Ints, movers: Ints, rng: np.random.Generator) -> tuple[Ints, Floats, Floats]:
        """Chip and pixel position of each object, at most one object in each cell of a field; movers in the middle of theirs."""
        instrument = self.instrument
        margin = 13.0
        spaces = [pixels - 2 * margin for pixels in instrument.chip_pixels]
        across, up = (int(space * instrument.pixel_arcsec / instrument.cell_arcsec) for space in spaces)
        code = np.empty(len(field), dtype=np.int64)
        for number in range(len(self.fields)):
            here = field == number
            code[here] = rng.choice(len(instrument.chips) * across * up, int(here.sum()), replace=False)
        chip, place = np.divmod(code[first], across * up)
        # Within a cell the outer 0.15 stay empty on every side.
        within = 0.15 + 0.7 * rng.random((2, len(field)))
        within[:, movers] = 0.5
        x, y = (place % across + within[0]) * spaces[0] / across, (place // across + within[1]) * spaces[1] / up
        return chip, margin + x, margin + y

    @functools.cached_property
    def _order(self) -> Ints:
        """Alerts as ``object * passes + pass``, in order of exposure, then chip."""
        instrument, objects = self.instrument, self.objects
        index, passing = np.nonzero(_bits(objects.passes, instrument.passes))
        slots = np.array([[instrument.slot(f, p) for p in range(instrument.passes)] for f in range(len(self.fields))])
        order = np.lexsort((objects.number[index], objects.chip[index], slots[objects.field[index], passing]))
        return (index * instrument.passes + passing)[order]

    def isolated_stars(self) -> tuple[Floats, Floats]:
        """Positions of stars in the night's fields that are further than ``ISOLATION_ARCSEC`` from every object."""
        instrument, rng, objects = self.instrument, self.rng(Stream.STARS, 1), self.objects
        width = instrument.field_spacing_deg * 0.8
        kept: list[tuple[float, float]] = []
        while len(kept) < ISOLATED_STARS:
            number = int(rng.integers(len(self.fields)))
            field = self.fields[number]
            ra, dec = from_tangent_plane(field.ra_deg, field.dec_deg, *(width * (rng.random(2) - 0.5)))
            # Fields do not touch, so only this field's objects can be near.
            here = objects.field == number
            if separation_arcsec(ra, dec, objects.ra_deg[here], objects.dec_deg[here]).min() > ISOLATION_ARCSEC:
                kept.append((float(ra), float(dec)))
        ras, decs = np.array(kept).T
        return ras, decs


def _bits(passes: Ints, count: int) -> Ints:
    """For each object whether it alerts at each of the passes: 0 or 1."""
    return (passes[:, None] >> np.arange(count)) & 1


def _count_within_groups(group: Ints) -> Ints:
    """For each element, how many of the same group come before it."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.searchsorted(ordered, ordered)
    count = np.empty(len(group), dtype=np.int64)
    count[order] = np.arange(len(group)) - first
    return count
