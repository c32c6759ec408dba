"""Lists as a person names them: ``NAME=FILE`` or ``NAME=FILE?parameter=value&parameter=value``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl

FORM = "NAME=FILE[?PARAMETERS]"
WATCHLIST_HELP = (
    "a list of places in a file (Parquet, CSV, FITS, VOTable, .., local or gs://): filters ask for watchlists.NAME, and matches "
    "have a catalog watchlist:NAME; its parameters are those of --crossmatch file:, and radius=COLUMN; may be given many times"
)
REGION_HELP = (
    "a part of the sky in a file (a MOC, a polygon, a HEALPix map of probabilities, local or gs://): filters ask for "
    "regions.NAME; of a map FILE?level=0.9 says how much of it is inside, and t0=TIME when its event was; may be given many times"
)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_WORDS_OF_SQL = ("false", "not", "null", "select", "true")
"""What no field is called, not even behind a dot."""
_PARAMETERS = re.compile(r"[A-Za-z0-9_]+=[^?]*")
_TOLD_BESIDE = ("_level", "_days_since", "_days_to_first_detection")
"""What stands behind a region's name in the fields that tell more of it than inside or not."""


class BadList(ValueError):
    """A list that cannot be used as it was named: a missing, empty or wrong file, a name that is none."""


@dataclass(frozen=True)
class NamedFile:
    """A list's name, its file, and what was said of it."""

    name: str
    """As filters write it."""
    path: str
    """Of the file, here or in a bucket."""
    parameters: tuple[tuple[str, str], ...] = ()


def parse_named(text: str, known: Iterable[str]) -> NamedFile:
    """A list from ``NAME=FILE[?...]``, whose parameters are among ``known``. Raises ``BadList``."""
    name, equals, rest = text.partition("=")
    if not equals or not rest:
        raise BadList(f"{text!r} names no list; write NAME=FILE")
    if not _NAME.fullmatch(name):
        raise BadList(f"{name!r} of {text!r} is no name for a list: write letters, digits and _, a letter first, at most 63")
    if any(name.casefold().endswith(ending) for ending in _TOLD_BESIDE):
        raise BadList(f"the name {name!r} ends as fields that tell more of a region do ({', '.join(_TOLD_BESIDE)}); take another")
    if name.casefold() in _WORDS_OF_SQL:
        raise BadList(f"the name {name!r} is a word of SQL that no filter can ask for; take another")
    # A file's own name may have a question mark.
    path, _, query = rest.rpartition("?")
    if not path or not _PARAMETERS.match(query):
        path, query = rest, ""
    pairs = _parameters(text, query)
    for key, _ in pairs:
        if key not in known:
            raise BadList(f"{text!r} has the parameter {key!r}; such a list takes {', '.join(known)}")
    if len(dict(pairs)) != len(pairs):
        raise BadList(f"{text!r} gives a parameter twice")
    return NamedFile(name, path, tuple(pairs))


def _parameters(text: str, query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise BadList(f"the parameters of {text!r} are not of the form name=value&name=value") from error


def check_different(named: Iterable[str]) -> None:
    """Refuse two lists of one kind and name: SQL's names know no capitals. Raises ``BadList``."""
    seen = dict[str, str]()
    for name in named:
        if name.casefold() in seen:
            raise BadList(f"two lists have the name {name!r} (capitals do not tell them apart); rename one")
        seen[name.casefold()] = name
