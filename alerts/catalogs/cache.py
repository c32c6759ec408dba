"""The exact cache: ask once per object for somewhat more than the radius, then answer its later alerts without a call.

The first answer itself must not be used again: an alert 0.2 arcsec away has other sources within its radius. What is kept
are all candidates within radius + ``delta`` of the place that was asked (the anchor), the empty list too. They hold every
source within the radius of any position up to ``delta`` from the anchor, so that the cut made anew for each alert is exact.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from alerts.catalogs.catalog import Candidates, Floats
from alerts.catalogs.matching import separations

Ask = Callable[[Floats, Floats], Candidates]
"""Candidates within radius + delta of positions (ICRS, degrees)."""


@dataclass(frozen=True)
class _Anchor:
    ra_deg: float
    dec_deg: float
    sources: pa.RecordBatch
    separation_arcsec: Floats | None
    until: float
    block: int
    """The answer it came with, whose memory lives as long as one of its anchors does."""


class AnchorCache:
    """Candidates near objects, shared by the threads of a process; bounded, and each kept for a limited time."""

    def __init__(self, delta_arcsec: float, keep_secs: float, max_objects: int = 200_000, max_sources: int = 2_000_000) -> None:
        self.delta_arcsec = delta_arcsec
        self._keep_secs, self._max_objects, self._max_sources = keep_secs, max_objects, max_sources
        self._kept: dict[Hashable, _Anchor] = {}
        self._blocks: OrderedDict[int, tuple[int, set[Hashable]]] = OrderedDict()
        """Of each answer: its sources, and the objects that need it."""
        self._sources = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def candidates(
        self, objects: Sequence[Hashable | None], ra_deg: Floats, dec_deg: Floats, ask: Ask
    ) -> tuple[Candidates, int, int]:
        """Candidates for alerts of these objects (None: of no known object) at these positions (ICRS, degrees).

        Gives them, how many alerts needed no question of their own, and how many positions were asked.
        Raises what ``ask`` raises; a failure is not kept.
        """
        anchors, anchor_of, places = self._lay_out(objects, ra_deg, dec_deg)
        found: list[_Anchor] = []
        block = next(self._numbers)
        if places:
            wanted = np.array(places)
            answers = iter(self._split(ask(wanted[:, 0], wanted[:, 1]), wanted, block))
        for anchor in anchors:
            found.append(next(answers) if anchor is None else anchor)
        self._keep(objects, anchor_of, anchors, found, block)
        return _gather(found, anchor_of), len(objects) - len(places), len(places)

    def _lay_out(
        self, objects: Sequence[Hashable | None], ra_deg: Floats, dec_deg: Floats
    ) -> tuple[list[_Anchor | None], list[int], list[tuple[float, float]]]:
        """The anchors (None: to be asked), the anchor of each alert, and the positions of those to be asked."""
        anchors: list[_Anchor | None] = []
        anchor_of: list[int] = []
        places: list[tuple[float, float]] = []
        of_object: dict[Hashable, tuple[int, float, float]] = {}
        at_place: dict[tuple[float, float], int] = {}
        for name, ra, dec in zip(objects, ra_deg.tolist(), dec_deg.tolist(), strict=True):
            known = of_object.get(name) if name is not None else None
            if known is None and (kept := self._get(name)) is not None:
                known = (len(anchors), kept.ra_deg, kept.dec_deg)
                if self._near(known, ra, dec):
                    anchors.append(kept)
            if known is not None and self._near(known, ra, dec):
                of_object[name] = known
                anchor_of.append(known[0])
                continue
            # One position once per batch, whoever asks.
            number = at_place.get((ra, dec))
            if number is None:
                number = at_place[ra, dec] = len(anchors)
                anchors.append(None)
                places.append((ra, dec))
            if name is not None:
                of_object[name] = (number, ra, dec)
            anchor_of.append(number)
        return anchors, anchor_of, places

    def _near(self, anchor: tuple[int, float, float], ra: float, dec: float) -> bool:
        if (ra, dec) == anchor[1:]:
            return True
        if self.delta_arcsec <= 0 or abs(dec - anchor[2]) * 3600 > self.delta_arcsec:
            return False
        apart = separations(*(np.array([angle]) for angle in (ra, dec, anchor[1], anchor[2])))
        return bool(apart[0] <= self.delta_arcsec)

    def _get(self, name: Hashable | None) -> _Anchor | None:
        if name is None or not self._kept:
            return None
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or kept.until < time.monotonic():
                return None
            return kept

    def _split(self, answer: Candidates, places: Floats, block: int) -> list[_Anchor]:
        """The candidates of each position by themselves."""
        order = np.argsort(answer.position, kind="stable")
        sources = answer.sources.take(pa.array(order))
        given = None if answer.separation_arcsec is None else answer.separation_arcsec[order]
        bounds = np.searchsorted(answer.position[order], np.arange(len(places) + 1)).tolist()
        until = time.monotonic() + self._keep_secs
        return [
            _Anchor(ra, dec, sources.slice(begin, end - begin), None if given is None else given[begin:end], until, block)
            for (ra, dec), begin, end in zip(places.tolist(), bounds[:-1], bounds[1:], strict=True)
        ]

    def _keep(
        self,
        objects: Sequence[Hashable | None],
        anchor_of: Sequence[int],
        asked: Sequence[_Anchor | None],
        found: list[_Anchor],
        block: int,
    ) -> None:
        # An answer is entered with the objects that need it, in one step: without any it would be dropped by the next thread.
        own = [anchor.sources.num_rows for anchor in found if anchor.block == block]
        with self._lock:
            self._blocks[block] = (sum(own), set())
            self._sources += sum(own)
            for name, number in zip(objects, anchor_of, strict=True):
                if name is None or asked[number] is not None:
                    continue
                new, before = found[number], self._kept.get(name)
                if before is not None and before.block in self._blocks:
                    self._blocks[before.block][1].discard(name)
                self._kept[name] = new
                if new.block in self._blocks:
                    self._blocks[new.block][1].add(name)
            for empty in [number for number, (_, names) in self._blocks.items() if not names]:
                self._drop(empty)
            # Whole answers go, the oldest first: a part of one would hold all of its memory.
            while self._blocks and (len(self._kept) > self._max_objects or self._sources > self._max_sources):
                self._drop(next(iter(self._blocks)))

    def _drop(self, block: int) -> None:
        sources, names = self._blocks.pop(block)
        self._sources -= sources
        for name in names:
            if (kept := self._kept.get(name)) is not None and kept.block == block:
                del self._kept[name]


def _gather(found: Sequence[_Anchor], anchor_of: Sequence[int]) -> Candidates:
    """The candidates of all alerts, each alert's those of its anchor."""
    counts = np.array([anchor.sources.num_rows for anchor in found], dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(counts)])
    numbers = np.asarray(anchor_of, dtype=np.int64)
    sizes = counts[numbers]
    position = np.repeat(np.arange(len(numbers)), sizes)
    # Row of each pair: its anchor's first row, and how far it is from the first pair of its alert.
    inner = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = np.repeat(begins[numbers], sizes) + inner
    together = pa.Table.from_batches([anchor.sources for anchor in found]).combine_chunks()
    batches = together.to_batches()
    sources = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=together.schema)
    given = [anchor.separation_arcsec for anchor in found if anchor.separation_arcsec is not None]
    separation = np.concatenate(given)[rows] if len(given) == len(found) else None
    return Candidates(position, sources.take(pa.array(rows)), separation)
