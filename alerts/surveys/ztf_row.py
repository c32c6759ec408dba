"""What ZTF's numbers stand for: 1,715 real packets were gone over for them, beside the documentation of ztf-avro-alert."""

from __future__ import annotations

from alerts.surveys.row_facts import RowFacts

PIXEL_ARCSEC = 1.012
_REFERENCE = ("ranr", "decnr", "magnr", "sigmagnr", "distnr", "chinr", "sharpnr")
"""Of the nearest source in the reference image."""
_PS1 = ("distpsnr", "sgscore", "objectidps", "sgmag", "srmag", "simag", "szmag")
"""Of the three nearest sources of PS1, each with its number."""
_PS1_FORMERLY = ("sgscore", "sgmag", "srmag", "simag", "szmag")
"""Of the nearest one alone, in the first versions of the schema."""
_OTHERS = ("ssdistnr", "ssmagnr", "neargaia", "neargaiabright", "maggaia", "maggaiabright")
_NONE: frozenset[float | str] = frozenset({-999.0})
_NONE_FORCED: frozenset[float | str] = frozenset({-99999.0})
_POSITIVE = (frozenset({"t", "1"}), frozenset({"f", "0"}))

ROW_FACTS = RowFacts(
    missing={
        **{f"candidate.{name}": _NONE for name in (*_REFERENCE, *_PS1_FORMERLY, *_OTHERS)},
        **{f"candidate.{name}{number}": _NONE for name in _PS1 for number in (1, 2, 3)},
        **{f"prv_candidates.{name}": _NONE for name in _REFERENCE},
        **{f"fp_hists.{name}": _NONE_FORCED for name in (*_REFERENCE, "forcediffimflux", "forcediffimfluxunc")},
        "candidate.ssnamenr": frozenset({"null"}),
        "prv_candidates.ssnamenr": frozenset({"null"}),
    },
    truths={"candidate.isdiffpos": _POSITIVE, "prv_candidates.isdiffpos": _POSITIVE},
    # In pixels; fp_hists.distnr is in arcsec.
    arcsec={"candidate.distnr": PIXEL_ARCSEC, "prv_candidates.distnr": PIXEL_ARCSEC},
)
