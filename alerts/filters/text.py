"""A filter's file: comments that say what it is, and one SELECT. Its version is a hash of what it says, not of how."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from alerts.errors import UnknownSurvey
from alerts.filters.errors import FilterError, Span
from alerts.filters.limits import check_size
from alerts.surveys import survey

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What a filter may be called: names of topics and columns are made of it."""
EVERY_ALERT = "all"
"""What streams call the filter that every alert passes: no other may be called so."""
_HEADER = re.compile(r"^[ \t]*(?:--|#)[ \t]*(?P<key>[a-z_]+)[ \t]*:[ \t]*(?P<value>.*?)[ \t]*$", re.MULTILINE)
KEYS = ("about", "surveys", "reference", "max_rate")
_VERSION_DIGITS = 12


@dataclass(frozen=True)
class FilterText:
    """A filter as it was written."""

    name: str
    text: str = field(repr=False)
    surveys: tuple[str, ...]
    about: str = ""
    reference: str = ""
    max_rate: float | None = None
    """The largest part of a night's alerts that it is meant to pass."""
    max_rate_at: Span | None = None
    """Where that stands."""
    is_python: bool = False
    """Whether it is the operator's own Python (``alerts.filters.python_form``)."""


def read_filter(path: Path) -> FilterText:
    """The filter of a file ``NAME.sql``. Raises ``FilterError`` and ``OSError``."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FilterError(f"{path} is no UTF-8: byte {error.start} is {path.read_bytes()[error.start]:#04x}") from None
    return parse_text(path.stem, text)


def parse_text(name: str, text: str, *, is_python: bool = False) -> FilterText:
    """What stands in the comments of a filter. Raises ``FilterError``."""
    if not NAME.fullmatch(name):
        raise FilterError(f"{name!r} is no name of a filter: small letters, digits and _, a letter first, 63 at most")
    if name == EVERY_ALERT:
        raise FilterError(f"{name!r} is the filter that every alert passes; call this one something else")
    if not is_python:
        check_size(text)
    told: dict[str, re.Match[str]] = {}
    for match in _HEADER.finditer(text):
        key = match["key"]
        if key not in KEYS:
            continue
        if key in told:
            raise FilterError(f"{key} is told twice", _span(match))
        told[key] = match
    return FilterText(
        name,
        text,
        _surveys(told.get("surveys"), is_python),
        told["about"]["value"] if "about" in told else "",
        told["reference"]["value"] if "reference" in told else "",
        _rate(told.get("max_rate")),
        _span(told["max_rate"]) if "max_rate" in told else None,
        is_python,
    )


def _span(match: re.Match[str]) -> Span:
    return Span(match.start("value"), match.end("value"))


def _surveys(match: re.Match[str] | None, is_python: bool) -> tuple[str, ...]:
    if match is None:
        raise FilterError(f"it does not say of which surveys; write a line such as {'#' if is_python else '--'} surveys: ztf")
    names = tuple(re.split(r"[,\s]+", match["value"].strip()))
    for name in names:
        try:
            survey(name)
        except UnknownSurvey as error:
            raise FilterError(str(error), _span(match)) from None
    if len(set(names)) < len(names):
        raise FilterError("a survey is named twice", _span(match))
    return names


def _rate(match: re.Match[str] | None) -> float | None:
    if match is None:
        return None
    try:
        rate = float(match["value"])
    except ValueError:
        rate = -1.0
    if not 0 < rate <= 1:
        raise FilterError(f"max_rate is {match['value']!r}; it is a part of the alerts, more than 0 and 1 at most", _span(match))
    return rate


def version_of(canonical: str) -> str:
    """12 hexadecimal digits that stand for a filter's canonical text (``alerts.filters.write.canonical``)."""
    return hashlib.sha256(canonical.encode()).hexdigest()[:_VERSION_DIGITS]
