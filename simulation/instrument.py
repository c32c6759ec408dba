"""What the plan of a night has to know of a survey's camera and of the way it observes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulation.sky import Floats

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Instrument:
    """A survey's telescope. Chips are numbered from 0; a band is an index into ``bands``."""

    longitude_deg: float
    """East of Greenwich."""
    first_exposure_hours: float
    """Start of the first exposure in hours after 0h UTC of the night's date; above 24 where the night is after midnight."""
    cadence_secs: float
    blocks: int
    fields_per_block: int
    passes: int
    """A night is ``blocks`` of so many fields; within a block each field is observed ``passes`` times."""
    bands: tuple[str, ...]
    bands_of_pass: tuple[tuple[int, ...], ...]
    depth_mag: tuple[float, ...]
    """Faintest AB magnitude that is detected at 5 sigma in the difference image, per band."""
    seeing_arcsec: float
    """Median full width at half maximum of a star."""
    chips: tuple[tuple[int, int], ...]
    """Column and row of each chip in the focal plane; columns count from east, rows from south."""
    chip_pixels: tuple[int, int]
    pixel_arcsec: float
    rows_run_south: bool
    """Whether row 0 of a chip is its northern end (ZTF); columns run west."""
    cell_arcsec: float
    """At most one object lies in each cell of this size, which keeps objects at least 0.3 cells apart."""
    field_rows_deg: tuple[float, float]
    field_spacing_deg: float
    alerts_per_field: int
    """Of a small night; a large one has more once the fields are used up."""
    alerts_in_night: Mapping[int, float]
    """How many alerts an object has in the night, with the probability of each number."""
    past_days: int
    past_nights: tuple[int, int]
    """How many of the ``past_days`` nights before this one observed a field: fewest and most."""
    past_pass_chance: float
    """How often each of a past night's passes was really done."""
    coverage: Callable[[np.random.Generator, int], Mask]
    """Which of so many exposures of its field, in order of time, an object was on working pixels of, and is told of."""
    scatter_arcsec: float
    """Scatter of measured positions about the object's, per coordinate."""
    position_decimals: int
    """Decimals of a degree to which packets state positions."""
    solar_system_share: float
    steady_in: Literal["mag", "njy"]
    """In which of the two what is planted rises and fades by the same amount each day: that in which packets tell it."""
    max_alerts: int

    @property
    def max_fields(self) -> int:
        """Fields that one night can observe."""
        return self.blocks * self.fields_per_block

    def slot(self, field: int, passing: int) -> int:
        """Number of an exposure in the night, from 0.

        Fields are dealt out to the blocks in turn: a small night, too, lasts from dusk to dawn.
        """
        block, place = field % self.blocks, field // self.blocks
        return (block * self.passes + passing) * self.fields_per_block + place

    def chip_corner_deg(self) -> tuple[Floats, Floats]:
        """East and north of each chip's south-eastern corner, in degrees from the center of the focal plane."""
        columns, rows = np.array(self.chips, dtype=float).T
        width, height = (pixels * self.pixel_arcsec / 3600 for pixels in self.chip_pixels)
        return (columns.max() + 1) / 2 * width - columns * width, rows * height - (rows.max() + 1) / 2 * height
