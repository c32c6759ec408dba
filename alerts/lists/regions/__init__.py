"""Regions of the sky, of files: coverage maps (MOCs), polygons, and probability maps of events.

A place is the alert's: its ``healpix29`` for maps of cells, its ``ra_deg`` and ``dec_deg`` where a polygon's side is near.
"""

from alerts.lists.regions.reading import read_region
from alerts.lists.regions.region import Region
from alerts.lists.regions.spec import LEVEL, RegionSpec, parse_region

__all__ = ["LEVEL", "Region", "RegionSpec", "parse_region", "read_region"]
