"""A region's file as it was written: what it is, is told by its contents and not by its name."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import orjson

from alerts.limits import MAX_REGION_BYTES
from alerts.lists.named import BadList
from alerts.lists.regions import fits_files, moc_files, polygon_files
from alerts.lists.regions.covering import covering
from alerts.lists.regions.ranges import NO_RANGES
from alerts.lists.regions.region import Region
from alerts.lists.regions.spec import LEVEL, RegionSpec

_GZIP = b"\x1f\x8b"
_FITS = b"SIMPLE  ="
_FORMATS = (
    "a MOC (FITS, JSON or ASCII), a HEALPix map (FITS), or polygons (STC-S lines as POLYGON ICRS 10 -5 20 -5 20 5, or GeoJSON)"
)
_CELLS = re.compile(r"\s*\d+\s*/")
_OF_TIME = re.compile(r"\s*[tsf]\s*\d+\s*/")


def read_region(spec: RegionSpec, data: bytes) -> Region:
    """The region of a file's bytes. Raises ``BadList``, whose message names the region, the file, and what is wrong."""
    try:
        return _region(spec, _unpacked(data))
    except BadList as error:
        raise BadList(f"the region {spec.name} of {spec.path}: {error}") from error


def _unpacked(data: bytes) -> bytes:
    if len(data) > MAX_REGION_BYTES:
        raise BadList(f"it has {len(data):,} bytes; {MAX_REGION_BYTES:,} are the most, so write it more coarsely")
    if data[:2] != _GZIP:
        return data
    rest, parts, size = data, [], 0
    # A file may be several streams, one behind another, as those that packed it in parallel are.
    while rest[:2] == _GZIP:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(rest, MAX_REGION_BYTES + 1 - size))
        except zlib.error as error:
            raise BadList(f"it is damaged ({error}); fetch it again") from None
        size += len(parts[-1])
        if size > MAX_REGION_BYTES:
            raise BadList(f"unpacked it has more than {MAX_REGION_BYTES:,} bytes, which are the most, so write it more coarsely")
        if not unpacker.eof:
            raise BadList("it ends in the midst of its gzip stream; fetch it again")
        rest = unpacker.unused_data
    return b"".join(parts)


def _region(spec: RegionSpec, data: bytes) -> Region:
    if not data.strip():
        raise BadList("it is empty; give a file with something in it")
    if data.startswith(_FITS):
        return _of_fits(spec, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadList(f"it begins with {data[:16]!r}, and is none of {_FORMATS}") from None
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(spec, text)
    if _CELLS.match(text):
        return _of_moc(spec, moc_files.of_ascii(text))
    if _OF_TIME.match(text):
        raise BadList("it is a MOC of times or frequencies, or of these and the sky; give a MOC of the sky alone")
    if polygon_files.is_stcs(text):
        return _of_polygons(spec, polygon_files.of_stcs(text))
    raise BadList(f"it begins with {text.lstrip()[:40]!r}, and is none of {_FORMATS}")


def _of_fits(spec: RegionSpec, data: bytes) -> Region:
    with fits_files.opened(data) as tables:
        table = fits_files.healpix_table(tables)
        time = spec.t0 or fits_files.event_time(tables)
        if fits_files.is_moc(table):
            fits_files.check_moc(table)
            return _of_moc(spec, moc_files.of_fits(data), time)
        from alerts.lists.regions.sky_maps import levels_of_map  # noqa: PLC0415 - it takes astropy, as only maps do

        levels = levels_of_map(table)
    asked = LEVEL if spec.level is None else spec.level
    # The pixels of a galactic map have no borders in ICRS: each place is looked up.
    ranges = NO_RANGES if levels.is_galactic else levels.inside(asked)
    least = float(levels.levels.min())
    if least > asked:
        raise BadList(
            f"its most probable pixel alone has the level {least:.3g}, so that nothing is inside {asked:g}; ask for more"
        )
    return Region(spec, time, ranges, levels=levels)


def _of_json(spec: RegionSpec, text: str) -> Region:
    try:
        held: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadList(f"it begins as JSON and is none ({error}); is it whole?") from None
    if isinstance(held, Mapping) and "type" in held:
        return _of_polygons(spec, polygon_files.of_geojson(held))
    return _of_moc(spec, moc_files.of_json(held, text))


def _of_moc(spec: RegionSpec, ranges: np.ndarray[Any, Any], time: datetime | None = None) -> Region:
    _check_no_level(spec, "a MOC")
    return Region(spec, spec.t0 or time, ranges)


def _of_polygons(spec: RegionSpec, polygons: polygon_files.Polygons) -> Region:
    _check_no_level(spec, "polygons")
    inside, edges = covering(polygons)
    return Region(spec, spec.t0, inside, edges, polygons)


def _check_no_level(spec: RegionSpec, what: str) -> None:
    if spec.level is not None:
        raise BadList(f"level={spec.level:g} was asked for, and {what} has no probabilities; leave level= out")
