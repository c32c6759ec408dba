"""Where a survey's packets keep their brightness, and what the numbers are: part of the facts of a survey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["detection", "forced"]
NJY_AB_MAG = 31.4
"""AB magnitude of 1 nJy: 31.4 = 2.5 log10(3631 Jy / 1 nJy), rounded as surveys do (Oke & Gunn 1983)."""


@dataclass(frozen=True)
class Series:
    """One top-level field of a packet with measurements: a record or an array of records, and the names of their fields.

    Of several names the first that a record has counts.
    """

    name: str
    value: tuple[str, ...]
    error: tuple[str, ...]
    """1 sigma, in the unit of the value."""
    time: tuple[str, ...]
    band: tuple[str, ...] = ()
    kind: Kind = "detection"
    alert_id: tuple[str, ...] = ()
    """Empty where the records are no alerts, or the alert itself."""
    sign: tuple[str, ...] = ()
    """Says whether the source was brighter (t, 1, true) or fainter (f, 0, false) than the template."""
    limit: tuple[str, ...] = ()
    """The upper limit of an exposure in which nothing was found, a magnitude."""
    zero_point: tuple[str, ...] = ()
    """AB magnitude of a flux of 1, where each record has its own."""
    status: tuple[str, ...] = ()
    """Text that is "0" where the measurement went well."""
    flags: tuple[str, ...] = ()
    """Truth values that say, where they are true, that the measurement did not go well."""
    program: tuple[str, ...] = ()
    """Number of the program that the exposure was taken for: 1 is public in ZTF."""
    exposure: tuple[str, ...] = ()
    """Fields that name an exposure better than its time does: visit and detector."""
    reference_mag: tuple[str, ...] = ()
    """Magnitude of the nearest source in the reference image, in the same system as the value."""
    reference_error_mag: tuple[str, ...] = ()
    reference_distance: tuple[str, ...] = ()
    """How far that source is from the measurement."""
    arcsec_per_distance: float = 1.0
    """The unit of ``reference_distance``, which one packet may have in pixels here and in arcsec there."""
    apparent: tuple[str, ...] = ()
    """Flux in the science image itself, in the unit of ``value``; and its error."""
    apparent_error: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All the fields."""
        given = (
            *(self.value, self.error, self.time, self.band, self.alert_id, self.sign, self.limit, self.zero_point, self.status),
            *(self.program, self.exposure, self.reference_mag, self.reference_error_mag, self.reference_distance),
            *(self.apparent, self.apparent_error, self.flags),
        )
        return tuple(name for names in given for name in names)


@dataclass(frozen=True)
class Photometry:
    """What a survey's numbers of brightness are."""

    quantity: Literal["magnitude", "flux"]
    """What the packet's own measurement is."""
    unit: str
    """Of it: mag, nJy, ..."""
    label: str
    """For the axis of a picture: what the number is, and its unit."""
    series: tuple[Series, ...]
    """First that of the alert itself."""
    zero_point_mag: float | None = None
    """AB magnitude of a flux of 1. None: the measurements are magnitudes, or each record has its own (``Series.zero_point``)."""
    measures: Literal["difference", "total"] = "difference"
    """Whether the numbers are of the difference from the template or of the source itself."""
    system: Literal["AB"] | None = "AB"
    """None: the survey does not say, and no flux in nJy can be told."""
    bands: Mapping[Any, str] = field(default_factory=dict)
    """Names of bands that are numbers in the packet, from blue to red."""
    band_texts: tuple[str, ...] = ()
    """Bands that are text in the packet, as it has them, from blue to red."""
    only_band: str = "?"
    """Where the packet does not tell."""
    missing: frozenset[float] = frozenset({-999.0, -99999.0})
    """Numbers by which the survey says that there is none; compared for equality, as fluxes may be as negative."""
    limit_n_sigma: float | None = None
    """What a ``Series.limit`` is, in sigma."""
    first_found: str = ""
    """Field of the alert's own record: the time of the first detection that the survey knows of there."""

    @property
    def band_names(self) -> tuple[str, ...]:
        """The survey's bands, from blue to red."""
        return tuple(self.bands.values()) or self.band_texts or (self.only_band,)

    def band_name(self, value: Any) -> str:
        """The name of a band by what packets call it."""
        return self.only_band if value is None else self.bands.get(value, str(value))
