"""Polygons of great circles: which places are inside, to the last digits of right ascensions in 64 bits.

A place is inside if the way from it to a point R of which that is known crosses an odd number of sides. R is chosen far from
each side's great circle, so that what is told of a place near a side never hangs on digits that are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.lists.named import BadList
from alerts.lists.regions.ranges import Mask
from alerts.positions import Degrees

Vectors = np.ndarray[Any, np.dtype[np.float64]]
"""Shape (n, 3): x to RA 0, y to RA 90 degrees, z to the north pole."""
ON_A_SIDE_RAD = 1e-14
"""What is no farther from a side is on it: some ten units of the last digit of a right ascension, 2 nanoarcsec."""
_TOUCHING_RAD = 1e-12
"""Sides that are no farther apart than this touch."""
_HALF_THE_SKY_SR = 1e-9
_CANDIDATES = 256
_AT_ONCE = 2**20
"""Places times sides that are looked at at once."""


def vectors(ra_deg: Any, dec_deg: Any) -> Vectors:
    """Unit vectors of positions (degrees)."""
    ra, dec = np.radians(np.asarray(ra_deg, np.float64)), np.radians(np.asarray(dec_deg, np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


@dataclass(frozen=True, eq=False)
class Polygon:
    """A simple polygon, as the planes through its sides and corners."""

    corners: Vectors
    """Where each side begins; the next one's beginning, or of the last the first's, is where it ends."""
    normals: Vectors
    """Of the plane through each side and the Earth, to the left of one who goes along."""
    behind: Vectors
    """What has a product of 0 or more with it is not before the side's beginning."""
    before: Vectors
    """The same of its end."""
    reference: Vectors
    """R."""
    is_reference_inside: bool

    @property
    def meridians(self) -> Vectors:
        """Normals of the planes through R and each corner."""
        return np.cross(self.reference, self.corners)

    @property
    def upward(self) -> Mask:
        """Of each side, whether R is to the left of it."""
        return np.asarray(self.normals @ self.reference > 0)

    def contains(self, ra_deg: Degrees, dec_deg: Degrees) -> Mask:
        """Whether positions (ICRS, degrees) are inside or on a side; NaN is not."""
        places, step = vectors(ra_deg, dec_deg), max(_AT_ONCE // len(self.corners), 1)
        found = np.zeros(len(places), np.bool_)
        for start in range(0, len(places), step):
            part = places[start : start + step]
            found[start : start + step] = self._crossed(part) ^ self.is_reference_inside | self._on_a_side(part)
        return found & np.isfinite(places).all(axis=1)

    def _crossed(self, places: Vectors) -> Mask:
        """Whether the ways to R cross an odd number of sides."""
        # Whether a corner is ahead is told of the corner, once for both of its sides: no way goes between them.
        ahead = places @ self.meridians.T >= 0
        next_ahead = np.roll(ahead, -1, axis=1)
        left = places @ self.normals.T
        crossed = np.where(self.upward, ahead & ~next_ahead & (left < 0), ~ahead & next_ahead & (left > 0))
        return np.asarray(crossed.sum(axis=1) % 2 == 1)

    def _on_a_side(self, places: Vectors) -> Mask:
        near = np.abs(places @ self.normals.T) <= ON_A_SIDE_RAD
        along = (places @ self.behind.T >= -ON_A_SIDE_RAD) & (places @ self.before.T >= -ON_A_SIDE_RAD)
        return np.asarray((near & along).any(axis=1))

    def distances_rad(self, places: Vectors, sides: Any) -> Degrees:
        """How far places are from sides, given by their numbers: of each place one."""
        behind, before, across = (
            np.einsum("...k,...k->...", places, planes[sides]) for planes in (self.behind, self.before, self.normals)
        )
        to_begin = _angles_rad(places, self.corners[sides])
        to_end = _angles_rad(places, self.corners[(sides + 1) % len(self.corners)])
        near = np.arcsin(np.clip(np.abs(across), 0, 1))
        return np.where((behind >= 0) & (before >= 0), near, np.minimum(to_begin, to_end))


def polygon_of(ra_deg: Degrees, dec_deg: Degrees) -> Polygon:
    """The polygon of corners in order (ICRS, degrees), whatever way round: its smaller side is inside. Raises ``BadList``."""
    told = f"the polygon that begins at RA {ra_deg[0]:g}, Dec {dec_deg[0]:g}"
    corners = vectors(ra_deg, dec_deg)
    if len(corners) < 3 or len(np.unique(np.stack([ra_deg, dec_deg]), axis=1).T) < 3:
        raise BadList(f"{told} has fewer than three different corners; give three or more")
    following = np.roll(corners, -1, axis=0)
    for number in np.flatnonzero(np.linalg.norm(corners + following, axis=1) < _TOUCHING_RAD).tolist():
        raise BadList(
            f"{told} has corner {number + 1} opposite the next on the sky, and no great circle joins them; add one between"
        )
    # Of two corners near each other, their own product would lose its digits.
    normals = np.cross(corners - following, corners + following)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    for number in np.flatnonzero(lengths[:, 0] < _TOUCHING_RAD).tolist():
        raise BadList(f"{told} has corner {number + 1} twice in a row; leave one out")
    normals /= lengths
    _check_simple(told, corners, normals)
    around = _area_left_sr(corners, normals)
    if abs(around - 2 * np.pi) < _HALF_THE_SKY_SR:
        raise BadList(f"{told} goes around just half of the sky, and neither side is the smaller one; move a corner")
    reference = _reference(normals)
    behind, before = np.cross(normals, corners), np.cross(following, normals)
    open_ = Polygon(corners, normals, behind, before, reference, False)
    inside = _beside_a_side(open_, is_left=around < 2 * np.pi)
    return Polygon(corners, normals, behind, before, reference, not bool(open_._crossed(inside)[0]))


def _check_simple(told: str, corners: Vectors, normals: Vectors) -> None:
    """Refuse a polygon whose sides cross or touch each other elsewhere than at their common corners. Raises ``BadList``."""
    count = len(corners)
    ends = np.roll(corners, -1, axis=0)
    # Side k against the corners: signs of the four products tell whether two sides cross.
    begins_left, ends_left = normals @ corners.T, normals @ ends.T
    parted = (begins_left > 0) != (ends_left > 0)
    # The sides meet rather than one with what is opposite the other.
    same_half = np.sign(ends_left - begins_left) == np.sign(begins_left.T - ends_left.T)
    crossing = parted & parted.T & same_half
    sides = Polygon(corners, normals, np.cross(normals, corners), np.cross(ends, normals), corners[0], False)
    number = np.arange(count)
    touching = np.stack([sides.distances_rad(corners, np.full(count, side)) < _TOUCHING_RAD for side in range(count)])
    steps = (number[None, :] - number[:, None]) % count
    crossing[(steps <= 1) | (steps == count - 1)] = False
    touching[(steps == 0) | (steps == 1)] = False
    for side, corner in np.argwhere(touching).tolist():
        raise BadList(f"{told} touches itself: corner {corner + 1} is on the side from corner {side + 1}; write several polygons")
    for first, second in np.argwhere(crossing).tolist():
        raise BadList(f"{told} has sides that cross, those from corners {first + 1} and {second + 1}; write several polygons")


def _area_left_sr(corners: Vectors, normals: Vectors) -> float:
    """What is to the left of one who goes along the sides, by how much he turns (Gauss and Bonnet)."""
    following = np.roll(normals, -1, axis=0)
    at = np.roll(corners, -1, axis=0)
    turned = np.arctan2((at * np.cross(normals, following)).sum(axis=1), (normals * following).sum(axis=1))
    return float(2 * np.pi - turned.sum())


def _reference(normals: Vectors) -> Vectors:
    """Of points spread over the sky, that which is farthest from the great circle that it is nearest to."""
    number = np.arange(_CANDIDATES)
    z = 1 - (2 * number + 1) / _CANDIDATES
    turn = number * np.pi * (3 - np.sqrt(5))
    spread = np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], axis=1)
    return np.asarray(spread[np.argmax(np.abs(spread @ normals.T).min(axis=1))])


def _beside_a_side(polygon: Polygon, is_left: bool) -> Vectors:
    """A point on one side of the longest of the polygon's sides, nearer to its middle than any other side is."""
    ends = np.roll(polygon.corners, -1, axis=0)
    longest = int(np.argmax(_angles_rad(polygon.corners, ends)))
    middle = polygon.corners[longest] + ends[longest]
    middle /= np.linalg.norm(middle)
    numbers = np.arange(len(polygon.corners))
    others = np.delete(polygon.distances_rad(np.tile(middle, (len(numbers), 1)), numbers), longest)
    away = others.min() / 2 * (1 if is_left else -1)
    point = middle * np.cos(away) + polygon.normals[longest] * np.sin(away)
    return np.asarray(point[None, :])


def _angles_rad(first: Vectors, second: Vectors) -> Degrees:
    return np.asarray(2 * np.arcsin(np.clip(np.linalg.norm(first - second, axis=-1) / 2, 0, 1)))
