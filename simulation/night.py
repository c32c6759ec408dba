"""A made-up night: packets in order of time, one by one, with the truth about each, and a catalog of stars near some of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from simulation.damage import DAMAGES, Patient
from simulation.light_curves import planted
from simulation.lsst import LSST
from simulation.objects import SkyObject, star_id
from simulation.packing import CONTAINER, SUFFIX, Packer
from simulation.plan import NightPlan, Stream
from simulation.sky import separation_arcsec
from simulation.sky_maps import INSIDE, MadeSkyMap, sky_map_of
from simulation.survey import MadeAlert, SimulatedSurvey, utc_from_mjd
from simulation.truth import PacketTruth
from simulation.watched import WatchedPlaces, watched_of
from simulation.ztf import ZTF

SURVEYS: dict[str, SimulatedSurvey] = {survey.name: survey for survey in (ZTF, LSST)}
FIRST_NIGHT, LAST_NIGHT = date(2018, 1, 1), date(2041, 12, 31)
"""Earlier ZTF ids have fewer digits, later ones do not fit into 64 bits."""
DEFAULT_NIGHT = date(2026, 9, 17)
LONGEST_DELAY = 20
"""A copy follows its packet after at most so many others."""


@dataclass(frozen=True)
class SimulatedPacket:
    """A packet as sent, the name of its file, and the truth about it."""

    name: str
    data: bytes
    truth: PacketTruth


@dataclass(frozen=True)
class Night:
    """A made-up night of a survey. The same values give the same packets, byte for byte.

    On any machine: whatever sines and exponentials enter is rounded, and the gzip of the stamps does not depend on the
    build of zlib. Only another version of numpy's ``Generator`` would make another night.

    ``alerts`` counts the distinct good alerts; to them come ``duplicates`` identical copies and ``damaged`` packets made
    from further alerts of the same night. Raises ``ValueError``, with a sentence for people, where the values make no sense.
    """

    survey: str = "ztf"
    alerts: int = 1000
    seed: int = 1
    night: date = DEFAULT_NIGHT
    duplicates: int = 0
    damaged: int = 0
    framing: str = CONTAINER

    def __post_init__(self) -> None:
        if self.survey not in SURVEYS:
            raise ValueError(f"survey {self.survey!r} cannot be simulated; choose one of {', '.join(SURVEYS)}")
        survey = SURVEYS[self.survey]
        if self.framing not in survey.framings:
            raise ValueError(f"{self.survey} has no {self.framing!r} framing; choose one of {', '.join(survey.framings)}")
        for name, least in (("alerts", 1), ("seed", 0), ("duplicates", 0), ("damaged", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)} and must be at least {least}")
        if self.alerts + self.damaged > survey.instrument.max_alerts:
            limit = survey.instrument.max_alerts
            raise ValueError(f"{self.alerts + self.damaged} alerts are more than {limit}, the most for a night of {self.survey}")
        if not FIRST_NIGHT <= self.night <= LAST_NIGHT:
            raise ValueError(f"night {self.night} must be from {FIRST_NIGHT} to {LAST_NIGHT}")

    @property
    def packets_count(self) -> int:
        """Packets in all."""
        return self.alerts + self.duplicates + self.damaged

    @functools.cached_property
    def packer(self) -> Packer:
        """Makes the night's packets from records."""
        return Packer(self.survey, SURVEYS[self.survey].version, self.framing, self.seed)

    @functools.cached_property
    def plan(self) -> NightPlan:
        """What happens in the night."""
        survey = SURVEYS[self.survey]
        return NightPlan(survey.instrument, survey.stream_key, self.night, self.seed, self.alerts + self.damaged)

    @functools.cached_property
    def sky_map(self) -> MadeSkyMap:
        """Where something was two days or so before; some of the night's alerts are inside."""
        return sky_map_of(self.plan)

    @functools.cached_property
    def watched(self) -> WatchedPlaces:
        """Places to watch; some of the night's alerts are at one."""
        return watched_of(self.plan)

    def packets(self) -> Iterator[SimulatedPacket]:
        """The packets in order of time; only a few copies are held back, so memory does not grow with the night."""
        to_damage, copies = self._to_damage(), self._copies()
        delays = self.plan.rng(Stream.COPIES, 1)
        waiting: list[tuple[int, SimulatedPacket]] = []
        good = 0
        for position in range(self.alerts + self.damaged):
            yield from (packet for due, packet in waiting if due <= position)
            waiting = [(due, packet) for due, packet in waiting if due > position]
            sky_object, made = self._made(position)
            if position in to_damage:
                yield self._damaged(sky_object, made, to_damage[position])
                continue
            packet = SimulatedPacket(
                name := f"{made.alert_id}{SUFFIX[self.framing]}",
                self.packer.packet(made.record),
                self._truth(name, sky_object, made),
            )
            yield packet
            for number in range(copies.get(good, 0)):
                waiting.append((position + int(delays.integers(1, LONGEST_DELAY + 1)), self._copy(packet, number + 1)))
            good += 1
        yield from (packet for _, packet in waiting)

    def catalog(self) -> pa.Table:
        """Stars (ICRS degrees, magnitude): those beside objects of the night, then some that are beside nothing."""
        objects = self.plan.objects
        near = np.flatnonzero(~np.isnan(objects.star_mag))
        alone_ra, alone_dec = self.plan.isolated_stars()
        indices = np.concatenate([near, len(objects.star_mag) + np.arange(len(alone_ra))])
        mags = self.plan.rng(Stream.STARS, 2).uniform(14, 21, len(alone_ra))
        return pa.table(
            {
                "source_id": pa.array([str(star_id(int(index))) for index in indices], pa.string()),
                "ra_deg": np.concatenate([objects.star_ra_deg[near], alone_ra]),
                "dec_deg": np.concatenate([objects.star_dec_deg[near], alone_dec]),
                "mag": np.concatenate([objects.star_mag[near], np.round(mags, 3)]),
            }
        )

    def _made(self, position: int) -> tuple[SkyObject, MadeAlert]:
        sky_object, passing = self.plan.alert(position)
        return sky_object, SURVEYS[self.survey].make(self.plan, sky_object, passing)

    def _to_damage(self) -> dict[int, str]:
        """Which of the night's alerts are damaged, and how."""
        kinds = [kind.__name__ for kind in DAMAGES[self.framing]]
        chosen = self.plan.rng(Stream.DAMAGE).choice(self.alerts + self.damaged, self.damaged, replace=False)
        return {int(position): kinds[number % len(kinds)] for number, position in enumerate(chosen)}

    def _copies(self) -> dict[int, int]:
        """How many copies the good alerts have, by their number in the night."""
        everywhere, rest = divmod(self.duplicates, self.alerts)
        chosen = self.plan.rng(Stream.COPIES).choice(self.alerts, rest, replace=False)
        copies = dict.fromkeys(range(self.alerts), everywhere) if everywhere else {}
        return copies | {int(number): everywhere + 1 for number in chosen}

    def _copy(self, packet: SimulatedPacket, number: int) -> SimulatedPacket:
        stem, dot, suffix = packet.name.rpartition(".")
        name = f"{stem}-copy{number}{dot}{suffix}"
        return SimulatedPacket(name, packet.data, replace(packet.truth, name=name, kind="duplicate"))

    def _damaged(self, sky_object: SkyObject, made: MadeAlert, kind: str) -> SimulatedPacket:
        damage = next(function for function in DAMAGES[self.framing] if function.__name__ == kind)
        done = damage(Patient(made.record, self.packer, SURVEYS[self.survey].time_path))
        name = f"{made.alert_id}{SUFFIX[self.framing]}"
        truth = replace(self._truth(name, sky_object, made), kind="damaged", damage=kind, damage_note=done.note)
        return SimulatedPacket(name, done.data, truth)

    def _truth(self, name: str, sky_object: SkyObject, made: MadeAlert) -> PacketTruth:
        separation = None
        if sky_object.star_id is not None:
            separation = round(
                float(separation_arcsec(made.ra_deg, made.dec_deg, sky_object.star_ra_deg, sky_object.star_dec_deg)), 9
            )
        told = asdict(planted(self.plan, sky_object))
        began = told.pop("began_mjd_utc")
        starts = timedelta(hours=SURVEYS[self.survey].night_starts_utc_hours)
        level = self.sky_map.level(made.ra_deg, made.dec_deg)
        return PacketTruth(
            name=name,
            kind="good",
            damage=None,
            damage_note=None,
            alert_id=made.alert_id,
            object_id=made.object_id,
            survey=self.survey,
            ra_deg=made.ra_deg,
            dec_deg=made.dec_deg,
            observed_at=made.observed_at,
            night=(made.observed_at - starts).date(),
            is_solar_system=sky_object.kind.name == "SOLAR_SYSTEM",
            has_catalog_star=separation is not None,
            separation_arcsec=separation,
            region_level=level,
            in_region=level <= INSIDE,
            is_watched=self.watched.holds(made.ra_deg, made.dec_deg),
            family=sky_object.kind.name.lower(),
            planted=sky_object.planted,
            began_at=None if began is None else utc_from_mjd(began),
            **told,
        )


def simulate_packets(
    *,
    survey: str = "ztf",
    alerts: int = 1000,
    seed: int = 1,
    night: date = DEFAULT_NIGHT,
    duplicates: int = 0,
    damaged: int = 0,
    framing: str = CONTAINER,
) -> Iterator[SimulatedPacket]:
    """The packets of a ``Night`` with these values."""
    return Night(survey, alerts, seed, night, duplicates, damaged, framing).packets()
