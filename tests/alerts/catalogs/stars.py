"""Stars whose positions others have measured: literals from the literature, ICRS degrees, none of our own propagation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Star:
    name: str
    hip: int
    pm: tuple[float, float]
    """Gaia DR3, mas/yr, that in right ascension times cos dec."""
    at_1991_25: tuple[float, float]
    """Hipparcos-2 (van Leeuwen 2007), VizieR I/311."""
    at_2000: tuple[float, float]
    """SIMBAD, epoch 2000."""
    at_2016: tuple[float, float]
    """Gaia DR3."""
    gaia: int


BARNARD = Star(
    "Barnard's star",
    87937,
    (-801.551, 10362.394),
    (269.45402263, 4.66828781),
    (269.4520769586187, 4.6933649665767),
    (269.44850252543836, 4.739420051112412),
    4472832130942575872,
)
PEG_51 = Star(
    "51 Peg",
    113357,
    (207.328, 61.164),
    (344.36604474, 20.76868422),
    (344.36658508, 20.76883251),
    (344.3675708158258, 20.769104345387106),
    2835207319109249920,
)
HD_189733 = Star(
    "HD 189733",
    98505,
    (-3.208, -250.323),
    (300.18214509, 22.7114623),
    (300.18213726, 22.71085365),
    (300.1821218062407, 22.709741105168273),
    1827242816201846144,
)
HD_209458 = Star(
    "HD 209458",
    108859,
    (29.768, -17.976),
    (330.79481027, 18.88436321),
    (330.79488644, 18.88431928),
    (330.79502626424147, 18.88423938290383),
    1779546757669063552,
)
STARS = (BARNARD, PEG_51, HD_189733, HD_209458)
