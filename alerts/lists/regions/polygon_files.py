"""Files of polygons: lines of STC-S (``POLYGON ICRS 10 -5 20 -5 20 5``), or GeoJSON with RA and Dec in degrees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from alerts.limits import MAX_POLYGON_CORNERS, MAX_REGION_CORNERS
from alerts.lists.named import BadList
from alerts.lists.regions.polygon import Polygon, polygon_of

Polygons = tuple[Polygon, ...]
Corners = Sequence[tuple[float, float]]
_SHAPES = re.compile(r"\s*(polygon|circle|box|ellipse|union|intersection|not|position|difference)\b", re.IGNORECASE)
_POLYGON = re.compile(r"\s*polygon\b", re.IGNORECASE)
_FRAME = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)")
_NO_COMMENT = re.compile(r"#[^\n]*")


def is_stcs(text: str) -> bool:
    """Whether a text begins as STC-S does, behind its comments."""
    return _SHAPES.match(_NO_COMMENT.sub("", text)) is not None


def of_stcs(text: str) -> Polygons:
    """The polygons of a text of STC-S. Raises ``BadList``."""
    pieces = re.split(r"(?=\bpolygon\b)", _NO_COMMENT.sub("", text), flags=re.IGNORECASE)
    return _polygons(_corners_of_stcs(piece) for piece in pieces if piece.strip())


def _corners_of_stcs(piece: str) -> Corners:
    if not _POLYGON.match(piece):
        raise BadList(f"it has {piece.split(maxsplit=1)[0][:40]!r} where a polygon should be; give polygons, or make a MOC of it")
    rest = _POLYGON.sub("", piece, count=1)
    words = []
    while (found := _FRAME.match(rest)) and found.group(1).casefold() not in ("nan", "inf", "infinity"):
        words.append(found.group(1))
        rest = rest[found.end() :]
    frames = [word for word in words if word.casefold() not in ("icrs", "spherical2", "geocenter", "barycenter", "topocenter")]
    if frames:
        raise BadList(
            f"a polygon has {frames[0]!r} before its numbers; positions are in ICRS: write POLYGON ICRS and the corners"
        )
    try:
        numbers = [float(word) for word in rest.replace(",", " ").split()]
    except ValueError as error:
        raise BadList(f"a polygon has {str(error).rpartition(':')[2].strip()} where a number should be") from None
    if len(numbers) % 2:
        raise BadList(f"a polygon has {len(numbers)} numbers; give a right ascension and a declination of each corner")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def of_geojson(held: Mapping[str, Any]) -> Polygons:
    """The polygons of GeoJSON: of a geometry, a feature, or a collection of these. Raises ``BadList``."""
    return _polygons(_rings(held, 0))


def _rings(held: Any, depth: int) -> Iterator[Corners]:
    kind = held.get("type") if isinstance(held, Mapping) else None
    if kind == "FeatureCollection" and isinstance(held.get("features"), list) and depth == 0:
        for feature in held["features"]:
            yield from _rings(feature, 1)
    elif kind == "Feature" and depth <= 1:
        yield from _rings(held.get("geometry"), 2)
    elif kind == "GeometryCollection" and isinstance(held.get("geometries"), list) and depth <= 2:
        for geometry in held["geometries"]:
            yield from _rings(geometry, 3)
    elif kind == "Polygon":
        yield _ring(held.get("coordinates"))
    elif kind == "MultiPolygon" and isinstance(held.get("coordinates"), list):
        for polygon in held["coordinates"]:
            yield _ring(polygon)
    else:
        raise BadList(f"its GeoJSON has the type {str(kind)[:40]!r} where a Polygon or a MultiPolygon should be")


def _ring(polygon: Any) -> Corners:
    if not isinstance(polygon, list) or not polygon:
        raise BadList("a polygon of its GeoJSON has no coordinates; give a list of one ring of [RA, Dec] in degrees")
    if len(polygon) > 1:
        raise BadList(f"a polygon of its GeoJSON has {len(polygon) - 1} holes, which are not taken; make a MOC of it")
    ring = polygon[0]
    if not isinstance(ring, list) or not all(_is_place(corner) for corner in ring):
        raise BadList("a polygon of its GeoJSON has a corner that is no [RA, Dec] in degrees")
    return [(float(corner[0]), float(corner[1])) for corner in ring]


def _is_place(corner: Any) -> bool:
    return isinstance(corner, list) and len(corner) in (2, 3) and all(type(each) in (int, float) for each in corner)


def _polygons(rings: Iterable[Corners]) -> Polygons:
    told, corners = [], 0
    for ring in rings:
        corners += len(ring)
        if len(ring) > MAX_POLYGON_CORNERS:
            raise BadList(f"a polygon has {len(ring):,} corners; {MAX_POLYGON_CORNERS:,} are the most: make a MOC of it")
        if corners > MAX_REGION_CORNERS:
            raise BadList(f"its polygons have more than {MAX_REGION_CORNERS:,} corners, which are the most: make a MOC of them")
        told.append(ring)
    if not told:
        raise BadList("it holds no polygon; give at least one")
    return tuple(map(_polygon, told))


def _polygon(ring: Corners) -> Polygon:
    if not ring:
        raise BadList("a polygon has no corners; give three or more")
    for number, (ra, dec) in enumerate(ring):
        if not (-180 <= ra <= 360 and -90 <= dec <= 90):
            raise BadList(f"corner {number + 1} of a polygon is at RA {ra:g}, Dec {dec:g}, which is not on the sky (degrees)")
    # A ring may be closed by its first corner, as GeoJSON's are.
    kept = ring[:-1] if len(ring) > 1 and ring[0] == ring[-1] else ring
    ra, dec = np.array(kept, np.float64).T
    return polygon_of(ra % 360, dec)
