"""Polygons at their rims against winding angles in long double, which know nothing of planes and crossings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.lists.named import BadList
from alerts.lists.regions import Region, RegionSpec, read_region
from alerts.lists.regions.polygon import polygon_of, vectors
from alerts.positions import healpix29

Corners = list[tuple[float, float]]
RIM_DEG = 1e-9


def read(text: str, **said: Any) -> Region:
    return read_region(RegionSpec("field", "field.txt", **said), text.encode())


def stcs(*polygons: Corners) -> str:
    return "\n".join("POLYGON ICRS " + " ".join(f"{ra!r} {dec!r}" for ra, dec in corners) for corners in polygons)


def contains(region: Region, ra: Any, dec: Any) -> Any:
    ra, dec = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
    return region.inside(healpix29(ra, dec), ra, dec)


def exact(ra: Any, dec: Any) -> Any:
    ra, dec = np.radians(np.asarray(ra, np.longdouble)), np.radians(np.asarray(dec, np.longdouble))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def windings(corners: Corners, ra: Any, dec: Any) -> Any:
    """How often the polygon goes around each place, seen from it: the sum of the angles between neighboring corners.

    Seen from a place on the sphere, the direction of a corner is that of its great circle. Angles between corners are below 180
    degrees, as are sides; a place's antipode is gone around the other way, so that inside is 1 and outside 0, or -1 and 0, for
    polygons that stay within a hemisphere of the place.
    """
    places, at = exact(ra, dec), exact(*np.array(corners, np.longdouble).T)
    first, second = at[None], np.roll(at, -1, axis=0)[None]
    place = places[:, None, :]
    # Tangents toward the corners.
    u, v = (each - (each * place).sum(-1, keepdims=True) * place for each in (first, second))
    turned = np.arctan2((place * np.cross(u, v)).sum(-1), (u * v).sum(-1)).sum(axis=1)
    return np.rint((turned / (2 * np.pi)).astype(np.float64)).astype(int)


def inside_by_winding(corners: Corners, ra: Any, dec: Any) -> Any:
    """For polygons smaller than a hemisphere, places in the hemisphere around their middle."""
    middle = exact(*np.array(corners, np.longdouble).T).sum(axis=0)
    return (windings(corners, ra, dec) != 0) & (exact(ra, dec) @ middle > 0)


def beside_sides(corners: Corners, away_deg: float) -> tuple[Any, Any]:
    """Places along each side, and as far from it to the left and to the right; in long double until the end."""
    at = exact(*np.array(corners, np.longdouble).T)
    after = np.roll(at, -1, axis=0)
    normal = np.cross(at, after)
    normal /= np.sqrt((normal**2).sum(-1, keepdims=True))
    found = []
    for part in (0.003, 0.2, 0.5, 0.77, 0.996):
        on = at * (1 - part) + after * part
        on /= np.sqrt((on**2).sum(-1, keepdims=True))
        for side in (-1, 1):
            found.append(on + side * np.radians(np.longdouble(away_deg)) * normal)
    x, y, z = np.concatenate(found).T
    ra, dec = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))
    return ra.astype(np.float64) % 360, dec.astype(np.float64)


SQUARE: Corners = [(10, -5), (20, -5), (20, 5), (10, 5)]
SHAPES: dict[str, Corners] = {
    "square": SQUARE,
    "around RA 0": [(350, -3), (10, -4), (12, 6), (355, 2)],
    "concave": [(100, 10), (120, 10), (120, 30), (110, 14), (100, 30)],
    "spiral": [(0, 0), (20, 0), (20, 20), (4, 20), (4, 8), (12, 8), (12, 12), (8, 12), (8, 16), (16, 16), (16, 4), (0, 4)],
    "north pole": [(0, 80), (100, 75), (200, 85), (300, 70)],
    "south pole": [(10, -60), (130, -70), (250, -65)],
    "pole as corner": [(0, 90), (40, 60), (80, 60)],
    "tiny": [(266.4, -29.0), (266.4001, -29.0), (266.4001, -28.9999), (266.4, -28.9999)],
    "sliver": [(30, 0), (90, 1e-6), (150, 0), (90, 0.5)],
    "large": [(0, -1), (90, -1), (180, -1), (270, -1)],
    # Of these three R is inside.
    "large of three": [(0, -1), (120, -1), (240, -1)],
    "octant": [(0, 0), (90, 0), (0, 90)],
}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_places_at_the_rim(name: str, turned: bool) -> None:
    corners = SHAPES[name][::-1] if turned else SHAPES[name]
    ra, dec = beside_sides(corners, RIM_DEG)
    # Each side of the large ones bends toward the south pole: what is south of them is smaller, and too large for winding.
    expected = south_of_sides(SHAPES[name], ra, dec) if name.startswith("large") else inside_by_winding(corners, ra, dec)
    np.testing.assert_array_equal(contains(read(stcs(corners)), ra, dec), expected)
    assert expected.sum() * 2 == len(expected)


def south_of_sides(corners: Corners, ra: Any, dec: Any) -> Any:
    at, places = exact(*np.array(corners, np.longdouble).T), exact(ra, dec)
    sector = (np.asarray(ra) // (360 / len(corners))).astype(int)
    normals = np.cross(at, np.roll(at, -1, axis=0))
    return (normals[sector] * places).sum(-1) < 0


@pytest.mark.parametrize("name", [name for name in SHAPES if not name.startswith("large")])
def test_places_all_over_the_sky_and_near(name: str) -> None:
    corners, rng = SHAPES[name], np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    at = np.array(corners)
    near = at[rng.integers(0, len(at), 4000)] + rng.normal(0, 0.3 * np.ptp(at[:, 1]) + 1e-9, (4000, 2))
    ra, dec = np.append(ra, near[:, 0] % 360), np.append(dec, np.clip(near[:, 1], -89.9, 89.9))
    found, expected = contains(read(stcs(corners)), ra, dec), inside_by_winding(corners, ra, dec)
    np.testing.assert_array_equal(found, expected)
    assert 0 < expected.sum() < len(expected)


@pytest.mark.parametrize("name", SHAPES)
def test_corners_and_sides_are_inside(name: str) -> None:
    corners = SHAPES[name]
    region = read(stcs(corners))
    assert contains(region, *np.array(corners, np.float64).T).all()


def test_a_side_is_a_great_circle_and_what_is_on_it_inside() -> None:
    region = read(stcs([(0, 0), (90, 0), (90, 30), (0, 30)]))
    assert contains(region, [0, 1 / 3, 45, 90, 90, 0], [0, 0, 0, 0, 17.3, 29]).all()
    # Half way the side between declinations of 30 is at atan(tan(30) / cos(45)).
    bent = np.degrees(np.arctan(np.tan(np.radians(30)) / np.cos(np.radians(45))))
    assert contains(region, [45, 45], [bent - RIM_DEG, bent + RIM_DEG]).tolist() == [True, False]
    assert contains(region, [45.0], [-RIM_DEG]).tolist() == [False]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.floats(0.001, 60), st.booleans())
def test_random_stars(seed: int, count: int, radius: float, turned: bool) -> None:
    """Corners around a middle, at any distance: concave, but simple; in any place and orientation."""
    rng = np.random.default_rng(seed)
    angles = np.sort((np.arange(count) + rng.uniform(0.1, 0.9, count)) * 2 * np.pi / count)
    if np.diff(np.append(angles, angles[0] + 2 * np.pi)).max() > 3:
        angles = np.arange(count) * 2 * np.pi / count
    away = np.radians(radius * rng.uniform(0.2, 1, count))
    flat = np.stack([np.sin(away) * np.cos(angles), np.sin(away) * np.sin(angles), np.cos(away)], axis=1)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    x, y, z = (flat @ turn).T
    corners = list(zip((np.degrees(np.arctan2(y, x)) % 360).tolist(), np.degrees(np.arcsin(z)).tolist(), strict=True))
    corners = corners[::-1] if turned else corners
    region = read(stcs(corners))
    ra, dec = beside_sides(corners, RIM_DEG)
    np.testing.assert_array_equal(contains(region, ra, dec), inside_by_winding(corners, ra, dec))


def test_several_polygons_are_one_region_also_where_they_overlap() -> None:
    other: Corners = [(15, 0.3), (30, 0), (30, 20), (15.1, 20)]
    region = read(stcs(SQUARE, other))
    ra, dec = (np.concatenate(each) for each in zip(beside_sides(SQUARE, RIM_DEG), beside_sides(other, RIM_DEG), strict=True))
    expected = inside_by_winding(SQUARE, ra, dec) | inside_by_winding(other, ra, dec)
    np.testing.assert_array_equal(contains(region, ra, dec), expected)
    assert not region.is_map


def test_geojson_says_the_same_as_stcs() -> None:
    ring = [[ra - 360 if ra > 180 else ra, dec] for ra, dec in [*SHAPES["around RA 0"], SHAPES["around RA 0"][0]]]
    square = [list(corner) for corner in [*SQUARE, SQUARE[0]]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    forms = [
        {"type": "MultiPolygon", "coordinates": [[ring], [square]]},
        {
            "type": "FeatureCollection",
            "features": [
                {"type": "Feature", "properties": {}, "geometry": polygon},
                {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square]}},
            ],
        },
        {"type": "GeometryCollection", "geometries": [polygon, {"type": "Polygon", "coordinates": [square]}]},
    ]
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(-20, 30, 3000) % 360, rng.uniform(-8, 8, 3000)
    expected = contains(read(stcs(SHAPES["around RA 0"], SQUARE)), ra, dec)
    for form in forms:
        assert contains(read(json.dumps(form)), ra, dec).tolist() == expected.tolist()
    assert 300 < expected.sum() < 2700


def test_stcs_as_people_write_it() -> None:
    plain = contains(read(stcs(SQUARE)), [15, 9], [0, 0]).tolist()
    for text in (
        "Polygon ICRS 10 -5 20 -5 20 5 10 5",
        "# a field\npolygon 10,-5 20,-5 20,5 10,5 10,-5\n",
        "POLYGON ICRS GEOCENTER SPHERICAL2\n 1e1 -5.\n 20 -5\n 20 5\n 10 +5",
        "\ufeffPOLYGON ICRS 10 -5 20 -5 20 5 10 5",
    ):
        assert contains(read(text), [15, 9], [0, 0]).tolist() == plain == [True, False]


def test_what_is_far_from_a_side_is_told_by_ranges_alone() -> None:
    region = read(stcs(SQUARE))
    cells = region.edges[:, 1] - region.edges[:, 0]
    assert (region.ranges[1:, 0] > region.ranges[:-1, 1]).all()
    covered = (region.ranges[:, 1] - region.ranges[:, 0]).sum() / 4**29 * np.pi / 3
    edges = cells.sum() / 4**29 * np.pi / 3
    area = np.radians(10) * 2 * np.sin(np.radians(5))
    assert covered < area < covered + edges
    assert edges < 0.05 * area


SHORT = "POLYGON ICRS 10 -5 20 -5"
BAD = [
    (SHORT, "begins at RA 10, Dec -5 has fewer than three different corners"),
    (f"{SHORT} 10 -5", "has fewer than three different corners"),
    (f"{SHORT} 20 -5 10 5", "has corner 2 twice in a row; leave one out"),
    (f"{SHORT} 20", "has 5 numbers; give a right ascension and a declination of each corner"),
    (f"{SHORT} 20 91", "corner 3 of a polygon is at RA 20, Dec 91, which is not on the sky"),
    (f"{SHORT} 400 9", "corner 3 of a polygon is at RA 400, Dec 9, which is not on the sky"),
    (f"{SHORT} nan 5", "corner 3 of a polygon is at RA nan"),
    (f"{SHORT} 20 x5", "a polygon has 'x5' where a number should be"),
    ("POLYGON FK4 10 -5 20 -5 20 5", "a polygon has 'FK4' before its numbers; positions are in ICRS"),
    ("POLYGON ICRS", "a polygon has no corners"),
    ("POLYGON ICRS 10 -5 20 5 20 -5 10 5", "has sides that cross, those from corners 1 and 3"),
    ("POLYGON ICRS 0 0 20 0 20 10 10 0 0 10", "touches itself: corner 4 is on the side from corner 1"),
    ("POLYGON ICRS 0 0 20 0 10 0 10 10", "touches itself: corner 3 is on the side from corner 1"),
    ("POLYGON ICRS 0 0 180 0 90 40", "has corner 1 opposite the next on the sky"),
    ("POLYGON ICRS 0 0 90 0 180 0 270 0", "goes around just half of the sky"),
    ("POLYGON ICRS 90 0 210 0 330 0", "goes around just half of the sky"),
    ("CIRCLE ICRS 10 -5 1", "it has 'CIRCLE' where a polygon should be; give polygons, or make a MOC of it"),
    ("UNION ICRS (POLYGON 10 -5 20 -5 20 5)", "it has 'UNION' where a polygon should be"),
    ('{"type": "Point", "coordinates": [1, 2]}', "has the type 'Point' where a Polygon"),
    ('{"type": "FeatureCollection", "features": []}', "it holds no polygon"),
    ('{"type": "Polygon", "coordinates": []}', "has no coordinates"),
    ('{"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, "6"]]]}', r"has a corner that is no \[RA, Dec\]"),
    (
        '{"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 1]], [[2, 2], [3, 3], [4, 2]]]}',
        "has 1 holes, which are not taken",
    ),
    ("POLYGON ICRS " + "10 5 " * 2001, "a polygon has 2,001 corners; 2,000 are the most"),
    (f"{SHORT} 20 5\n" * 1667, "its polygons have more than 5,000 corners, which are the most"),
]


@pytest.mark.parametrize(("text", "told"), BAD)
def test_what_is_no_polygon_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadList, match=f"the region field of field.txt: .*{told}"):
        read(text)


def test_polygons_have_no_level() -> None:
    with pytest.raises(BadList, match=r"level=0.5 was asked for, and polygons has no probabilities; leave level= out"):
        read(stcs(SQUARE), level=0.5)


def test_the_point_of_reference_is_inside_of_some_and_outside_of_others() -> None:
    told = {name: polygon_of(*np.array(corners, np.float64).T).is_reference_inside for name, corners in SHAPES.items()}
    assert [name for name, is_inside in told.items() if is_inside] == ["large of three"]


def test_vectors_keep_what_right_ascensions_tell_apart() -> None:
    polygon = polygon_of(np.array([0.0, 90.0, 0.0]), np.array([0.0, 0.0, 90.0]))
    step = np.spacing(90.0)
    assert polygon.contains(np.array([90 - step, 90, 90 + 64 * step]), np.array([1.0, 1, 1])).tolist() == [True, True, False]
    assert np.linalg.norm(vectors(12.3, -45.6)) == pytest.approx(1, abs=1e-15)
